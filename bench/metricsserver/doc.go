// Package metricsserver compares the values of promlet's metrics.k8s.io with those of the real metrics-server: its kubelet
// client and its storage read the same bodies. It is a module of its own, so that promlet does not depend on metrics-server.
package metricsserver
