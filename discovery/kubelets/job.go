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
	// JobName is the name of the job, and its targets' label job. Jobs of monitors have a
	// slash in theirs.
	JobName = "kubelets"
	// DefaultPath is where kubelets expose what nodes and containers use.
	DefaultPath = "/metrics/resource"
	// PathAnnotation on a Node is the path to scrape instead, as for metrics-server.
	PathAnnotation = "metrics.k8s.io/resource-metrics-path"

	// GroupPrefix and the name of the Node are the source of its group.
	GroupPrefix = "node/"

	// NodeLabel is the label of all series of a kubelet that has the Node's name.
	NodeLabel = model.LabelName("node")

	// maxSamples is for more containers than a node has: 10,000, with four samples each.
	maxSamples = 50_000

	// pathLabel is as in kube-prometheus, whose rules tell the paths of a kubelet apart by it.
	pathLabel = model.LabelName("metrics_path")
	// metaNode begins the labels of Prometheus's discovery of nodes.
	metaNode = "__meta_kubernetes_node_"
)

// Job is the scraping of kubelets.
type Job struct {
	// Config is shared by all who use the Job: read only.
	Config *config.ScrapeConfig

	options Options
}

// New makes the Job. The error says what is wrong with the options. It does not look into the
// files that they name.
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
	// Its own, for that of other jobs follows from what they may store.
	cfg.SampleLimit = maxSamples
	// Kubelets serve nothing else here, and metrics-server reads all bodies as this.
	cfg.ScrapeProtocols = []config.ScrapeProtocol{config.PrometheusText0_0_4}
	cfg.ScrapeFallbackProtocol = config.PrometheusText0_0_4
	cfg.HTTPClientConfig = commonconfig.DefaultHTTPClientConfig
	// A redirect would take the token elsewhere.
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

// Group returns the target of a Node: its kubelet. It is nil for a Node that the selector does
// not choose. The error says why the kubelet cannot be reached.
//
// Nodes are taken in whatever condition they are, as by metrics-server: what a kubelet answers
// counts.
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
