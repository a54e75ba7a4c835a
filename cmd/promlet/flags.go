package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// options are the flags of promlet serve.
type options struct {
	kubeconfig string
	manifests  string
	config     string

	scrapeInterval    time.Duration
	scrapeTimeout     time.Duration
	scrapeAnnotations bool
	scrapeCompression bool
	rateWindow        time.Duration

	monitorSelector          selector
	monitorNamespaceSelector selector
	monitorFileAccess        bool

	ingest      ingest
	demandTTL   time.Duration
	seriesLimit int

	dataDir             string
	retention           time.Duration
	queryMaxSamples     int
	queryTimeout        time.Duration
	queryMaxConcurrency int

	namespace         string
	serviceName       string
	podName           string
	servingCertSecret string
	apiServices       []string
	shutdownDelay     time.Duration

	webListenAddress string
	logLevel         string
	logFormat        string

	// given are all flags as they were parsed; not a flag.
	given []*pflag.Flag
	// reload asks for the configuration file to be read again; not a flag.
	reload <-chan os.Signal
	// scrapeClient is added to how targets are reached; not a flag.
	scrapeClient []config_util.HTTPClientOption

	serving        *genericoptions.SecureServingOptions
	authentication *genericoptions.DelegatingAuthenticationOptions
	authorization  *genericoptions.DelegatingAuthorizationOptions
}

// Defaults of the flags that are promlet's own.
const (
	// defaultScrapeInterval is the operator's; four of them fill the default
	// rate window.
	defaultScrapeInterval = 30 * time.Second
	// defaultScrapeTimeout is Prometheus's.
	defaultScrapeTimeout = 10 * time.Second
	// defaultSecurePort is above 1023, so that no capability is needed.
	defaultSecurePort = 6443
	// defaultWebListenAddress is reached by kubectl port-forward.
	defaultWebListenAddress = "127.0.0.1:9090"
	// defaultSeriesLimit is some 300 MB of memory, the most that an edge node can be
	// asked for. On demand it is not met.
	defaultSeriesLimit = 100_000
	// defaultAllowCacheTTL spares the API server a review of each request: an HPA asks
	// every 15 s, and the library's 10 s would remember none. Whoever loses a permission
	// reads metrics for that long.
	defaultAllowCacheTTL = time.Minute
	// defaultServiceName is what deploy/ calls it.
	defaultServiceName = "promlet"
)

// selector is a flag that holds a label selector; nil when it is empty.
type selector struct{ labels.Selector }

// String implements pflag.Value.
func (s *selector) String() string {
	if s.Selector == nil {
		return ""
	}
	return s.Selector.String()
}

// Set implements pflag.Value.
func (s *selector) Set(value string) error {
	s.Selector = nil
	if value == "" {
		return nil
	}
	parsed, err := labels.Parse(value)
	if err != nil {
		return fmt.Errorf("%w: give labels as kubectl takes them, such as team=blue", err)
	}
	s.Selector = parsed
	return nil
}

// Type implements pflag.Value.
func (*selector) Type() string { return "selector" }

func newOptions() *options {
	o := &options{
		scrapeInterval:      defaultScrapeInterval,
		scrapeTimeout:       defaultScrapeTimeout,
		scrapeAnnotations:   true,
		rateWindow:          rules.DefaultRateWindow,
		ingest:              ingestDemand,
		demandTTL:           demand.DefaultTTL,
		seriesLimit:         defaultSeriesLimit,
		dataDir:             "data",
		retention:           tsdb.DefaultRetention,
		queryMaxSamples:     tsdb.DefaultMaxSamples,
		queryTimeout:        tsdb.DefaultQueryTimeout,
		queryMaxConcurrency: tsdb.DefaultMaxConcurrency,
		serviceName:         defaultServiceName,
		apiServices:         []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"},
		webListenAddress:    defaultWebListenAddress,
		logLevel:            "info",
		logFormat:           "text",
		serving:             genericoptions.NewSecureServingOptions(),
		authentication:      genericoptions.NewDelegatingAuthenticationOptions(),
		authorization:       genericoptions.NewDelegatingAuthorizationOptions(),
	}
	o.authorization.AllowCacheTTL = defaultAllowCacheTTL
	o.serving.BindPort = defaultSecurePort
	// No directory: the certificate is held in memory, and the root may be
	// read-only.
	o.serving.ServerCert.CertDirectory = ""
	o.serving.ServerCert.PairName = "promlet"
	return o
}

func (o *options) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	source := sets.FlagSet("source")
	source.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "Path to a kubeconfig file. Empty: the Pod's own ServiceAccount.")
	source.StringVar(&o.manifests, "manifests", o.manifests, "Directory of YAML or JSON files that stand in for a cluster: Services, EndpointSlices, Endpoints, Pods, ServiceMonitors, PodMonitors, HorizontalPodAutoscalers, and Secrets and ConfigMaps of monitors. Changes are followed. The API then listens on loopback only and lets every caller in.")
	source.StringVar(&o.config, "config", o.config, "Path to a file of rules in prometheus-adapter's format, beside which it may hold serviceMonitors, podMonitors, and keep, a list of regular expressions of series names. Empty: the default rules.")

	monitors := sets.FlagSet("monitors")
	monitors.Var(&o.monitorSelector, "monitor-selector", "Labels of the ServiceMonitors and PodMonitors that count, such as team=blue,tier!=test. Empty: all. Those of --config always count.")
	monitors.Var(&o.monitorNamespaceSelector, "monitor-namespace-selector", "Labels of the Namespaces whose ServiceMonitors and PodMonitors count. Empty: all.")
	monitors.BoolVar(&o.monitorFileAccess, "monitor-file-access", o.monitorFileAccess, "Allow monitors to name files of promlet's own (bearerTokenFile; caFile, certFile and keyFile of tlsConfig). Whoever may write a monitor can then have any of them sent to a server of theirs, promlet's token included.")

	scrape := sets.FlagSet("scrape")
	scrape.DurationVar(&o.scrapeInterval, "scrape-interval", o.scrapeInterval, "Time between scrapes of a target whose monitor says nothing.")
	scrape.DurationVar(&o.scrapeTimeout, "scrape-timeout", o.scrapeTimeout, "Time a scrape may take where the monitor says nothing; never more than the interval.")
	scrape.BoolVar(&o.scrapeAnnotations, "scrape-annotations", o.scrapeAnnotations, "Scrape Pods and Services annotated prometheus.io/scrape: \"true\" too.")
	scrape.BoolVar(&o.scrapeCompression, "scrape-compression", o.scrapeCompression, "Ask targets to compress what they serve: a tenth of the bytes on the way, and more CPU time in targets and here than all the rest of a scrape.")
	scrape.DurationVar(&o.rateWindow, "rate-window", o.rateWindow, "Window over which the default rules compute rates.")

	ingestion := sets.FlagSet("ingestion")
	ingestion.Var(&o.ingest, "ingest", "Which series are stored. One of demand (those that HPAs and API clients read, and those named by keep in --config), all.")
	ingestion.DurationVar(&o.demandTTL, "demand-ttl", o.demandTTL, "How long after its last read over the API a metric's series are still stored. What HPAs scale on is stored as long as they are there.")
	ingestion.IntVar(&o.seriesLimit, "series-limit", o.seriesLimit, "How many series may be held in memory. Near it new ones are refused: above four fifths of it those that nobody reads, above nine tenths those that no HPA reads, at the limit all. 0: no limit.")

	storage := sets.FlagSet("storage and queries")
	storage.StringVar(&o.dataDir, "data-dir", o.dataDir, "Directory of the TSDB. Made if missing.")
	storage.DurationVar(&o.retention, "retention", o.retention, "How long samples are kept.")
	storage.IntVar(&o.queryMaxSamples, "query-max-samples", o.queryMaxSamples, "Samples a query may hold in memory.")
	storage.DurationVar(&o.queryTimeout, "query-timeout", o.queryTimeout, "Time a query may take.")
	storage.IntVar(&o.queryMaxConcurrency, "query-max-concurrency", o.queryMaxConcurrency, "Queries evaluated at the same time.")

	installation := sets.FlagSet("installation")
	installation.StringVar(&o.namespace, "namespace", o.namespace, "Namespace that promlet runs in. Empty: the Pod's own, or that of the kubeconfig's context.")
	installation.StringVar(&o.serviceName, "service-name", o.serviceName, "Service in front of promlet. The serving certificate is for it, and its endpoints are the other replicas.")
	installation.StringVar(&o.podName, "pod-name", o.podName, "Pod that this replica is. Empty: the host name.")
	installation.StringVar(&o.servingCertSecret, "serving-cert-secret", o.servingCertSecret, "Secret in which promlet keeps a CA and a serving certificate of its own, shared by all replicas and renewed in time; the CA is put into --api-services. Not used with --tls-cert-file. Empty: a certificate in memory that nobody else trusts.")
	installation.StringSliceVar(&o.apiServices, "api-services", o.apiServices, "APIServices that promlet puts its CA into, where they name its Service.")
	installation.DurationVar(&o.shutdownDelay, "shutdown-delay-duration", o.shutdownDelay, "Time to go on scraping and answering after SIGTERM, no longer ready, until requests no longer come here.")

	web := sets.FlagSet("web and logs")
	web.StringVar(&o.webListenAddress, "web-listen-address", o.webListenAddress, "Address of the status pages, the Prometheus HTTP API and promlet's own metrics. Whoever reaches it reads the samples of all namespaces: leave it on loopback, and use kubectl port-forward. Empty: none.")
	web.StringVar(&o.logLevel, "log-level", o.logLevel, "One of debug, info, warn, error.")
	web.StringVar(&o.logFormat, "log-format", o.logFormat, "One of text, json.")

	o.serving.AddFlags(sets.FlagSet("API serving"))
	o.authentication.AddFlags(sets.FlagSet("API authentication"))
	o.authorization.AddFlags(sets.FlagSet("API authorization"))
	return sets
}

// validate reports everything that is wrong at once, and settles what flags
// mean for one another.
func (o *options) validate() error {
	var errs []error
	bad := func(flag string, value any, mend string) {
		errs = append(errs, fmt.Errorf("--%s=%v: %s", flag, value, mend))
	}
	o.validateDurations(bad)
	if o.servingCertSecret != "" && o.serviceName == "" {
		bad("service-name", `""`, "name the Service that the certificate of --serving-cert-secret is for")
	}
	if o.scrapeTimeout > o.scrapeInterval {
		o.scrapeTimeout = o.scrapeInterval
	}
	if o.retention > 0 && o.retention < o.rateWindow {
		bad("retention", o.retention, fmt.Sprintf("keep at least the rate window, %s", o.rateWindow))
	}
	if o.queryMaxSamples <= 0 {
		bad("query-max-samples", o.queryMaxSamples, "give a number above 0")
	}
	if o.queryMaxConcurrency <= 0 {
		bad("query-max-concurrency", o.queryMaxConcurrency, "give a number above 0")
	}
	if o.seriesLimit < 0 {
		bad("series-limit", o.seriesLimit, "give 0 for no limit, or a number above it")
	}
	if o.dataDir == "" {
		bad("data-dir", `""`, "name a directory")
	}
	if o.webListenAddress != "" {
		if _, _, err := net.SplitHostPort(o.webListenAddress); err != nil {
			bad("web-listen-address", o.webListenAddress, "give HOST:PORT, such as "+defaultWebListenAddress)
		}
	}
	if _, err := o.level(); err != nil {
		bad("log-level", o.logLevel, "choose debug, info, warn or error")
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		bad("log-format", o.logFormat, "choose text or json")
	}
	if o.podName == "" {
		host, err := os.Hostname()
		if err != nil {
			errs = append(errs, fmt.Errorf("--pod-name: %w: give the Pod's name", err))
		}
		o.podName = host
	}
	errs = append(errs, o.validateSource()...)
	errs = append(errs, o.serving.Validate()...)
	if o.manifests == "" {
		errs = append(errs, o.authentication.Validate()...)
		errs = append(errs, o.authorization.Validate()...)
	}
	return errors.Join(errs...)
}

// validateDurations calls bad for each that is wrong.
func (o *options) validateDurations(bad func(flag string, value any, mend string)) {
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"scrape-interval", o.scrapeInterval},
		{"scrape-timeout", o.scrapeTimeout},
		{"rate-window", o.rateWindow},
		{"retention", o.retention},
		{"query-timeout", o.queryTimeout},
		{"demand-ttl", o.demandTTL},
	} {
		if d.value <= 0 {
			bad(d.flag, d.value, "give a duration above 0, such as 30s")
		}
	}
	if o.shutdownDelay < 0 {
		bad("shutdown-delay-duration", o.shutdownDelay, "give 0 or a duration such as 10s")
	}
}

func (o *options) validateSource() []error {
	if o.manifests == "" {
		for _, path := range []*string{&o.authentication.RemoteKubeConfigFile, &o.authorization.RemoteKubeConfigFile} {
			if *path == "" {
				*path = o.kubeconfig
			}
		}
		return nil
	}
	var errs []error
	if o.kubeconfig != "" {
		errs = append(errs, fmt.Errorf("--kubeconfig=%s: leave it out, --manifests stands in for the cluster", o.kubeconfig))
	}
	if o.servingCertSecret != "" {
		errs = append(errs, fmt.Errorf("--serving-cert-secret=%s: leave it out, without a cluster there are no Secrets", o.servingCertSecret))
	}
	if info, err := os.Stat(o.manifests); err != nil || !info.IsDir() {
		errs = append(errs, fmt.Errorf("--manifests=%s: name a directory that is there", o.manifests))
	}
	switch {
	case o.serving.BindAddress.IsUnspecified(): // the default
		o.serving.BindAddress = net.IPv4(127, 0, 0, 1)
	case !o.serving.BindAddress.IsLoopback():
		errs = append(errs, fmt.Errorf("--bind-address=%s: with --manifests nobody is authenticated, so give a loopback address", o.serving.BindAddress))
	}
	return errs
}

func (o *options) level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(o.logLevel))
	return level, err
}
