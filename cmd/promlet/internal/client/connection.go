package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	customMetricsAPI   = "custom.metrics.k8s.io/v1beta2"
	externalMetricsAPI = "external.metrics.k8s.io/v1beta1"
)

// clusterFlags are kubectl's flags for the cluster to ask.
type clusterFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

func (f *clusterFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "Path to a kubeconfig file. Empty: found as kubectl finds it.")
	clientcmd.BindOverrideFlags(&f.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
}

// connection asks an API server with the permissions of whoever runs the command.
type connection struct {
	discovery *clientdiscovery.DiscoveryClient
	namespace string
}

func (f *clusterFlags) connect() (*connection, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w: give --kubeconfig or --server", err)
	}
	config.QPS = -1 // there are few requests at a time
	namespace, _, err := loading.Namespace()
	if err != nil {
		return nil, fmt.Errorf("find the namespace: %w: give --namespace", err)
	}
	discovery, err := clientdiscovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	return &connection{discovery, namespace}, nil
}

// errNotServed is returned when the API server does not serve a metrics API.
var errNotServed = errors.New("not served")

// get returns the JSON that a metrics API answers at a path.
func (c *connection) get(ctx context.Context, path string, parameters url.Values) ([]byte, error) {
	request := c.discovery.RESTClient().Get().AbsPath(path)
	for name, values := range parameters {
		for _, value := range values {
			request = request.Param(name, value)
		}
	}
	body, err := do(ctx, request)
	if err == nil {
		return body, nil
	}
	api := customMetricsAPI
	if strings.HasPrefix(path, "/apis/"+externalMetricsAPI) {
		api = externalMetricsAPI
	}
	return nil, apiError(api, err)
}

func do(ctx context.Context, request *rest.Request) ([]byte, error) {
	result := request.Do(ctx)
	// Raw's error lacks the server's message.
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

// list returns the resources of a metrics API's discovery document.
func (c *connection) list(ctx context.Context, api string) ([]metav1.APIResource, error) {
	list, err := c.discovery.ServerResourcesForGroupVersionWithContext(ctx, api)
	if err != nil {
		return nil, apiError(api, err)
	}
	return list.APIResources, nil
}

// apiError adds what to do about an error of a metrics API.
func apiError(api string, err error) error {
	group, version, _ := strings.Cut(api, "/")
	switch {
	case isNoAPI(err) && api == externalMetricsAPI:
		return fmt.Errorf("%s is %w (%w): promlet serves it with externalRules in its configuration and the component external-metrics; see kubectl get apiservice %s.%s",
			api, errNotServed, err, version, group)
	case isNoAPI(err):
		return fmt.Errorf("%s is %w (%w): install promlet, or see kubectl get apiservice %s.%s", api, errNotServed, err, version, group)
	case apierrors.IsServiceUnavailable(err):
		return fmt.Errorf("ask the metrics API: %w: see kubectl get apiservice %s.%s", err, version, group)
	}
	return fmt.Errorf("ask the metrics API: %w", err)
}

// isNoAPI reports whether the API server does not serve the API of a request.
func isNoAPI(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// message returns the API server's own message of an error, without its context.
func message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

// isAbsence reports whether an API answered that a metric has no value.
func isAbsence(err error) bool { return apierrors.IsNotFound(err) && !errors.Is(err, errNotServed) }
