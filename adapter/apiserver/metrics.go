package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/component-base/metrics/legacyregistry"
)

// maxMetricsRequests is how many requests for /metrics are answered at a time. More come
// from a client that does not wait for answers.
const maxMetricsRequests = 5

// metricsHandler serves the owner's metrics and the library's.
func metricsHandler(own prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(joined{own: own, library: legacyregistry.DefaultGatherer}, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // a collector that fails does not keep the rest
		MaxRequestsInFlight: maxMetricsRequests,
	})
}

// joined gathers the owner's metrics and those that the library keeps for the whole
// process. It leaves out the library's that begin with the same word as one of the owner's,
// go or process: they are the same.
type joined struct{ own, library prometheus.Gatherer }

// Gather implements [prometheus.Gatherer].
func (j joined) Gather() ([]*dto.MetricFamily, error) {
	own, ownErr := j.own.Gather()
	words := map[string]bool{}
	for _, f := range own {
		words[firstWord(f)] = true
	}
	library, libraryErr := j.library.Gather()
	library = slices.DeleteFunc(library, func(f *dto.MetricFamily) bool { return words[firstWord(f)] })
	all := slices.Concat(own, library)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, errors.Join(ownErr, libraryErr)
}

func firstWord(f *dto.MetricFamily) string {
	word, _, _ := strings.Cut(f.GetName(), "_")
	return word
}

// registerExpiry registers the metric of the time when the serving certificate expires. unregister removes it.
func registerExpiry(r prometheus.Registerer, cert dynamiccertificates.CertKeyContentProvider) (unregister func(), err error) {
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promlet_serving_certificate_expiry_timestamp_seconds",
		Help: "When the certificate expires that the API is served with, 0 where there is none.",
	}, func() float64 {
		content, _ := cert.CurrentCertKeyContent()
		certs, err := certutil.ParseCertsPEM(content)
		if err != nil {
			return 0
		}
		return float64(certs[0].NotAfter.Unix())
	})
	if err := r.Register(expiry); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return func() { r.Unregister(expiry) }, nil
}
