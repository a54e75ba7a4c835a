// Package catalog knows which metrics the rules make of the series that exist.
//
// A [Catalog] joins the series names of an [Index] with those that targets expose
// ([Exposed]), whether they are stored or not, and applies the rules to them. The
// results are [Mapping]s: a rule and a series name that together make a metric. Default
// rules select series by type. The types of a namespace come from the jobs that can write
// to it. A Catalog also keeps what each mapping's query reads, which decides what must be
// stored, and makes the [Listing] that the APIs' discovery shows.
//
// Names are read again at most once a second, the listing at most every ten. A call
// that finds them old reads them anew; there is no goroutine. What is returned is
// replaced, never changed, so it may be kept. A Catalog is safe for concurrent use.
package catalog
