package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/objects"
)

const (
	customMetricsAPI   = "custom.metrics.k8s.io/v1beta2"
	externalMetricsAPI = "external.metrics.k8s.io/v1beta1"
)

// clusterOptions are the flags of the commands that ask a cluster: kubectl's.
type clusterOptions struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

func (o *clusterOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to a kubeconfig file. Empty: as kubectl finds it.")
	clientcmd.BindOverrideFlags(&o.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
}

// client asks the metrics APIs with the permissions of whoever runs the command.
type client struct {
	config    *rest.Config
	rest      rest.Interface
	namespace string
}

func (o *clusterOptions) client() (*client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w: give --kubeconfig, or --server", err)
	}
	config.QPS = -1 // few requests are under way at a time
	namespace, _, err := loading.Namespace()
	if err != nil {
		return nil, fmt.Errorf("find the namespace: %w: give it as --namespace", err)
	}
	discovery, err := clientdiscovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	return &client{config: config, rest: discovery.RESTClient(), namespace: namespace}, nil
}

// errNotServed is returned where no metrics API is.
var errNotServed = errors.New("it is not served")

// get returns what the API server answers, as JSON.
func (c *client) get(ctx context.Context, path string, parameters url.Values) ([]byte, error) {
	request := c.rest.Get().AbsPath(path)
	for name, values := range parameters {
		for _, value := range values {
			request = request.Param(name, value)
		}
	}
	body, err := do(ctx, request)
	group := strings.SplitN(strings.TrimPrefix(path, "/apis/"), "/", 3)
	switch {
	case err == nil:
		return body, nil
	case len(group) < 2:
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return nil, fmt.Errorf("%s/%s: %w (%w): is promlet installed? kubectl get apiservice %s.%s tells", group[0], group[1], errNotServed, err, group[1], group[0])
	case apierrors.IsServiceUnavailable(err):
		return nil, fmt.Errorf("ask the metrics API: %w: kubectl get apiservice %s.%s tells why", err, group[1], group[0])
	}
	return nil, fmt.Errorf("ask the metrics API: %w", err)
}

func do(ctx context.Context, request *rest.Request) ([]byte, error) {
	answer := request.Do(ctx)
	// What Raw returns leaves out what the error says.
	if err := answer.Error(); err != nil {
		return nil, err
	}
	return answer.Raw()
}

// message is what the API server says of an error, without what was done.
func message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

// isAbsence tells an answer that there is no value from a fault.
func isAbsence(err error) bool { return apierrors.IsNotFound(err) && !errors.Is(err, errNotServed) }

// described is the object, or the objects, that have a metric.
type described struct {
	schema.GroupResource
	namespaced bool
	name       string // "": all of a namespace
}

// String is RESOURCE/NAME, or RESOURCE.
func (d described) String() string {
	if d.name == "" {
		return d.GroupResource.String()
	}
	return d.GroupResource.String() + "/" + d.name
}

// isNamespace tells whether it is a namespace, whose metrics have a path of their own.
func (d described) isNamespace() bool { return d.Group == "" && d.Resource == "namespaces" }

// path is that of a metric of the object.
func (d described) path(namespace, metric string) string {
	name := d.name
	if name == "" {
		name = "*"
	}
	switch {
	case d.isNamespace():
		return fmt.Sprintf("/apis/%s/namespaces/%s/metrics/%s", customMetricsAPI, name, metric)
	case d.namespaced:
		return fmt.Sprintf("/apis/%s/namespaces/%s/%s/%s/%s", customMetricsAPI, namespace, d.GroupResource, name, metric)
	}
	return fmt.Sprintf("/apis/%s/%s/%s/%s", customMetricsAPI, d.GroupResource, name, metric)
}

func externalPath(namespace, metric string) string {
	return fmt.Sprintf("/apis/%s/namespaces/%s/%s", externalMetricsAPI, namespace, metric)
}

// checkMetric refuses what would make another path of a path.
func (c *client) checkMetric(metric string) error {
	if metric == "" {
		return errors.New("name the metric")
	}
	return checkNames(c.namespace, metric)
}

func checkNames(names ...string) error {
	for _, name := range names {
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return fmt.Errorf("%q is no name: it %s", name, problems[0])
		}
	}
	return nil
}

// described reads RESOURCE[/NAME]. A resource goes by whatever of its names; those of
// Kubernetes itself are known without asking.
func (c *client) described(arg string) (described, error) {
	resource, name, named := strings.Cut(arg, "/")
	if named && name == "" {
		return described{}, fmt.Errorf("%s: name the object after the slash, or leave the slash out", arg)
	}
	if err := checkNames(resource, name); err != nil {
		return described{}, err
	}
	discovery, err := clientdiscovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return described{}, fmt.Errorf("make API discovery client: %w", err)
	}
	installed := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery))
	found, err := resolve(meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{objects.BuiltinMapper(), installed}}, resource)
	found.name = name
	return found, err
}

// resolve finds what a resource is.
func resolve(mapper meta.RESTMapper, resource string) (described, error) {
	named := schema.ParseGroupResource(resource)
	if long, ok := shortNames()[named.Resource]; ok {
		named = long
	}
	gvk, err := mapper.KindFor(named.WithVersion(""))
	if meta.IsNoMatchError(err) {
		return described{}, fmt.Errorf("there is no resource %s: kubectl api-resources lists those there are", named)
	}
	if err != nil {
		return described{}, fmt.Errorf("resource %s: %w", named, err)
	}
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return described{}, fmt.Errorf("resource %s: %w", named, err)
	}
	return described{GroupResource: mapping.Resource.GroupResource(), namespaced: mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

// shortNames are kubectl's.
func shortNames() map[string]schema.GroupResource {
	short := map[string]schema.GroupResource{}
	for name, resource := range map[string]string{
		"po": "pods", "svc": "services", "ns": "namespaces", "no": "nodes", "deploy": "deployments.apps", "sts": "statefulsets.apps",
		"ds": "daemonsets.apps", "rs": "replicasets.apps", "cj": "cronjobs.batch", "ing": "ingresses.networking.k8s.io",
		"pv": "persistentvolumes", "pvc": "persistentvolumeclaims", "hpa": "horizontalpodautoscalers.autoscaling",
	} {
		short[name] = schema.ParseGroupResource(resource)
	}
	return short
}

// addSets gives a command its flags, and help that shows them by section, and its
// examples.
func addSets(cmd *cobra.Command, sets cliflag.NamedFlagSets) {
	for _, set := range sets.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	cliflag.SetUsageAndHelpFunc(cmd, sets, helpColumns)
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		out := cmd.OutOrStdout()
		// Whoever does not read help to its end is not told of it.
		_, _ = fmt.Fprintf(out, "%s\n\nUsage:\n  %s\n", cmd.Long, cmd.UseLine())
		if cmd.Example != "" {
			_, _ = fmt.Fprintf(out, "\nExamples:\n%s\n", cmd.Example)
		}
		cliflag.PrintSections(out, sets, helpColumns)
	})
}
