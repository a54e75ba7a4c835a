package answers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/klog/v2"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/tsdb"
)

// allowCacheTTL is promlet's.
const allowCacheTTL = time.Minute

// setup is what the server is started with.
type setup struct {
	Fleet      fleet
	ClusterDir string // of the cluster's files
}

// servedAdapter is the child: it serves a fleet to a cluster.
type servedAdapter struct {
	dir     string
	db      *tsdb.DB
	address string
	cancel  context.CancelFunc
	served  chan error
}

func startAdapter(ctx context.Context, text []byte) (child harness.Child, err error) {
	// promlet logs what Kubernetes's libraries tell as debug.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	var of setup
	if err := json.Unmarshal(text, &of); err != nil {
		return nil, fmt.Errorf("read setup: %w", err)
	}
	s := &servedAdapter{served: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "promlet-answers-"); err != nil {
		return nil, err
	}
	if s.db, err = tsdb.Open(tsdb.Options{Dir: s.dir}); err != nil {
		return nil, err
	}
	if err := of.Fleet.load(ctx, s.db, time.Now()); err != nil {
		return nil, err
	}
	provider, err := of.Fleet.provider(s.db)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.address = listener.Addr().String()
	api, err := newAPI(provider, listener, of.ClusterDir)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() { s.served <- api.Run(ctx) }()
	return s, nil
}

// Answer answers every line with the address.
func (s *servedAdapter) Answer(string) (any, error) { return s.address, nil }

// Close ends the server and waits for it.
func (s *servedAdapter) Close() error {
	s.cancel()
	return errors.Join(<-s.served, s.remove())
}

// remove closes the TSDB, if it is open, and removes it.
func (s *servedAdapter) remove() (err error) {
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// newAPI serves as promlet does in a cluster.
func newAPI(provider *adapter.Provider, listener net.Listener, clusterDir string) (*apiserver.Server, error) {
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.BindAddress = listener, net.IPv4(127, 0, 0, 1)
	serving.ServerCert.CertDirectory = "" // in memory
	authentication := genericoptions.NewDelegatingAuthenticationOptions()
	authentication.RemoteKubeConfigFile = filepath.Join(clusterDir, kubeconfigFile)
	authentication.RequestHeader.ClientCAFile = filepath.Join(clusterDir, caFile)
	authentication.SkipInClusterLookup = true // all of it is here
	authorization := genericoptions.NewDelegatingAuthorizationOptions()
	authorization.RemoteKubeConfigFile = authentication.RemoteKubeConfigFile
	authorization.AllowCacheTTL = allowCacheTTL
	return apiserver.New(apiserver.Options{
		Provider:       provider,
		SecureServing:  serving,
		Authentication: authentication,
		Authorization:  authorization,
	})
}

// provider answers for a fleet out of a TSDB that holds its series.
func (f fleet) provider(db *tsdb.DB) (*adapter.Provider, error) {
	objects, err := f.objects()
	if err != nil {
		return nil, err
	}
	names, sources := f.exposed(), f.sources(time.Now())
	return adapter.NewProvider(adapter.Options{
		DB:      db,
		Objects: objects.Lister,
		Rules:   rules.Set{Custom: rules.Defaults(rateWindow)},
		Exposed: func(uint64) ([]catalog.Exposed, uint64) { return names, 1 },
		Targets: func(known uint64) ([]values.Target, uint64) {
			if known == 1 {
				return nil, 1
			}
			return f.targets(), 1
		},
		Source: func(series labels.Labels) (tsdb.Source, bool) {
			source, known := sources[series.Hash()]
			return source, known
		},
		Interval: scrapeInterval,
		Reuse:    time.Second, // as promlet does
	})
}
