package web

import (
	"net/http"
	"net/http/pprof"
)

// handleProfiles serves net/http/pprof. Whoever listens on other than loopback addresses serves the status pages to others,
// but not profiles: they cost CPU time and show the command line.
func handleProfiles(mux *http.ServeMux) {
	for path, handler := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if !toLoopback(r) {
				http.Error(w, "profiles are served to loopback addresses only: use kubectl port-forward", http.StatusForbidden)
				return
			}
			handler(w, r)
		})
	}
}
