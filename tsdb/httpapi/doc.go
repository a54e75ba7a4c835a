// Package httpapi serves the HTTP API of Prometheus, /api/v1, over a database of package tsdb: with
// Prometheus's own handlers, so that Grafana, promtool and client_golang work against it unchanged.
//
// What differs from Prometheus:
//
//   - Series that nobody reads may not be stored ([Options.Selected]). Selecting such series starts their
//     collection. If a selector finds nothing, infos says why. The values of the label
//     __name__ list what targets expose ([Options.Names]), whether it is stored or not.
//   - At most a quarter as many requests are worked on at once as the engine runs queries, so that those who
//     ask the engine directly get their turn. Bodies are bounded, and so are expressions, by the engine's
//     parser.
//   - There are no rules, alerts and Alertmanagers: their lists are empty. Targets that relabelling has
//     dropped are not known. Exemplars are not stored. Nothing can be written, deleted or read remotely, and
//     no page of another origin may read answers.
//
// [API.Queries] is for callers who may only read samples. It serves the paths that they need for queries, and limits the
// requests of each caller.
//
// [API] itself is for administrators. It shows targets and the configuration as Prometheus does: with the parameters of
// their URLs, which may be secrets.
package httpapi
