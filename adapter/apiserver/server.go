package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	apimetrics "k8s.io/apiserver/pkg/endpoints/metrics"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"
	openapi "k8s.io/kube-openapi/pkg/common"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"k8s.io/metrics/pkg/apis/metrics"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/internal/connlimit"
	"github.com/promlet/promlet/adapter/resourcemetrics/api"
)

// ErrNotLoopback is returned for a server without authentication that would listen on an
// address that other machines can reach.
var ErrNotLoopback = errors.New("without authentication the API listens on loopback only")

// Options configure the aggregated API server. The options of
// k8s.io/apiserver are taken as they are, so that their flags can be offered.
type Options struct {
	// Provider answers the requests. Required.
	Provider provider.MetricsProvider
	// Explain answers requests that have the parameter explain. Nil: the parameter is
	// ignored.
	Explain func(context.Context, explain.Question) (*explain.Explanation, error)
	// ResourceMetrics answers requests for metrics.k8s.io. Nil: the group is not served.
	ResourceMetrics *api.ResourceMetrics
	// SecureServing says where to listen and with which certificate; one is
	// made when none is given, here or as Cert. Required by New, which owns its Listener
	// from then on. A Handler has none.
	SecureServing *genericoptions.SecureServingOptions
	// Cert, if set, is the certificate to serve with when SecureServing names no
	// files, and is followed when it changes; see the package servingcert.
	Cert dynamiccertificates.CertKeyContentProvider
	// Authentication and Authorization ask the cluster's API server who calls
	// and whether they may. Both nil lets every caller in, and a Server then listens on
	// loopback only. One without the other is an error.
	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions
	// ReadyChecks decide /readyz, beside the server's own. Their errors are shown to
	// anyone: leave out names of targets and tenants.
	ReadyChecks []healthz.HealthChecker
	// ShutdownDelay is how long Run goes on serving after its context is done, no longer
	// ready: until the clients have noticed. Zero: not at all.
	ShutdownDelay time.Duration
	// Queries answers requests below QueryPrefix+"/api/v1/" from users who may get or post
	// these paths. It sees paths without the prefix. Nil: these paths are not served.
	Queries http.Handler
	// Registry receives the Server's own metrics, promlet_serving_certificate_*, until Run
	// returns, or Close. All of its metrics are served at /metrics beside the library's own,
	// to those who may get that path. Nil: only the library's are.
	Registry *prometheus.Registry
}

// Server serves these APIs over HTTPS: custom.metrics.k8s.io (v1beta1 and v1beta2),
// external.metrics.k8s.io and, with Options.ResourceMetrics, metrics.k8s.io (v1 and v1beta1).
// Its methods may be called from any goroutine. The caller ends it before the Provider and what
// the Provider reads.
type Server struct {
	generic    *genericapiserver.GenericAPIServer
	listener   net.Listener
	unregister func()
	used       atomic.Bool // Run or Close was called
}

// New listens and is ready to Run. k8s.io/apiserver logs through klog, to stderr unless the
// program sets klog's logger. New returns ErrNotLoopback when it would let in anyone from other
// machines. The caller must call Run or Close; after an error it closes the Listener that it
// gave, which may be closed already.
func New(opts Options) (*Server, error) {
	if err := opts.checkServing(); err != nil {
		return nil, fmt.Errorf("new API server: %w", err)
	}
	opts.SecureServing = withAddress(*opts.SecureServing)
	if err := checkReach(opts); err != nil {
		return nil, err
	}
	config := newConfig(opts)
	if err := applyServing(config, opts); err != nil {
		return nil, err
	}
	return newServer(config, opts)
}

// newConfig returns the part of the configuration that a Server and a Handler share.
func newConfig(opts Options) *genericapiserver.Config {
	config := genericapiserver.NewConfig(cmapiserver.Codecs)
	config.EnableProfiling = false
	// The library requires a client for its own server, but nothing here uses it. An empty one avoids a token of
	// system:masters, and a certificate whose two RSA keys would take two fifths of the CPU time of a start.
	config.LoopbackClientConfig = &rest.Config{}
	config.BuildHandlerChainFunc = func(served http.Handler, c *genericapiserver.Config) http.Handler {
		chain := genericapiserver.DefaultBuildHandlerChain(explainReadiness(opts.ReadyChecks, refuseBadSelectors(explainMetrics(opts.Explain, served))), c)
		return partWithClients(c.ShutdownInitiatedNotify(), chain)
	}
	// No client reads the schema of metric values, and making it takes megabytes. But the library installs no group without a schema.
	config.SkipOpenAPIInstallation = true
	config.OpenAPIV3Config = &openapi.OpenAPIV3Config{IgnorePrefixes: []string{genericapiserver.APIGroupPrefix}, Definitions: map[string]openapi.OpenAPIDefinition{}}
	config.AggregatedDiscoveryGroupManager = newLiveDiscovery(map[string]discovery.APIResourceLister{
		custom_metrics.GroupName:   provider.NewCustomMetricResourceLister(opts.Provider),
		external_metrics.GroupName: provider.NewExternalMetricResourceLister(opts.Provider),
	})
	config.ReadyzChecks = append(config.ReadyzChecks, opts.ReadyChecks...)
	config.ShutdownDelayDuration = opts.ShutdownDelay
	if opts.Registry != nil {
		config.EnableMetrics = false
		apimetrics.Register() // the metrics that the library would register, without those of its storage
	}
	return config
}

// newServer makes the Server of a config, which has a listener.
func newServer(config *genericapiserver.Config, opts Options) (_ *Server, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, config.SecureServing.Listener.Close())
		}
	}()
	if err := applyAuth(config, opts); err != nil {
		return nil, err
	}
	cm := cmapiserver.Config{GenericConfig: config}
	server, err := cm.Complete(nil).New("promlet", opts.Provider, opts.Provider)
	if err != nil {
		return nil, fmt.Errorf("make API server: %w", err)
	}
	if opts.ResourceMetrics != nil {
		if err := server.GenericAPIServer.InstallAPIGroup(opts.ResourceMetrics.Group()); err != nil {
			return nil, fmt.Errorf("serve %s: %w", metrics.GroupName, err)
		}
	}
	s := &Server{generic: server.GenericAPIServer, listener: config.SecureServing.Listener, unregister: func() {}}
	if opts.Registry != nil {
		if config.SecureServing.Cert != nil {
			if s.unregister, err = registerExpiry(opts.Registry, config.SecureServing.Cert); err != nil {
				return nil, fmt.Errorf("make API server: %w", err)
			}
		}
		server.GenericAPIServer.Handler.NonGoRestfulMux.Handle("/metrics", metricsHandler(opts.Registry))
	}
	if opts.Queries != nil {
		server.GenericAPIServer.Handler.NonGoRestfulMux.HandlePrefix(QueryPrefix+"/api/v1/", http.StripPrefix(QueryPrefix, opts.Queries))
	}
	return s, nil
}

// check returns an error that names a required option that is missing.
func (opts Options) check() error {
	if opts.Provider == nil {
		return errors.New("a Provider is required")
	}
	if opts.ResourceMetrics != nil && (opts.ResourceMetrics.Source == nil || opts.ResourceMetrics.Lister == nil) {
		return errors.New("ResourceMetrics need a Source and a Lister")
	}
	if (opts.Authentication == nil) != (opts.Authorization == nil) {
		return errors.New("give both Authentication and Authorization, or neither")
	}
	return nil
}

// checkServing is check for a Server.
func (opts Options) checkServing() error {
	if err := opts.check(); err != nil {
		return err
	}
	switch serving := opts.SecureServing; {
	case serving == nil:
		return errors.New("SecureServing is required: make it with options.NewSecureServingOptions")
	case serving.Listener == nil && serving.BindPort == 0:
		return errors.New("SecureServing needs a BindPort or a Listener")
	}
	return nil
}

// withAddress returns a copy of the options. If they have a Listener and no BindAddress, the copy has the Listener's
// address: the certificate is made for it.
func withAddress(serving genericoptions.SecureServingOptions) *genericoptions.SecureServingOptions {
	if serving.Listener != nil && serving.BindAddress == nil {
		if address, ok := serving.Listener.Addr().(*net.TCPAddr); ok {
			serving.BindAddress = address.IP
		}
	}
	return &serving
}

// checkReach refuses options that would let in anyone from other machines.
func checkReach(opts Options) error {
	if opts.Authentication != nil {
		return nil
	}
	ip := opts.SecureServing.BindAddress
	if listener := opts.SecureServing.Listener; listener != nil {
		address, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return fmt.Errorf("%w: it would listen on %s", ErrNotLoopback, listener.Addr())
		}
		ip = address.IP
	}
	if !ip.IsLoopback() {
		return fmt.Errorf("%w: it would listen on %s", ErrNotLoopback, ip)
	}
	return nil
}

func applyServing(config *genericapiserver.Config, opts Options) error {
	serving := opts.SecureServing
	if opts.Cert == nil {
		loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		if err := serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, loopback); err != nil {
			return fmt.Errorf("make serving certificate: %w", err)
		}
	}
	if err := serving.ApplyTo(&config.SecureServing); err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	if config.SecureServing.Cert == nil {
		config.SecureServing.Cert = opts.Cert
	}
	return nil
}

// limitStrangers bounds what clients hold before they have authenticated.
func limitStrangers(config *genericapiserver.Config) {
	limited := connlimit.New(config.SecureServing.Listener)
	config.SecureServing.Listener = limited
	inner := config.Authentication.Authenticator
	config.Authentication.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		response, ok, err := inner.AuthenticateRequest(r)
		if ok && response.User.GetName() != user.Anonymous {
			limited.Trust(r.RemoteAddr)
		}
		return response, ok, err
	})
}

func applyAuth(config *genericapiserver.Config, opts Options) error {
	if opts.Authentication == nil {
		config.Authentication.Authenticator = anonymous.NewAuthenticator(nil)
		config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
		return nil
	}
	if err := opts.Authentication.ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return fmt.Errorf("delegate authentication: %w", err)
	}
	open, err := path.NewAuthorizer(opts.Authorization.AlwaysAllowPaths)
	if err != nil {
		return fmt.Errorf("delegate authorization: %w", err)
	}
	config.Authentication.Authenticator = requireCredentials(config.Authentication.Authenticator, open)
	if opts.SecureServing != nil {
		limitStrangers(config)
	}
	if err := opts.Authorization.ApplyTo(&config.Authorization); err != nil {
		return fmt.Errorf("delegate authorization: %w", err)
	}
	return nil
}

// requireCredentials leaves callers without credentials unauthenticated, 401, except for
// the paths that anyone may ask for: the kubelet's probes have none. The library takes
// such callers for system:anonymous whatever its options say. A caller that kube-apiserver
// passes on as system:anonymous comes over its client certificate, and is left to
// authorization. So is a caller with any other certificate: it stays system:anonymous.
func requireCredentials(inner authenticator.Request, open authorizer.Authorizer) authenticator.Request {
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		response, ok, err := inner.AuthenticateRequest(r)
		if !ok || response.User.GetName() != user.Anonymous || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			return response, ok, err
		}
		decision, _, openErr := open.Authorize(r.Context(), authorizer.AttributesRecord{Path: r.URL.Path})
		if openErr != nil || decision != authorizer.DecisionAllow {
			return nil, false, errors.Join(err, openErr)
		}
		return response, ok, err
	})
}

// partWithClients tells clients, once the shutdown has begun, to make their next request
// on a new connection. kube-apiserver keeps a connection to each replica, and would use it
// until it breaks.
func partWithClients(shutdown <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-shutdown:
			w.Header().Set("Connection", "close") // in HTTP/2, GOAWAY
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// Addr returns the address that the Server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close closes the listener of a Server that was never run, and unregisters its metrics. One that was run ends with the
// context of Run, so Close then does nothing. Close twice is fine.
func (s *Server) Close() error {
	if s.used.Swap(true) {
		return nil
	}
	s.unregister()
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves until ctx is done and ShutdownDelay is over, and waits for the requests under
// way. It closes the Server. It can be called once, and not after Close.
func (s *Server) Run(ctx context.Context) error {
	if s.used.Swap(true) {
		return errors.New("serve the API: it was run or closed before")
	}
	defer s.unregister()
	if err := s.generic.PrepareRun().RunWithContext(ctx); err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}
