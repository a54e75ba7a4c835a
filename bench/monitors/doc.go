// Package monitors compares promlet's discovery with what it stands in for: for a
// [Cluster], [Theirs] is what prometheus-operator (0.94) and Prometheus make of it,
// [Ours] is what promlet does, and [Diff] tells in what the two differ: in the
// monitors that are rejected, in the targets with all of their labels, and in every
// setting that a scraper has for a job, credentials included.
//
// Theirs runs upstream's own code. The operator's ResourceSelector checks the
// monitors and its ConfigGenerator renders each of them alone; Prometheus's config
// package loads the text; the files of certificates that it names are replaced by
// their content; Prometheus's implementations of the roles endpointslice, endpoints
// and pod run on the objects; and its scrape package builds the targets, on either
// side. Only informers and clients are our own: they hold the objects and do nothing.
//
// The clusters are hand-made (testdata/table, each with testdata/base.yaml), made
// around monitors in the style of well-known charts (testdata/charts) and random, both by
// the rules of grammar.yaml ([Generator]). Those that differ are made as small as they can be
// ([Shrink]) and printed.
//
// # What counts as the same
//
// A monitor is rejected upstream if the operator rejects it, if Prometheus refuses
// the configuration made of it (which would take all other monitors with it), if no
// HTTP client can be made for it, or if the API server would not let it in. Of the
// last, only that is known here which the operator and Prometheus let pass and
// promlet, which also reads files, does not: values of serviceDiscoveryRole,
// selectorMechanism and scheme that do not exist, an empty fallbackScrapeProtocol,
// and a negative bodySizeLimit (which the schema means to exclude, and Prometheus
// takes for none). scrapeClass is rejected on both sides: the Prometheus object here
// has no scrape classes, and promlet never has.
//
// The Prometheus object's serviceDiscoveryRole is EndpointSlice. A ServiceMonitor
// that names no role gets the labels of both roles from promlet; if its relabelings
// read those of endpoints alone, it is compared with that role, on all endpoints that
// the slices have; if they read those of both, it is given the role EndpointSlice on
// both sides.
//
// The Endpoints for a monitor that does name the role Endpoints are those that
// Kubernetes's controller would make of the same Services and pods, as far as one
// EndpointSlice for each Service tells ([ErrNoEndpoints] otherwise). They have the
// labels of their Service, and not those by which the controller marks its work.
//
// The operator forgets a certificate in a Secret whose key is a file, or the other
// way round; here it is mounted, as promlet has it.
//
// promlet raises intervals below a second to a second. Upstream is given them raised, those
// in relabelings too.
//
// The types of the monitors are those of operator 0.95. Its new field extraScrapeMetrics is not
// compared: the operator that runs here does not know it.
//
// The labels __tmp_prometheus_job_name and __tmp_hash, which the operator sets for
// itself, are left out. So are objects with two labels that become the same label
// name: which of them Prometheus takes is up to chance.
package monitors
