package servingcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	// defaultPoll is the time from the end of one pass to the next. A person who asks for a
	// new certificate waits for it without noticing. It costs one small request and one for
	// each APIService.
	defaultPoll = 15 * time.Second
	// defaultOverlap is how long a new CA is trusted before it signs. It is far more than
	// API servers need to see a changed APIService (they watch), and short for a person who
	// waits for a new CA.
	defaultOverlap = time.Minute
	// passTimeout ends a pass at an API server that does not answer.
	passTimeout = 30 * time.Second
)

// manager is promlet's name in managedFields.
const manager = "promlet"

// Options configure a Keeper.
type Options struct {
	// Secrets reads and writes the Secret. Required.
	Secrets corev1client.SecretsGetter
	// Dynamic reads and patches the APIServices. Required when there are any.
	Dynamic dynamic.Interface

	// Namespace is that of the Secret and of the Service. Required.
	Namespace string
	// Secret is the name of the Secret, which is made when it does not exist and that is
	// permitted. Required.
	Secret string
	// Service is the name of the Service by which the API server is reached; the
	// certificates are for its DNS names. Required.
	Service string
	// APIServices are the names of the APIServices that get the CA, such as
	// v1beta1.custom.metrics.k8s.io. An APIService that names no Service, or a Service that
	// does not exist, gets Service. An APIService that names another Service stays as it is.
	// So do later ones of its group that name none, because a group has one server.
	APIServices []string

	// Registerer receives promlet_serving_certificate_ca_expiry_timestamp_seconds, until
	// Close. Nil: it is not exported.
	Registerer prometheus.Registerer
	// Logger gets what was made and why, and problems when they come and go. Nil
	// is silent.
	Logger *slog.Logger
}

// Keeper keeps a serving certificate. It is safe for concurrent use. The caller runs it, and
// closes it after the servers that serve with it.
type Keeper struct {
	opts          Options
	poll, overlap time.Duration
	names         names
	problems      *problems
	caExpiry      prometheus.Gauge

	// passing is held during a pass, and guards what only passes use.
	passing sync.Mutex
	last    content // as the Secret last was in order
	seen    map[string]sighting
	foreign map[string]bool // the groups of which another Service serves a version

	serving atomic.Pointer[pair]   // nil before there is one
	ca      atomic.Pointer[[]byte] // the bundle of last; nil before there is one

	mtx       sync.Mutex
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = (*Keeper)(nil)

// New returns a Keeper that has asked nothing of the API server yet. Ensure asks once; Run keeps asking.
func New(opts Options) (*Keeper, error) {
	if opts.Secrets == nil || opts.Namespace == "" || opts.Secret == "" || opts.Service == "" {
		return nil, errors.New("keep a serving certificate: options Secrets, Namespace, Secret and Service are required")
	}
	if opts.Dynamic == nil && len(opts.APIServices) > 0 {
		return nil, errors.New("keep a serving certificate: option Dynamic is required for APIServices")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	host := opts.Service + "." + opts.Namespace + ".svc"
	k := &Keeper{
		opts:     opts,
		poll:     defaultPoll,
		overlap:  defaultOverlap,
		names:    names{host, host + ".cluster.local", "localhost"},
		problems: &problems{logger: opts.Logger, current: map[string]error{}},
		seen:     map[string]sighting{},
		caExpiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_serving_certificate_ca_expiry_timestamp_seconds",
			Help: "When the CA expires that signs the certificates that promlet makes, 0 before there is one.",
		}),
	}
	if opts.Registerer == nil {
		return k, nil
	}
	if err := opts.Registerer.Register(k.caExpiry); err != nil {
		return nil, fmt.Errorf("keep a serving certificate: register metrics: %w", err)
	}
	return k, nil
}

// Close unregisters the Keeper's metric. The certificate can still be served. Close twice is fine.
func (k *Keeper) Close() {
	if k.opts.Registerer != nil {
		k.opts.Registerer.Unregister(k.caExpiry)
	}
}

// Run makes passes until ctx is done, and then returns nil. Their troubles are
// logged when they come and go, and returned by Problems.
func (k *Keeper) Run(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := k.Ensure(ctx); err != nil && ctx.Err() == nil {
			k.problems.set("serving certificate", err)
		}
	}, k.poll)
	return nil
}

// Ensure makes one pass: it reads the Secret, makes or renews what it should
// hold, puts the CA into the APIServices, and takes over the serving
// certificate. It returns an error only when there is no valid certificate to
// serve with after it; Problems returns anything else that went wrong.
func (k *Keeper) Ensure(ctx context.Context) error {
	k.passing.Lock()
	defer k.passing.Unlock()
	within, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()

	c, err := k.settle(within)
	if ctx.Err() != nil {
		return fmt.Errorf("keep a serving certificate: %w", ctx.Err())
	}
	now := time.Now()
	if err == nil {
		k.last = c
		k.ca.Store(&c.bundleText)
		k.caExpiry.Set(float64(c.signer.cert.NotAfter.Unix()))
	}
	k.adopt(c, now)
	if expiry := k.Expiry(); !now.Before(expiry) {
		message := "there is none yet"
		if !expiry.IsZero() {
			message = "it expired at " + expiry.Format(time.RFC3339)
		}
		return fmt.Errorf("no valid serving certificate: %s: %s: %w", message, k.Name(), err)
	}
	k.problems.set("serving certificate", nil)
	k.problems.set(k.Name(), err)
	return nil
}

// adopt serves with the Secret's certificate from now on. It keeps what it has
// for as long as that is valid and an APIService is known not to trust the new
// one for long enough.
func (k *Keeper) adopt(c content, now time.Time) {
	roots, err := k.names.verify(c.serving, c.bundle, now)
	if err != nil {
		return
	}
	held := k.serving.Load()
	if heldRoots, err := k.names.verify(held, c.bundle, now); err == nil {
		if held.equal(c.serving) {
			return
		}
		trusted := func(root *x509.Certificate) bool {
			return contains(heldRoots, root) || k.trusted(root, now)
		}
		if !slices.ContainsFunc(roots, trusted) {
			return
		}
	}
	k.serving.Store(c.serving)
	k.opts.Logger.Info("serving certificate in use", "secret", k.Name(),
		"serial", c.serving.chain[0].SerialNumber.String(), "expires", c.serving.chain[0].NotAfter)
	k.mtx.Lock()
	defer k.mtx.Unlock()
	for _, l := range k.listeners {
		l.Enqueue()
	}
}

// Name is the Secret's.
func (k *Keeper) Name() string { return "Secret " + k.opts.Namespace + "/" + k.opts.Secret }

// CurrentCertKeyContent returns the serving certificate and its key, in PEM; nil
// before Ensure has succeeded.
func (k *Keeper) CurrentCertKeyContent() (cert, key []byte) {
	held := k.serving.Load()
	if held == nil {
		return nil, nil
	}
	return held.cert, held.key
}

// GetCertificate returns the serving certificate, or an error before Ensure has succeeded. Put it
// into tls.Config.GetCertificate, so that each handshake gets the current certificate. It ignores
// the name that the client asks for.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	held := k.serving.Load()
	if held == nil {
		return nil, errors.New("there is no serving certificate yet")
	}
	return &held.parsed, nil
}

// CA returns the CA certificates to trust, in PEM: those that the Secret lists and that the
// APIServices get. It is nil before Ensure has succeeded, and changes when a CA comes or goes.
// The result is shared: do not change it.
func (k *Keeper) CA() []byte {
	if ca := k.ca.Load(); ca != nil {
		return *ca
	}
	return nil
}

// AddListener makes the Keeper call l.Enqueue whenever CurrentCertKeyContent changes.
func (k *Keeper) AddListener(l dynamiccertificates.Listener) {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	k.listeners = append(k.listeners, l)
}

// Expiry is when the certificate now served expires; zero before there is one.
func (k *Keeper) Expiry() time.Time {
	held := k.serving.Load()
	if held == nil {
		return time.Time{}
	}
	return held.chain[0].NotAfter
}

// Problems are the troubles at the last pass, one sentence each, in a fixed
// order; none when all is well.
func (k *Keeper) Problems() []string { return k.problems.list() }
