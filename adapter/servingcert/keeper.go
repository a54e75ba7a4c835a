package servingcert

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Defaults of Options.
const (
	// DefaultPoll is what a person who asks for a new certificate waits for
	// without noticing. It costs one small request and one for each APIService.
	DefaultPoll = 15 * time.Second
	// DefaultOverlap is far more than API servers need to see a changed
	// APIService (they watch), and short for a person who waits for a new CA.
	DefaultOverlap = time.Minute
	// DefaultServingValidity is long enough to live through a month of an API
	// server that cannot be written to, and short enough to be renewed in most
	// clusters' lives, so that renewal is nothing unusual.
	DefaultServingValidity = 90 * 24 * time.Hour
	// DefaultCAValidity outlives most clusters: name constraints keep the CA
	// from being of use for anything else, so there is little to gain from less.
	DefaultCAValidity = 10 * 365 * 24 * time.Hour
)

// passTimeout ends a pass at an API server that does not answer.
const passTimeout = 30 * time.Second

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
	// APIServices are the names of those that get the CA, such as
	// v1beta1.custom.metrics.k8s.io. One that names another Service is left
	// alone.
	APIServices []string

	// Poll is the time from the end of one pass to the next. Zero means
	// DefaultPoll.
	Poll time.Duration
	// Overlap is how long a new CA is trusted before it signs. Zero means
	// DefaultOverlap. It should be longer than Poll.
	Overlap time.Duration
	// ServingValidity is the life of a serving certificate, a day at least. It is
	// renewed when two thirds are over. Zero means DefaultServingValidity.
	ServingValidity time.Duration
	// CAValidity is the life of a CA, four times ServingValidity at least. It is
	// renewed when twice ServingValidity is left, so that no certificate it
	// signs outlives it. Zero means DefaultCAValidity.
	CAValidity time.Duration

	// Registerer receives promlet_serving_certificate_ca_expiry_timestamp_seconds, for
	// good. Nil: it is not exported.
	Registerer prometheus.Registerer
	// Logger gets what was made and why, and problems when they come and go. Nil
	// is silent.
	Logger *slog.Logger
}

// Keeper keeps a serving certificate. It is safe for concurrent use.
type Keeper struct {
	opts     Options
	rules    rules
	logger   *slog.Logger
	problems *problems

	// passing is held during a pass, and guards what only passes use.
	passing sync.Mutex
	last    content // as the Secret last was in order
	seen    map[string]sighting

	mtx       sync.Mutex
	serving   *pair // nil before there is one
	caExpiry  time.Time
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = (*Keeper)(nil)

// New returns a Keeper that has asked nothing of the API server yet.
func New(opts Options) (*Keeper, error) {
	if err := opts.complete(); err != nil {
		return nil, fmt.Errorf("keep a serving certificate: %w", err)
	}
	host := opts.Service + "." + opts.Namespace + ".svc"
	k := &Keeper{
		opts: opts,
		rules: rules{
			names:           []string{host, host + ".cluster.local", "localhost"},
			servingValidity: opts.ServingValidity,
			caValidity:      opts.CAValidity,
			overlap:         opts.Overlap,
		},
		logger:   opts.Logger,
		problems: &problems{logger: opts.Logger, current: map[string]error{}},
		seen:     map[string]sighting{},
	}
	if opts.Registerer == nil {
		return k, nil
	}
	err := opts.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promlet_serving_certificate_ca_expiry_timestamp_seconds",
		Help: "When the CA expires that signs the certificates that promlet makes, 0 before there is one.",
	}, func() float64 { return unix(k.CAExpiry()) }))
	if err != nil {
		return nil, fmt.Errorf("keep a serving certificate: register metrics: %w", err)
	}
	return k, nil
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// complete fills in defaults and refuses what cannot work.
func (o *Options) complete() error {
	if o.Secrets == nil || o.Namespace == "" || o.Secret == "" || o.Service == "" {
		return errors.New("options Secrets, Namespace, Secret and Service are required")
	}
	if o.Dynamic == nil && len(o.APIServices) > 0 {
		return errors.New("option Dynamic is required for APIServices")
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.Poll, DefaultPoll},
		{&o.Overlap, DefaultOverlap},
		{&o.ServingValidity, DefaultServingValidity},
		{&o.CAValidity, DefaultCAValidity},
	} {
		if *d.value < 0 {
			return errors.New("a duration is negative")
		}
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if o.ServingValidity < 24*time.Hour {
		return fmt.Errorf("a serving certificate for %s is too short-lived: a day is the least", o.ServingValidity)
	}
	if o.CAValidity < 4*o.ServingValidity {
		return fmt.Errorf("a CA for %s is too short-lived for serving certificates for %s: four times that is the least",
			o.CAValidity, o.ServingValidity)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Run makes passes until ctx is done, and then returns nil. Their troubles are
// logged when they come and go, and told by Problems.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		if err := k.Ensure(ctx); err != nil && ctx.Err() == nil {
			k.problems.set("serving certificate", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(k.opts.Poll):
		}
	}
}

// Ensure makes one pass: it reads the Secret, makes or renews what it should
// hold, puts the CA into the APIServices, and takes over the serving
// certificate. It returns an error only when there is no valid certificate to
// serve with after it; anything else that went wrong is told by Problems.
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
		k.mtx.Lock()
		k.caExpiry = c.signer.cert.NotAfter
		k.mtx.Unlock()
	}
	k.adopt(c, now)
	if expiry := k.Expiry(); !now.Before(expiry) {
		return k.noneToServe(expiry, err)
	}
	k.problems.set("serving certificate", nil)
	k.problems.set(k.secretName(), err)
	return nil
}

// noneToServe is the error of a pass after which there is nothing valid.
func (k *Keeper) noneToServe(expiry time.Time, cause error) error {
	message := "there is none yet"
	if !expiry.IsZero() {
		message = "it expired at " + expiry.Format(time.RFC3339)
	}
	if cause == nil {
		return fmt.Errorf("no valid serving certificate: %s", message)
	}
	return fmt.Errorf("no valid serving certificate: %s: %s: %w", message, k.secretName(), cause)
}

// adopt serves with the Secret's certificate from now on. It keeps what it has
// for as long as that is valid and an APIService is known not to trust the new
// one for long enough.
func (k *Keeper) adopt(c content, now time.Time) {
	roots, err := k.rules.verify(c.serving, c.bundle, now)
	if err != nil {
		return
	}
	held := k.held()
	if heldRoots, err := k.rules.verify(held, c.bundle, now); err == nil {
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
	k.mtx.Lock()
	k.serving = c.serving
	listeners := k.listeners
	k.mtx.Unlock()
	k.logger.Info("serving certificate in use", "secret", k.secretName(),
		"serial", c.serving.chain[0].SerialNumber.String(), "expires", c.serving.chain[0].NotAfter)
	for _, l := range listeners {
		l.Enqueue()
	}
}

func (k *Keeper) held() *pair {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	return k.serving
}

func (k *Keeper) secretName() string {
	return "Secret " + k.opts.Namespace + "/" + k.opts.Secret
}

// Name says where the certificate comes from.
func (k *Keeper) Name() string { return k.secretName() }

// CurrentCertKeyContent returns the serving certificate and its key, in PEM; nil
// before Ensure has succeeded.
func (k *Keeper) CurrentCertKeyContent() (cert, key []byte) {
	held := k.held()
	if held == nil {
		return nil, nil
	}
	return bytes.Clone(held.cert), bytes.Clone(held.key)
}

// AddListener has l told whenever CurrentCertKeyContent changes.
func (k *Keeper) AddListener(l dynamiccertificates.Listener) {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	k.listeners = append(k.listeners[:len(k.listeners):len(k.listeners)], l)
}

// Expiry is when the certificate now served expires; zero before there is one.
func (k *Keeper) Expiry() time.Time {
	held := k.held()
	if held == nil {
		return time.Time{}
	}
	return held.chain[0].NotAfter
}

// CAExpiry is when the CA expires that signs, as of the last pass that went well; zero
// before that.
func (k *Keeper) CAExpiry() time.Time {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	return k.caExpiry
}

// Problems are the troubles at the last pass, one sentence each, in a fixed
// order; none when all is well.
func (k *Keeper) Problems() []string { return k.problems.list() }
