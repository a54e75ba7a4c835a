// Package discovery finds the targets to scrape: it reads ServiceMonitors,
// PodMonitors and prometheus.io/scrape annotations and joins them with the
// Services, EndpointSlices and Pods they select.
//
// A [Source] fills an objects.Store: package cluster from a Kubernetes API server,
// package manifests from a directory of files. A [Discoverer] makes scrape
// configurations and target groups of the Store, in Prometheus's own types, and calls
// apply whenever they change. A change of one object touches only the groups made of
// it. Package monitors makes jobs of monitors, package targets makes target groups of
// jobs, package kubelets makes a job of Nodes, and package reach explains why a Service or Pod is, or is not, scraped; the
// Discoverer holds what they made until something changes.
//
// [Discoverer.Run] owns the goroutine of the Source, and waits for it before it returns.
//
// The result for a monitor is what prometheus-operator (0.93) and Prometheus
// (3.x, role endpointslice) would make of it: same job names, same targets, same
// labels before the monitor's own relabelings. Where Prometheus expands every
// endpoint and relabels most of them away, this package joins directly: targets
// carry their final labels, and the monitor's relabelings, if any, are left for
// the scraper in ScrapeConfig.RelabelConfigs.
//
// Caveats:
//
//   - The __meta_kubernetes_* labels are attached only to targets of jobs that
//     have relabelings of their own: nothing else can read them. They are those
//     of the monitor's serviceDiscoveryRole; without one, those of both the
//     endpointslice and the endpoints role, since monitors are written for either.
//     The labels of an Endpoints object are taken from its Service, from which
//     Kubernetes copies them.
//   - The annotation kubectl.kubernetes.io/last-applied-configuration is never
//     kept: it is a second copy of the whole manifest.
//   - With the default selectorMechanism the operator turns selectors into
//     relabelings, so that a dot in a value stands for any character and label
//     names are compared after every character other than letters, digits and
//     underscores has become an underscore. It is the same here.
//   - Secrets and ConfigMaps that a monitor names are read into its
//     ScrapeConfig, which therefore holds credentials. Until they have been read for
//     the first time, a monitor keeps the targets it had. cluster.Source reads at most
//     100 for the monitors of a namespace, and 1000 in all.
//   - Paths of files are refused unless [Options.FileAccess] allows them. scrapeClass
//     is not supported: there is no Prometheus object to define one.
//
// A monitor that is wrong, or uses what is not supported, is rejected whole; its
// monitors.Status, the log and an Event on it say why.
package discovery
