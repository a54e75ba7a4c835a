// Package stranger embeds promlet as a program outside of it does: this is a module of its own, which sees what promlet
// exports and nothing else. Each folder is a program that uses one part:
//
//   - storing: the database alone
//   - scraping: the scraper with Prometheus's own database
//   - discovering: targets without a cluster, from a manifest and from objects in a store
//   - providing: values of metrics without an API server
//   - serving: the aggregated API over HTTPS
//   - handling: the same on a server of the program
//   - querying: Prometheus's HTTP API on a mux of the program
//   - certifying: a serving certificate for a server of the program
//   - whole: all of promlet, with the aggregated API
//
// The test of each runs two instances with different data in one process, closes them in both orders and opens them again
// on the same registry (package twice). All of it needs no network but loopback.
package stranger
