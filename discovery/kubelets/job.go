package kubelets

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	// JobName is the name of the job, and the value of its targets' label job. Names of other
	// jobs contain a slash.
	JobName = "kubelets"
	// DefaultPath is the path at which kubelets expose what nodes and containers use.
	DefaultPath = "/metrics/resource"
	// PathAnnotation is the annotation on a Node with another path to scrape, as for
	// metrics-server.
	PathAnnotation = "metrics.k8s.io/resource-metrics-path"

	// GroupPrefix is followed by the Node's name in the Source of its target group.
	GroupPrefix = "node/"

	// NodeLabel is the label with the Node's name. All series of a kubelet have it.
	NodeLabel = model.LabelName("node")

	// maxSamples is for more containers than a node has: 10,000, with four samples each.
	maxSamples = 50_000

	// pathLabel has the path. kube-prometheus has the same label, and its rules select by it.
	pathLabel = model.LabelName("metrics_path")
	// metaNode is the prefix of the labels that Prometheus's discovery of nodes sets.
	metaNode = "__meta_kubernetes_node_"
)

// Job is the job that scrapes kubelets.
type Job struct {
	// Config is shared: do not change it.
	Config *config.ScrapeConfig

	options Options
}

// New makes the Job. The error names all options that are invalid. New does not read the files
// that options name.
func New(opts Options) (*Job, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	cfg := config.DefaultScrapeConfig
	cfg.JobName = JobName
	cfg.Scheme = "https"
	cfg.MetricsPath = DefaultPath
	cfg.ScrapeInterval, cfg.ScrapeTimeout = model.Duration(opts.Interval), model.Duration(opts.Timeout)
	// Its own: that of other jobs follows from what they may store.
	cfg.SampleLimit = maxSamples
	// Kubelets serve no other format here, and metrics-server parses all bodies as this one.
	cfg.ScrapeProtocols = []config.ScrapeProtocol{config.PrometheusText0_0_4}
	cfg.ScrapeFallbackProtocol = config.PrometheusText0_0_4
	cfg.HTTPClientConfig = commonconfig.DefaultHTTPClientConfig
	// A redirect would send the token elsewhere.
	cfg.HTTPClientConfig.FollowRedirects = false
	cfg.HTTPClientConfig.TLSConfig = commonconfig.TLSConfig{
		CAFile: opts.CertificateAuthority, InsecureSkipVerify: opts.InsecureSkipVerify,
		CertFile: opts.ClientCertificate, KeyFile: opts.ClientKey,
	}
	if opts.TokenFile != "" {
		cfg.HTTPClientConfig.Authorization = &commonconfig.Authorization{Type: "Bearer", CredentialsFile: opts.TokenFile}
	}
	if err := cfg.HTTPClientConfig.Validate(); err != nil {
		return nil, fmt.Errorf("configure the scraping of kubelets: %w", err)
	}
	if err := cfg.Validate(config.DefaultGlobalConfig); err != nil {
		return nil, fmt.Errorf("configure the scraping of kubelets: %w", err)
	}
	return &Job{Config: &cfg, options: opts}, nil
}

// Group returns the target group of a Node, with its kubelet as the target. It is nil for a Node
// that the selector does not choose. The error says why the kubelet cannot be scraped.
//
// The Node's conditions do not matter, as in metrics-server: only the kubelet's answer counts.
func (j *Job) Group(node *corev1.Node) (*targetgroup.Group, error) {
	if !j.options.NodeSelector.Matches(labels.Set(node.Labels)) {
		return nil, nil
	}
	address := j.addressOf(node)
	if address == "" {
		return nil, fmt.Errorf("it has no address of the types %s: set --kubelet-preferred-address-types", joined(j.options.AddressTypes))
	}
	if config.CheckTargetAddress(model.LabelValue(address)) != nil {
		return nil, fmt.Errorf("its address %q is no host name and no IP address", address)
	}
	port := j.options.Port
	if reported := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port); j.options.UseNodeStatusPort && reported != 0 {
		port = reported
	}
	target := model.LabelSet{
		model.AddressLabel:  model.LabelValue(net.JoinHostPort(address, strconv.Itoa(port))),
		model.JobLabel:      JobName,
		model.InstanceLabel: model.LabelValue(node.Name),
		NodeLabel:           model.LabelValue(node.Name),
		pathLabel:           DefaultPath,
		metaNode + "name":   model.LabelValue(node.Name),
	}
	if path := node.Annotations[PathAnnotation]; path != "" {
		path = "/" + strings.TrimPrefix(path, "/")
		target[model.MetricsPathLabel], target[pathLabel] = model.LabelValue(path), model.LabelValue(path)
	}
	for _, a := range node.Status.Addresses {
		name := model.LabelName(metaNode + "address_" + string(a.Type))
		if _, taken := target[name]; !taken && model.LegacyValidation.IsValidLabelName(string(name)) {
			target[name] = model.LabelValue(a.Address)
		}
	}
	return &targetgroup.Group{Source: GroupPrefix + node.Name, Targets: []model.LabelSet{target}}, nil
}

// addressOf returns the address to connect to, "" for none.
func (j *Job) addressOf(node *corev1.Node) string {
	for _, wanted := range j.options.AddressTypes {
		for _, a := range node.Status.Addresses {
			if a.Type == wanted && a.Address != "" {
				return a.Address
			}
		}
	}
	return ""
}
