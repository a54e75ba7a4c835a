package main

import (
	"errors"
	"fmt"
	"log/slog"

	"k8s.io/apimachinery/pkg/api/meta"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/discovery"
)

// source is where objects come from: a cluster, or a directory of manifests.
func (o *options) source(logger *slog.Logger) (discovery.Source, meta.RESTMapper, error) {
	logger = logger.With("component", "discovery")
	if o.manifests != "" {
		return discovery.Manifests(o.manifests, discovery.ManifestOptions{Logger: logger}), adapter.BuiltinMapper(), nil
	}
	client, err := o.clientConfig()
	if err != nil {
		return nil, nil, err
	}
	clients, err := discovery.NewClients(client)
	if err != nil {
		return nil, nil, err
	}
	source := discovery.Cluster(clients, discovery.ClusterOptions{Logger: logger})
	kinds, err := clientdiscovery.NewDiscoveryClientForConfig(client)
	if err != nil {
		return nil, nil, fmt.Errorf("make API discovery client: %w", err)
	}
	installed := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))
	// Kubernetes's own kinds need no request.
	mapper := meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{adapter.BuiltinMapper(), installed}}
	return source, mapper, nil
}

func (o *options) clientConfig() (*rest.Config, error) {
	config, err := o.loadClientConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "promlet/" + buildVersion()
	return config, nil
}

func (o *options) loadClientConfig() (*rest.Config, error) {
	if o.kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig=%s: %w", o.kubeconfig, err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("not in a cluster: give --kubeconfig FILE to reach one, or --manifests DIR to do without")
	}
	if err != nil {
		return nil, fmt.Errorf("use the Pod's ServiceAccount: %w", err)
	}
	return config, nil
}
