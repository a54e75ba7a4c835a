package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/internal/client"
	"github.com/promlet/promlet/discovery"
	clustersource "github.com/promlet/promlet/discovery/cluster"
	"github.com/promlet/promlet/discovery/manifests"
)

// cluster is the Kubernetes cluster that promlet serves.
type cluster struct {
	config    *rest.Config
	namespace string // promlet runs in it
}

// cluster returns nil when manifests are used in place of one.
func (o *options) cluster() (*cluster, error) {
	if o.manifests != "" {
		return nil, nil
	}
	// Without a file this uses the Pod's ServiceAccount.
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: o.kubeconfig}
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	config, err := loading.ClientConfig()
	switch {
	case o.kubeconfig != "" && err != nil:
		return nil, fmt.Errorf("--kubeconfig=%s: %w", o.kubeconfig, err)
	case clientcmd.IsEmptyConfig(err), errors.Is(err, rest.ErrNotInCluster):
		return nil, errors.New("not in a cluster: give --kubeconfig FILE, or --manifests DIR to run without a cluster")
	case err != nil:
		return nil, fmt.Errorf("use the Pod's ServiceAccount: %w", err)
	}
	config.UserAgent = "promlet/" + buildVersion()
	c := &cluster{config: config, namespace: o.namespace}
	if c.namespace == "" {
		if c.namespace, _, err = loading.Namespace(); err != nil {
			return nil, fmt.Errorf("find the namespace that promlet runs in: %w: give --namespace", err)
		}
	}
	return c, nil
}

const (
	// apiServerPatience is how long promlet waits for the API server when it starts: less
	// than the startup probe in deploy/. An edge node boots both at the same time.
	apiServerPatience = 100 * time.Second
	apiServerRetry    = 2 * time.Second
)

// connect returns the cluster once its API server answers, nil when manifests are used in
// place of one.
func (o *options) connect(ctx context.Context, logger *slog.Logger) (*cluster, error) {
	c, err := o.cluster()
	if c == nil || err != nil {
		return nil, err
	}
	return c, c.wait(ctx, apiServerPatience, logger)
}

// wait returns when the API server answers any request, even with a refusal.
func (c *cluster) wait(ctx context.Context, patience time.Duration, logger *slog.Logger) error {
	config := rest.CopyConfig(c.config)
	config.Timeout = 10 * time.Second
	server, err := clientdiscovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make API discovery client: %w", err)
	}
	start := time.Now()
	for waited := false; ; waited = true {
		_, err := server.ServerVersionWithContext(ctx)
		if status := apierrors.APIStatus(nil); err == nil || errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError {
			if waited {
				logger.Info("the API server answers", "waited", time.Since(start).Round(time.Second))
			}
			return nil
		}
		if time.Since(start) > patience {
			return fmt.Errorf("the API server at %s does not answer: %w", c.config.Host, err)
		}
		if !waited {
			logger.Warn("waiting for the API server", "err", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", ctx.Err())
		case <-time.After(apiServerRetry):
		}
	}
}

// source returns where objects are read: the cluster, or a directory of manifests.
func (o *options) source(c *cluster, file configfile.File, registry prometheus.Registerer, logger *slog.Logger) (discovery.Source, meta.RESTMapper, error) {
	logger = logger.With("component", "discovery")
	if c == nil {
		return manifests.New(o.manifests, manifests.Options{Logger: logger}), objects.BuiltinMapper(), nil
	}
	clients, err := clustersource.NewClients(c.config)
	if err != nil {
		return nil, nil, err
	}
	source := clustersource.New(clients, clustersource.Options{
		Logger: logger, Registerer: registry, NoMonitors: !o.scrape,
		NodeAddresses: o.resources.served, PodRequests: o.servesResources(file),
	})
	kinds, err := clientdiscovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, nil, fmt.Errorf("make API discovery client: %w", err)
	}
	return source, client.NewMapper(kinds), nil
}

// keeper returns what keeps the serving certificate in a Secret of the cluster, nil when
// the certificate comes from a file or is in memory.
func (o *options) keeper(c *cluster, registry prometheus.Registerer, logger *slog.Logger) (*servingcert.Keeper, error) {
	if c == nil || o.servingCertSecret == "" || o.serving.ServerCert.CertKey.CertFile != "" {
		return nil, nil
	}
	secrets, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("make client of Secrets: %w", err)
	}
	apiServices, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("make client of APIServices: %w", err)
	}
	return servingcert.New(servingcert.Options{
		Secrets:     secrets.CoreV1(),
		Dynamic:     apiServices,
		Namespace:   c.namespace,
		Secret:      o.servingCertSecret,
		Service:     o.serviceName,
		APIServices: o.apiServices,
		Registerer:  registry,
		Logger:      logger.With("component", "servingcert"),
	})
}

// events returns a recorder that writes Events to the cluster, and a function that stops it. The
// recorder is nil without a cluster.
func (o *options) events(c *cluster) (recorder record.EventRecorder, stop func(), err error) {
	if c == nil {
		return nil, func() {}, nil
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, nil, fmt.Errorf("make client of Events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "promlet", Host: o.podName}), broadcaster.Shutdown, nil
}
