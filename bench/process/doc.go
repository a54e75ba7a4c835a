// Command process prints what a whole promlet costs beside a whole Prometheus that
// scrapes the same targets: resident memory, CPU time, and the time from its start to
// its first answers; idle, and with 40 targets of 5,000 series each.
//
// The targets are another process, this program started again. promlet runs twice, with
// --ingest=demand and --ingest=all, on a directory of manifests with a
// HorizontalPodAutoscaler on one counter. Before any figure is printed each side must
// have answered that counter's rate, which is known.
//
// It reads /proc, and so needs Linux.
package main
