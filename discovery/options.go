package discovery

import (
	"log/slog"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/monitors"
)

const (
	// DefaultScrapeInterval is that of prometheus-operator; Prometheus's own
	// default of a minute is slow for an autoscaler.
	DefaultScrapeInterval = 30 * time.Second
	// MinScrapeInterval is the shortest that monitors and Options can ask for; less is
	// raised to it.
	MinScrapeInterval = monitors.MinInterval
	// DefaultScrapeTimeout is Prometheus's.
	DefaultScrapeTimeout = 10 * time.Second
)

// Options are the settings of a Discoverer. The zero value is usable.
type Options struct {
	// Logger gets monitors' rejections, each when its reason changes. nil is silent.
	Logger *slog.Logger
	// ScrapeInterval is for monitors that give none. Zero or negative means
	// DefaultScrapeInterval, less than MinScrapeInterval means that.
	ScrapeInterval time.Duration
	// ScrapeTimeout is for monitors that give none, and is never above their
	// interval. Zero or negative means DefaultScrapeTimeout.
	ScrapeTimeout time.Duration
	// ServiceMonitors and PodMonitors are taken besides those of the Store, for
	// clusters without the CRDs. One without a namespace is in "default"; one with
	// the name of a monitor of the Store is rejected. They are copied. SetInline
	// replaces them.
	ServiceMonitors []*monitoringv1.ServiceMonitor
	PodMonitors     []*monitoringv1.PodMonitor
	// MonitorSelector and MonitorNamespaceSelector say which monitors of the Store
	// count, by their labels and by those of their namespace. nil means all.
	MonitorSelector          labels.Selector
	MonitorNamespaceSelector labels.Selector
	// Enforcement gives all series of a monitor the label namespace of the monitor, whatever
	// its relabelings and honorLabels say.
	Enforcement monitors.Enforcement
	// IgnoreNamespaceSelectors makes monitors select objects of their own namespace only,
	// whatever their namespaceSelector says.
	IgnoreNamespaceSelectors bool
	// FileAccess allows monitors to name files of promlet's own: bearerTokenFile and
	// the files of tlsConfig. Whoever may write a monitor can then have any such file
	// sent to a server of theirs.
	FileAccess bool
	// Shard is the part of the targets that is scraped. The zero value is all of them.
	Shard monitors.Shard
	// Events gets an Event on each rejected monitor. nil means none.
	Events record.EventRecorder
	// Registerer has the Discoverer's own metrics, promlet_discovery_*, while Run runs.
	// Nil: none are exported.
	Registerer prometheus.Registerer
	// MonitorTargetLimit is the most targets of one monitor that are scraped, and
	// NamespaceTargetLimit of all monitors of a namespace and of what is annotated in it.
	// Beyond it a monitor is rejected whole. Inline monitors have no limit. 0 is none.
	MonitorTargetLimit, NamespaceTargetLimit int
	// Annotations says whether to scrape Services and Pods that are annotated
	// prometheus.io/scrape: "true" (with prometheus.io/port, path and scheme).
	Annotations bool
	// Kubelets is the job that scrapes the kubelets of the Store's Nodes. The Nodes need their
	// addresses: see cluster.Options.NodeAddresses. Target limits do not apply to it. One of
	// several shards leaves it out, because metrics.k8s.io needs all Nodes. Nil: kubelets are
	// not scraped.
	Kubelets *kubelets.Job
}
