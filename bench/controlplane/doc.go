// Package controlplane runs a real Kubernetes control plane on loopback, without
// root, containers or images: etcd, kube-apiserver and kube-controller-manager as
// plain processes of one binary, which [Build] compiles from the published
// modules in the nested module kube. Tests and benchmarks use it; promlet does
// not.
//
// No kubelet runs. [Kubelet] plays its part: it binds pods to nodes that exist
// in name only, gives them addresses, runs a process for each, probes it as the
// pod says and reports the pod's status. A pod listens on loopback;
// [Network] maps the address that Kubernetes knows to that, for the API server
// (through its egress selector) and for whoever dials through it.
//
// Each [Node] serves /metrics/resource there. What it says is not measured: a test
// says what nodes and containers use, see [Kubelet.SetUsage], so that it knows what
// the answers must be. A node can also hang, vanish or serve with a wrong certificate.
//
// So everything an installation consists of is applied as it is shipped, under
// RBAC, admission and the controllers of that Kubernetes version.
package controlplane
