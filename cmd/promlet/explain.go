package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"

	"github.com/promlet/promlet/adapter"
)

// explainOptions are the flags of promlet explain: kubectl's where it has them.
type explainOptions struct {
	kubeconfig     string
	overrides      clientcmd.ConfigOverrides
	selector       string
	metricSelector string
	external       bool
	output         string
}

func newExplainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain RESOURCE[/NAME] METRIC",
		Short: "Tell why an object has a value of a metric, or why it has none",
		Long: `Walk the way from a request for a metric to its value: autoscaler, rule, monitor,
endpoints, targets, series, samples; and name the first thing that is missing.

The running promlet answers, through the API server and with your own permissions:
whoever may read a metric may have it explained. Nothing is told of other namespaces.`,
		Example: `  promlet explain services/sample-metrics-app http_requests -n default
  promlet explain pods http_requests --selector app=sample-metrics-app
  promlet explain --external queue_length -n default
  promlet explain services/sample-metrics-app http_requests --server https://127.0.0.1:6443 --insecure-skip-tls-verify`,
		Args: func(_ *cobra.Command, args []string) error {
			if o.external && len(args) != 1 || !o.external && len(args) != 2 {
				return errors.New("give RESOURCE/NAME and METRIC, such as services/sample-metrics-app http_requests; or --external METRIC")
			}
			return nil
		},
		RunE: o.run,
	}
	var sets cliflag.NamedFlagSets
	cluster := sets.FlagSet("cluster")
	cluster.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to a kubeconfig file. Empty: as kubectl finds it.")
	clientcmd.BindOverrideFlags(&o.overrides, cluster, clientcmd.RecommendedConfigOverrideFlags(""))
	flags := sets.FlagSet("explain")
	flags.StringVarP(&o.selector, "selector", "l", "", "Labels of the objects, without a NAME: the first one without a value is explained.")
	flags.StringVar(&o.metricSelector, "metric-selector", "", "Labels of the series, as the HPA's metric.selector has them.")
	flags.BoolVar(&o.external, "external", false, "Explain a metric of external.metrics.k8s.io.")
	flags.StringVarP(&o.output, "output", "o", "text", "One of text, json.")
	cmd.Flags().AddFlagSet(cluster)
	cmd.Flags().AddFlagSet(flags)
	cliflag.SetUsageAndHelpFunc(cmd, sets, helpColumns)
	return cmd
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output=%s: choose text or json", o.output)
	}
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // errors are returned as well
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
	config, err := loading.ClientConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w: give --kubeconfig, or --server", err)
	}
	namespace, _, err := loading.Namespace()
	if err != nil {
		return fmt.Errorf("find the namespace: %w: give it as --namespace", err)
	}
	path, err := o.path(config, namespace, args)
	if err != nil {
		return err
	}
	body, err := ask(cmd, config, path, o.parameters())
	if err != nil {
		return err
	}
	if o.output == "json" {
		_, err := cmd.OutOrStdout().Write(body)
		return err
	}
	var told adapter.Explanation
	if err := json.Unmarshal(body, &told); err != nil || len(told.Steps) == 0 {
		return errors.New("the metrics API does not explain: is it promlet's, of this version?")
	}
	return printExplanation(cmd.OutOrStdout(), &told)
}

func (o *explainOptions) parameters() url.Values {
	parameters := url.Values{adapter.ExplainParameter: {"true"}}
	if o.selector != "" {
		parameters.Set("labelSelector", o.selector)
	}
	if o.metricSelector != "" {
		parameters.Set("metricLabelSelector", o.metricSelector)
	}
	return parameters
}

// path is that of the metric.
func (o *explainOptions) path(config *rest.Config, namespace string, args []string) (string, error) {
	if o.external {
		return fmt.Sprintf("/apis/external.metrics.k8s.io/v1beta1/namespaces/%s/%s", namespace, args[0]), nil
	}
	resource, name, _ := strings.Cut(args[0], "/")
	gr, namespaced, err := resolve(config, schema.ParseGroupResource(resource))
	if err != nil {
		return "", err
	}
	if name == "" {
		name = "*"
	}
	if gr.Resource == "namespaces" && gr.Group == "" {
		return fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/metrics/%s", name, args[1]), nil
	}
	within := ""
	if namespaced {
		within = "namespaces/" + namespace + "/"
	}
	return fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/%s%s/%s/%s", within, gr, name, args[1]), nil
}

// resolve finds what a resource is, by whatever of its names; those of Kubernetes
// itself without asking.
func resolve(config *rest.Config, named schema.GroupResource) (gr schema.GroupResource, namespaced bool, err error) {
	if long, ok := shortNames()[named.Resource]; ok {
		named = long
	}
	discovery, err := clientdiscovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return gr, false, fmt.Errorf("make API discovery client: %w", err)
	}
	installed := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery))
	mapper := meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{adapter.BuiltinMapper(), installed}}
	gvk, err := mapper.KindFor(named.WithVersion(""))
	if err != nil {
		return gr, false, fmt.Errorf("resource %s: %w", named, err)
	}
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return gr, false, fmt.Errorf("resource %s: %w", named, err)
	}
	return mapping.Resource.GroupResource(), mapping.Scope.Name() == meta.RESTScopeNameNamespace, nil
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

func ask(cmd *cobra.Command, config *rest.Config, path string, parameters url.Values) ([]byte, error) {
	client, err := clientdiscovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	request := client.RESTClient().Get().AbsPath(path)
	for name, values := range parameters {
		for _, value := range values {
			request = request.Param(name, value)
		}
	}
	answer := request.Do(cmd.Context())
	// What Raw returns leaves out what the error says.
	if err := answer.Error(); err != nil {
		return nil, fmt.Errorf("ask the metrics API: %w", err)
	}
	return answer.Raw()
}

// mark is what a state looks like.
func mark(s adapter.State) string {
	switch s {
	case adapter.StateOK:
		return "✓"
	case adapter.StateBroken:
		return "✗"
	}
	return "·"
}

func printExplanation(out io.Writer, told *adapter.Explanation) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) {
		// The table keeps the first error for Flush.
		_, _ = fmt.Fprintf(table, format+"\n", args...)
	}
	for _, step := range told.Steps {
		line("%s %s\t%s", mark(step.State), step.Link, step.Text)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	of := fmt.Sprintf("%s of %s", told.Metric, told.Object)
	if told.Object == "external" {
		of = "external metric " + told.Metric
	}
	if told.Namespace != "" {
		of += " in namespace " + told.Namespace
	}
	result := "has no value: " + told.Reason
	if told.Reason == "" {
		result = "is " + told.Value
	}
	_, err := fmt.Fprintf(out, "\n%s %s\n", of, result)
	return err
}
