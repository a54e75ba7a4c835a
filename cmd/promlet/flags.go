package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/cmd/promlet/internal/connection"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape/destination"
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

	monitorSelector          string
	monitorNamespaceSelector string
	monitorFileAccess        bool
	enforceNamespaceLabel    bool
	exemptNamespaces         []string
	ignoreNamespaceSelectors bool
	monitorTargetLimit       int
	namespaceTargetLimit     int
	shardText                string
	shard                    monitors.Shard // parsed from shardText

	engine connection.Flags
	scrape bool // whether to scrape; always true without an engine

	ingest           string
	demandTTL        time.Duration
	seriesLimit      int
	seriesBytesLimit int64

	resources resourceOptions

	dataDir             string
	retention           time.Duration
	retentionSize       units.Base2Bytes
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
	profiling        bool
	verbosity        int
	logLevel         string
	logFormat        string

	serving        *genericoptions.SecureServingOptions
	authentication *genericoptions.DelegatingAuthenticationOptions
	authorization  *genericoptions.DelegatingAuthorizationOptions

	// sections are the flags as --help shows them, parsed those of the command that was
	// run; not flags.
	sections cliflag.NamedFlagSets
	parsed   *pflag.FlagSet
	// reload asks for the configuration file to be loaded again; not a flag.
	reload                           <-chan os.Signal
	allowedNetworks, refusedNetworks []string
	destinations                     destination.Policy // of these
	// dialTarget makes connections to targets, within destinations; not a flag.
	dialTarget func(ctx context.Context, network, address string) (net.Conn, error)
}

// Defaults of the flags that are promlet's own.
const (
	// defaultScrapeTimeout is Prometheus's.
	defaultScrapeTimeout = 10 * time.Second
	// defaultSecurePort is above 1023, so that no capability is needed.
	defaultSecurePort = 6443
	// defaultWebListenAddress is reached by kubectl port-forward.
	defaultWebListenAddress = "127.0.0.1:9090"
	// defaultAllowCacheTTL caches allowed decisions for longer than the 15 s between two
	// requests of an HPA; the library's 10 s would cache none. Revoked permissions work
	// for that long.
	defaultAllowCacheTTL = time.Minute
	// defaultServiceName is the Service's name in deploy/.
	defaultServiceName = "promlet"
)

// minRetentionSize holds the log of some thousand series.
const minRetentionSize = 32 * units.MiB

// bytesFlag is a flag of a number of bytes, as Prometheus has them.
type bytesFlag struct{ *units.Base2Bytes }

// Set implements pflag.Value.
func (f bytesFlag) Set(text string) (err error) {
	*f.Base2Bytes, err = units.ParseBase2Bytes(text)
	return err
}

// Type implements pflag.Value.
func (bytesFlag) Type() string { return "bytes" }

// debugVerbosity is the value of --v at which prometheus-adapter logs its requests to Prometheus.
const debugVerbosity = 6

// Values of --ingest.
const (
	ingestDemand = "demand"
	ingestAll    = "all"
)

// newOptions returns the defaults, and the flags that change them.
func newOptions() *options {
	o := &options{
		serving:        genericoptions.NewSecureServingOptions(),
		authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		parsed:         &pflag.FlagSet{},
	}
	o.authorization.AllowCacheTTL = defaultAllowCacheTTL
	o.serving.BindPort = defaultSecurePort
	// No directory: the certificate is held in memory, and the root may be
	// read-only.
	o.serving.ServerCert.CertDirectory = ""
	o.serving.ServerCert.PairName = "promlet"
	o.dialTarget = func(ctx context.Context, network, address string) (net.Conn, error) {
		return o.destinations.DialContext(ctx, network, address)
	}
	o.addFlags()
	return o
}

func (o *options) addFlags() {
	source := o.sections.FlagSet("source")
	source.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to a kubeconfig file. Empty: the Pod's own ServiceAccount.")
	source.StringVar(&o.manifests, "manifests", "", "Directory of YAML or JSON files used in place of a cluster: Services, EndpointSlices, Endpoints, Pods, ServiceMonitors, PodMonitors, HorizontalPodAutoscalers, and the Secrets and ConfigMaps of monitors. Changes are picked up. The API listens on loopback only and does not authenticate.")
	source.StringVar(&o.config, "config", "", "Path to a file of rules in prometheus-adapter's format. It may also have serviceMonitors and podMonitors; keep, a list of regular expressions of series names; query, an engine to query; and remoteWrite, engines to send samples to. Empty: the default rules.")

	monitored := o.sections.FlagSet("monitors")
	monitored.StringVar(&o.monitorSelector, "monitor-selector", "", "Label selector of the ServiceMonitors and PodMonitors to use, such as team=blue,tier!=test. Empty: all. Those of --config are always used.")
	monitored.StringVar(&o.monitorNamespaceSelector, "monitor-namespace-selector", "", "Label selector of the Namespaces whose ServiceMonitors and PodMonitors are used. Empty: all.")
	monitored.BoolVar(&o.monitorFileAccess, "monitor-file-access", false, "Allow monitors to name files in promlet's container (bearerTokenFile; caFile, certFile and keyFile of tlsConfig). Whoever may write a monitor can then send any of these files to a server of theirs, including promlet's token.")
	monitored.IntVar(&o.monitorTargetLimit, "monitor-target-limit", embedded.DefaultTargetLimit, "Maximum number of targets of a ServiceMonitor or PodMonitor. One with more is rejected. 0: no limit. Those of --config have none.")
	monitored.IntVar(&o.namespaceTargetLimit, "namespace-target-limit", embedded.DefaultTargetLimit, "Maximum number of targets of all monitors and annotated objects of a namespace. Beyond it, those with the most are rejected. 0: no limit.")

	// Not the label's name, as the operator has it: promlet's default rules read no other.
	monitored.BoolVar(&o.enforceNamespaceLabel, "enforce-namespace-label", false, "Give all series of a monitor the label namespace of the monitor, over namespaceSelector, relabelings, metricRelabelings and honorLabels, so that no tenant can write metrics of another. An Event tells monitors that are overruled.")
	monitored.StringSliceVar(&o.exemptNamespaces, "enforcement-exempt-namespaces", nil, "Namespaces whose monitors may write series of other namespaces in spite of --enforce-namespace-label, such as that of kube-state-metrics.")
	monitored.BoolVar(&o.ignoreNamespaceSelectors, "ignore-namespace-selectors", false, "Ignore the namespaceSelector of monitors: they select objects of their own namespace only.")

	o.resources.addTo(o.sections.FlagSet("resource metrics"))

	monitored.StringVar(&o.shardText, "shard", "", "Scrape only the targets of one shard, INDEX/COUNT, such as 0/4. Targets are divided as by the Prometheus operator: by a hash of the address or of the label __tmp_hash. Those with the label __tmp_disable_sharding are in every shard. Empty: scrape all targets.")

	scrape := o.sections.FlagSet("scrape")
	scrape.DurationVar(&o.scrapeInterval, "scrape-interval", discovery.DefaultScrapeInterval, "Default time between two scrapes of a target. Monitors may set their own. At least 1s.")
	scrape.DurationVar(&o.scrapeTimeout, "scrape-timeout", defaultScrapeTimeout, "Default timeout of a scrape, at most the interval. Monitors may set their own.")
	scrape.BoolVar(&o.scrapeAnnotations, "scrape-annotations", true, "Also scrape Pods and Services annotated prometheus.io/scrape: \"true\".")
	scrape.BoolVar(&o.scrapeCompression, "scrape-compression", false, "Ask targets for compressed responses. Saves nine tenths of the traffic, and takes more CPU time, here and in targets, than the rest of a scrape.")
	scrape.StringSliceVar(&o.allowedNetworks, "scrape-allowed-networks", nil, "Networks, such as 127.0.0.0/8, that scrapes, their proxies and token endpoints may connect to. By default loopback, link-local and cloud metadata addresses are refused. With --manifests every address is allowed.")
	scrape.StringSliceVar(&o.refusedNetworks, "scrape-refused-networks", nil, "Networks to which scrapes, their proxies and token endpoints may not connect, whatever --scrape-allowed-networks says.")
	scrape.DurationVar(&o.rateWindow, "rate-window", rules.DefaultRateWindow, "Window over which the default rules compute rates.")

	byURL := o.sections.FlagSet("queries by URL")
	o.engine.AddTo(byURL)
	byURL.BoolVar(&o.scrape, "scrape", false, "With --prometheus-url, also scrape what monitors select. Metrics with scraped series are answered from these, all others by the engine.")

	ingestion := o.sections.FlagSet("ingestion")
	ingestion.StringVar(&o.ingest, "ingest", ingestDemand, "Which series are stored. One of demand (those that HPAs and API clients read, and those that match keep in --config), all.")
	ingestion.DurationVar(&o.demandTTL, "demand-ttl", demand.DefaultTTL, "How long a metric's series are stored after the last read by an API client. Series that HPAs scale on are stored as long as the HPA exists.")
	ingestion.IntVar(&o.seriesLimit, "series-limit", embedded.DefaultSeriesLimit, "Maximum number of series in memory. New series are rejected at 80 % of it if nobody reads them, at 90 % if no HPA does, and at 100 % otherwise. The namespaces of monitors share it: each may have an equal part, and what one does not need is lent to others. While it changes hands, it may be exceeded by a quarter. 0: no limit.")
	ingestion.Int64Var(&o.seriesBytesLimit, "series-bytes-limit", 0, "Maximum memory that series take, in bytes: their labels, and 2560 bytes each. Otherwise as --series-limit. 0: 40 % of the memory limit of the container or of GOMEMLIMIT; no limit if there is none.")

	storage := o.sections.FlagSet("storage and queries")
	storage.StringVar(&o.dataDir, "data-dir", "data", "Directory of the TSDB. Created if missing.")
	storage.DurationVar(&o.retention, "retention", tsdb.DefaultRetention, "How long samples are kept.")
	o.retentionSize = tsdb.DefaultRetentionBytes
	storage.Var(bytesFlag{&o.retentionSize}, "retention-size", "How much disk samples may take, such as 512MB: beyond it the oldest are removed. Units are powers of 1024. What a damaged data directory held is kept once, beside.")
	storage.IntVar(&o.queryMaxSamples, "query-max-samples", tsdb.DefaultMaxSamples, "Maximum number of samples a query may load into memory.")
	storage.DurationVar(&o.queryTimeout, "query-timeout", tsdb.DefaultQueryTimeout, "Maximum time a query may take.")
	storage.IntVar(&o.queryMaxConcurrency, "query-max-concurrency", tsdb.DefaultMaxConcurrency, "Maximum number of queries evaluated at the same time.")

	installation := o.sections.FlagSet("installation")
	installation.StringVar(&o.namespace, "namespace", "", "Namespace that promlet runs in. Empty: the Pod's own, or that of the kubeconfig's context.")
	installation.StringVar(&o.serviceName, "service-name", defaultServiceName, "Service in front of promlet. The serving certificate is issued for it; its endpoints are the other replicas.")
	installation.StringVar(&o.podName, "pod-name", "", "Name of the Pod that promlet runs in. Empty: the host name.")
	installation.StringVar(&o.servingCertSecret, "serving-cert-secret", "", "Secret that holds promlet's own CA and serving certificate, shared by all replicas and renewed before they expire. The CA is written to --api-services. Ignored with --tls-cert-file. Empty: a self-signed certificate in memory.")
	installation.StringSliceVar(&o.apiServices, "api-services", []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"}, "APIServices to write promlet's CA to, if they name its Service.")
	installation.DurationVar(&o.shutdownDelay, "shutdown-delay-duration", 0, "Time to keep scraping and serving after SIGTERM, while not ready, so that clients move to other replicas.")

	web := o.sections.FlagSet("web and logs")
	web.StringVar(&o.webListenAddress, "web-listen-address", defaultWebListenAddress, "Address of the status pages, the Prometheus HTTP API and promlet's own metrics. Clients are not authenticated and can read the samples of all namespaces: keep it on loopback and use kubectl port-forward. Empty: disabled.")
	web.BoolVar(&o.profiling, "profiling", true, "Serve profiles under /debug/pprof/ of --web-listen-address. Only requests to a loopback address are answered, such as those through kubectl port-forward.")
	web.StringVar(&o.logLevel, "log-level", "info", "Minimum level of log messages. One of debug, info, warn, error.")
	web.StringVar(&o.logFormat, "log-format", "text", "Format of log messages. One of text, json.")

	o.addAdapterFlags(o.sections.FlagSet("prometheus-adapter's arguments"))

	o.serving.AddFlags(o.sections.FlagSet("API serving"))
	o.authentication.AddFlags(o.sections.FlagSet("API authentication"))
	o.authorization.AddFlags(o.sections.FlagSet("API authorization"))
}

// addAdapterFlags adds the flags of prometheus-adapter that promlet does not need, so that its arguments are valid.
func (o *options) addAdapterFlags(set *pflag.FlagSet) {
	set.StringVar(&o.kubeconfig, "lister-kubeconfig", "", "The same as --kubeconfig.")
	set.IntVar(&o.verbosity, "v", 0, "6 and more is the same as --log-level=debug.")
	for _, name := range []string{"logtostderr", "alsologtostderr"} {
		set.Bool(name, false, "Ignored: logs go to stderr.")
	}
	for _, name := range []string{"stderrthreshold", "vmodule", "log-flush-frequency", "discovery-interval", "client-qps", "client-burst"} {
		set.String(name, "", "Ignored.")
	}
}

// validate reports all mistakes at once, and fills in values that depend on other flags.
func (o *options) validate() error {
	var errs []error
	check := func(ok bool, flag string, value any, mend string) {
		if !ok {
			errs = append(errs, fmt.Errorf("--%s=%v: %s", flag, value, mend))
		}
	}
	const positive, aboveZero = "give a duration above 0, such as 30s", "give a number above 0"
	check(o.scrapeInterval >= discovery.MinScrapeInterval, "scrape-interval", o.scrapeInterval, "give 1s or more")
	check(o.scrapeTimeout > 0, "scrape-timeout", o.scrapeTimeout, positive)
	check(o.rateWindow > 0, "rate-window", o.rateWindow, positive)
	check(o.retention > 0, "retention", o.retention, positive)
	check(o.retentionSize >= minRetentionSize, "retention-size", o.retentionSize, fmt.Sprintf("give at least %v", minRetentionSize))
	check(o.queryTimeout > 0, "query-timeout", o.queryTimeout, positive)
	check(o.demandTTL > 0, "demand-ttl", o.demandTTL, positive)
	check(o.shutdownDelay >= 0, "shutdown-delay-duration", o.shutdownDelay, "give 0 or a duration such as 10s")
	check(o.retention <= 0 || o.retention >= o.rateWindow, "retention", o.retention, fmt.Sprintf("keep at least the rate window, %s", o.rateWindow))
	check(o.queryMaxSamples > 0, "query-max-samples", o.queryMaxSamples, aboveZero)
	check(o.queryMaxConcurrency > 0, "query-max-concurrency", o.queryMaxConcurrency, aboveZero)
	check(o.seriesLimit >= 0, "series-limit", o.seriesLimit, "give 0 for no limit, or a number above it")
	check(o.monitorTargetLimit >= 0, "monitor-target-limit", o.monitorTargetLimit, "give 0 for no limit, or a number above it")
	check(o.namespaceTargetLimit >= 0, "namespace-target-limit", o.namespaceTargetLimit, "give 0 for no limit, or a number above it")
	check(o.seriesBytesLimit >= 0, "series-bytes-limit", o.seriesBytesLimit, "give 0 for a part of the memory limit, or a number above it")
	check(o.dataDir != "", "data-dir", `""`, "name a directory")
	check(o.ingest == ingestDemand || o.ingest == ingestAll, "ingest", o.ingest, "choose demand or all")
	check(o.logFormat == "text" || o.logFormat == "json", "log-format", o.logFormat, "choose text or json")
	check(o.servingCertSecret == "" || o.serviceName != "", "service-name", `""`, "name the Service that the certificate of --serving-cert-secret is for")
	_, _, err := net.SplitHostPort(o.webListenAddress)
	check(o.webListenAddress == "" || err == nil, "web-listen-address", o.webListenAddress, "give HOST:PORT, such as "+defaultWebListenAddress)
	_, err = o.level()
	check(err == nil, "log-level", o.logLevel, "choose debug, info, warn or error")
	const network = "give networks such as 10.0.0.0/8, or IP addresses"
	const selector = "give a label selector, such as team=blue"
	_, err = parseSelector(o.monitorSelector)
	check(err == nil, "monitor-selector", o.monitorSelector, selector)
	_, err = parseSelector(o.monitorNamespaceSelector)
	check(err == nil, "monitor-namespace-selector", o.monitorNamespaceSelector, selector)
	check(o.enforceNamespaceLabel || len(o.exemptNamespaces) == 0, "enforcement-exempt-namespaces", strings.Join(o.exemptNamespaces, ","), "leave it out, or add --enforce-namespace-label")
	o.destinations.Allowed, err = destination.ParseNetworks(o.allowedNetworks)
	check(err == nil, "scrape-allowed-networks", strings.Join(o.allowedNetworks, ","), network)
	o.destinations.Refused, err = destination.ParseNetworks(o.refusedNetworks)
	check(err == nil, "scrape-refused-networks", strings.Join(o.refusedNetworks, ","), network)
	o.shard, err = monitors.ParseShard(o.shardText)
	check(err == nil, "shard", o.shardText, fmt.Sprintf("%v: give INDEX/COUNT, such as 0/4 for the first of four", err))
	if err := o.resources.validate(o.shardText); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, o.engine.Validate()...)
	if o.verbosity >= debugVerbosity {
		o.logLevel = slog.LevelDebug.String()
	}
	o.scrapeTimeout = min(o.scrapeTimeout, o.scrapeInterval)
	if o.podName == "" {
		if o.podName, err = os.Hostname(); err != nil {
			errs = append(errs, fmt.Errorf("--pod-name: %w: give the Pod's name", err))
		}
	}
	errs = append(errs, o.validateSource()...)
	errs = append(errs, o.serving.Validate()...)
	return errors.Join(errs...)
}

// parseSelector returns nil for an empty selector.
func parseSelector(text string) (labels.Selector, error) {
	if text == "" {
		return nil, nil
	}
	return labels.Parse(text)
}

func (o *options) validateSource() []error {
	if o.manifests == "" {
		for _, path := range []*string{&o.authentication.RemoteKubeConfigFile, &o.authorization.RemoteKubeConfigFile} {
			*path = cmp.Or(*path, o.kubeconfig)
		}
		return append(o.authentication.Validate(), o.authorization.Validate()...)
	}
	// Whoever writes the files may as well connect.
	o.destinations.Allowed = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	var errs []error
	if o.kubeconfig != "" {
		errs = append(errs, fmt.Errorf("--kubeconfig=%s: leave it out: --manifests is used in place of a cluster", o.kubeconfig))
	}
	if o.servingCertSecret != "" {
		errs = append(errs, fmt.Errorf("--serving-cert-secret=%s: leave it out: without a cluster there are no Secrets", o.servingCertSecret))
	}
	if info, err := os.Stat(o.manifests); err != nil || !info.IsDir() {
		errs = append(errs, fmt.Errorf("--manifests=%s: name an existing directory", o.manifests))
	}
	switch {
	case o.serving.BindAddress.IsUnspecified(): // the default
		o.serving.BindAddress = net.IPv4(127, 0, 0, 1)
	case !o.serving.BindAddress.IsLoopback():
		errs = append(errs, fmt.Errorf("--bind-address=%s: give a loopback address: with --manifests clients are not authenticated", o.serving.BindAddress))
	}
	return errs
}

func (o *options) level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(o.logLevel))
	return level, err
}
