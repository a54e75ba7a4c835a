// Package monitors makes jobs of ServiceMonitors and PodMonitors.
//
// A [Compiler] reads the monitors of an objects.Store, and those given inline, and makes
// a [Monitor] of each: its [Status], what it selects, and one [Job] for each of its
// endpoints. A Job is a Prometheus scrape configuration and a targets.Selection. The
// configuration is what prometheus-operator would write: same names, same defaults, the
// same fields checked. A monitor that is wrong, or uses what promlet does not support,
// is rejected whole and has no jobs.
//
// In flow monitors, Secrets and ConfigMaps; out flow Monitors, which never change.
// Compiling again returns what was made before wherever monitor and references are as
// they were.
//
// No goroutine runs here. A Compiler is used by one at a time.
package monitors
