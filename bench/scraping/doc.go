// Command scraping prints what a scrape costs, promlet's package scrape beside
// Prometheus's, on the same bodies in the same process: CPU time and allocations per
// scrape, and memory held per target between scrapes.
//
// The bodies are parts of a node exporter's and a kube-apiserver's, and are served over
// loopback by another process, this program started again, so that serving them is in
// no figure. Targets are scraped once a second by the scrape managers as they are; the
// storage of both is one that only hands out references.
package main
