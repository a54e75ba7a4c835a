package adapter

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	apimetrics "k8s.io/apiserver/pkg/endpoints/metrics"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/component-base/metrics/legacyregistry"
)

// maxMetricsRequests is how many requests for /metrics are answered at a time: more come
// from somebody who does not wait for answers.
const maxMetricsRequests = 5

// prepareMetrics leaves /metrics to serveMetrics, where there is something to serve.
func prepareMetrics(config *genericapiserver.Config, own prometheus.Gatherer) {
	if own == nil {
		return
	}
	config.EnableMetrics = false
	apimetrics.Register() // of those that the library would register, those that are not about storage
}

func serveMetrics(server *genericapiserver.GenericAPIServer, own prometheus.Gatherer) {
	if own == nil {
		return
	}
	server.Handler.NonGoRestfulMux.Handle("/metrics", metricsHandler(own))
}

func metricsHandler(own prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(joined{own: own, library: legacyregistry.DefaultGatherer}, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // what one collector cannot tell does not keep the rest
		MaxRequestsInFlight: maxMetricsRequests,
	})
}

// joined gathers metrics of its owner's and those that the API server's library keeps for
// the whole process. Those of the library that begin with the same word as some of the
// owner's, go or process, are left out: the same is there once.
type joined struct{ own, library prometheus.Gatherer }

// Gather implements [prometheus.Gatherer].
func (j joined) Gather() ([]*dto.MetricFamily, error) {
	families, err := j.own.Gather()
	words := map[string]bool{}
	for _, f := range families {
		words[firstWord(f.GetName())] = true
	}
	others := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, err := j.library.Gather()
		kept := all[:0:0]
		for _, f := range all {
			if !words[firstWord(f.GetName())] {
				kept = append(kept, f)
			}
		}
		return kept, err
	})
	own := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, err })
	return prometheus.Gatherers{own, others}.Gather()
}

func firstWord(name string) string {
	word, _, _ := strings.Cut(name, "_")
	return word
}

// registerExpiry exports when the certificate expires that is served, whatever it comes
// from.
func registerExpiry(r prometheus.Registerer, cert dynamiccertificates.CertKeyContentProvider) error {
	if r == nil || cert == nil {
		return nil
	}
	err := r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promlet_serving_certificate_expiry_timestamp_seconds",
		Help: "When the certificate expires that the API is served with, 0 where there is none.",
	}, func() float64 {
		content, _ := cert.CurrentCertKeyContent()
		certs, err := certutil.ParseCertsPEM(content)
		if err != nil {
			return 0
		}
		return float64(certs[0].NotAfter.Unix())
	}))
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}
