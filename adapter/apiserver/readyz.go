package apiserver

import (
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/server/healthz"
)

// readyPath is what the kubelet probes.
const readyPath = "/readyz"

// explainReadiness answers /readyz with the reason when one of the checks fails. The
// library's own handler withholds reasons; these may be shown to anyone. It leaves
// requests with parameters (verbose, exclude) to the library.
func explainReadiness(checks []healthz.HealthChecker, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != readyPath || r.URL.RawQuery != "" {
			next.ServeHTTP(w, r)
			return
		}
		var failed strings.Builder
		for _, check := range checks {
			if err := check.Check(r); err != nil {
				fmt.Fprintf(&failed, "[-]%s failed: %v\n", check.Name(), err)
			}
		}
		if failed.Len() == 0 {
			next.ServeHTTP(w, r)
			return
		}
		// The code is the library's for a failed check.
		http.Error(w, failed.String()+"readyz check failed", http.StatusInternalServerError)
	})
}
