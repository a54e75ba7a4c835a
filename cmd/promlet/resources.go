package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/adapter/resourcemetrics/api"
	"github.com/promlet/promlet/discovery/kubelets"
)

// servedFlag is the flag without which the others have no effect.
const servedFlag = "resource-metrics"

// resourceOptions are the flags of metrics.k8s.io. All names but --resource-metrics are those of
// metrics-server's flags.
type resourceOptions struct {
	served       bool
	kubelets     kubelets.Options
	addressTypes []string
	nodeSelector string
	flags        *pflag.FlagSet // these
}

func (o *resourceOptions) addTo(set *pflag.FlagSet) {
	o.flags = set
	set.BoolVar(&o.served, servedFlag, false, "Serve metrics.k8s.io, the CPU and memory of nodes and pods, in place of metrics-server: scrape /metrics/resource of the kubelet of each Node.")
	set.DurationVar(&o.kubelets.Interval, "metric-resolution", kubelets.DefaultInterval, fmt.Sprintf("Time between two scrapes of a kubelet. At least %s.", kubelets.MinInterval))
	set.StringVar(&o.kubelets.CertificateAuthority, "kubelet-certificate-authority", "", "Path to the PEM file of the CAs that sign the kubelets' serving certificates. Empty: the cluster's CA.")
	set.BoolVar(&o.kubelets.InsecureSkipVerify, "kubelet-insecure-tls", false, "Do not verify the kubelets' serving certificates. Whoever can take a node's address then gets promlet's token. For tests only.")
	set.StringSliceVar(&o.addressTypes, "kubelet-preferred-address-types", nil, "Types of Node addresses to use, the most preferred first, from "+addressTypes()+". Empty: all, in this order.")
	set.IntVar(&o.kubelets.Port, "kubelet-port", kubelets.DefaultPort, "Port of the kubelets.")
	set.BoolVar(&o.kubelets.UseNodeStatusPort, "kubelet-use-node-status-port", false, "Use the port in the status of a Node, where there is one, in place of --kubelet-port.")
	set.DurationVar(&o.kubelets.Timeout, "kubelet-request-timeout", 0, fmt.Sprintf("Timeout of a scrape of a kubelet. 0: %s, and at most nine tenths of --metric-resolution.", kubelets.DefaultTimeout))
	set.StringVar(&o.kubelets.ClientCertificate, "kubelet-client-certificate", "", "Path to a client certificate for the kubelets. Empty: the token of the Pod's ServiceAccount.")
	set.StringVar(&o.kubelets.ClientKey, "kubelet-client-key", "", "Path to the key of --kubelet-client-certificate.")
	set.StringVar(&o.nodeSelector, "node-selector", "", "Label selector of the Nodes whose kubelets are scraped. Empty: all.")
}

func addressTypes() string {
	var names []string
	for _, t := range kubelets.DefaultAddressTypes() {
		names = append(names, string(t))
	}
	return strings.Join(names, ",")
}

// validate checks the flags, and converts those whose type in kubelets.Options is another one.
func (o *resourceOptions) validate(shard string) error {
	var errs []error
	o.flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && !o.served && f.Name != servedFlag {
			errs = append(errs, fmt.Errorf("--%s=%s: add --resource-metrics, or leave it out: no kubelets are scraped", f.Name, f.Value))
		}
	})
	for _, t := range o.addressTypes {
		o.kubelets.AddressTypes = append(o.kubelets.AddressTypes, corev1.NodeAddressType(t))
	}
	selector, err := parseSelector(o.nodeSelector)
	if err != nil {
		errs = append(errs, fmt.Errorf("--node-selector=%s: give a label selector, such as team=blue", o.nodeSelector))
	}
	o.kubelets.NodeSelector = selector
	if o.served && shard != "" {
		errs = append(errs, fmt.Errorf("--shard=%s: leave out --resource-metrics: a shard serves no values", shard))
	}
	return errors.Join(append(errs, o.kubelets.Validate())...)
}

// kubeletOptions returns how to scrape kubelets, nil if they are not scraped.
func (o *resourceOptions) kubeletOptions() *kubelets.Options {
	if !o.served {
		return nil
	}
	return &o.kubelets
}

// resourceMetrics returns what metrics.k8s.io is served from, nil if promlet does not serve it.
func (a *app) resourceMetrics() *api.ResourceMetrics {
	if a.promlet.Resources == nil {
		return nil
	}
	return &api.ResourceMetrics{Source: a.promlet.Resources, Lister: a.promlet.Objects()}
}
