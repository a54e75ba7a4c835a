package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
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

// The lines that the server is sent. It answers each with its state.
const (
	askState = "state"
	// askProfile, with a file behind it, begins a CPU profile; askProfiled ends it.
	askProfile  = "profile"
	askProfiled = "profiled"
)

// allowCacheTTL is promlet's.
const allowCacheTTL = time.Minute

// state is what the server says of itself, since its start.
type state struct {
	Address                string
	CPU                    time.Duration // in user and kernel mode
	Allocations, Allocated uint64        // bytes
}

// server is the parent's part: the child, and what to ask of it.
type server struct {
	child   *harness.Self
	cluster *cluster
	state
}

// startServer starts the server of a fleet in a cluster.
func startServer(ctx context.Context, c *cluster, f fleet) (*server, error) {
	argument, err := f.argument()
	if err != nil {
		return nil, err
	}
	child, err := harness.StartSelf(ctx, "server", serveArgument, argument, c.dir)
	if err != nil {
		return nil, err
	}
	s := &server{child: child, cluster: c}
	// It answers when all is loaded.
	if err := s.ask(askState); err != nil {
		return nil, errors.Join(err, child.Stop())
	}
	return s, nil
}

func (s *server) ask(line string) error { return s.child.Ask(line, &s.state) }

func (s *server) stop() error { return s.child.Stop() }

// serve is the child's part: it serves a fleet until in ends, to the cluster whose files
// are in a directory.
func serve(ctx context.Context, in io.Reader, out io.Writer, f fleet, clusterDir string) (err error) {
	// promlet logs what Kubernetes's libraries tell as debug.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	dir, err := os.MkdirTemp("", "promlet-answers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := f.load(ctx, db, time.Now()); err != nil {
		return err
	}
	provider, err := f.provider(db)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	api, err := newAPI(provider, listener, clusterDir)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- api.Run(ctx) }()
	p := &process{address: listener.Addr().String()}
	err = harness.Answer(in, out, p.answer)
	cancel()
	return errors.Join(err, <-served, p.endProfile())
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
	})
}

// process is what the child says of itself.
type process struct {
	address string
	profile *os.File
}

func (p *process) answer(line string) (any, error) {
	command, file, _ := strings.Cut(line, " ")
	var err error
	switch command {
	case askState:
	case askProfile:
		err = p.beginProfile(file)
	case askProfiled:
		err = p.endProfile()
	default:
		err = errors.New("unknown command")
	}
	if err != nil {
		return nil, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return state{Address: p.address, CPU: harness.CPUTime(), Allocations: m.Mallocs, Allocated: m.TotalAlloc}, nil
}

func (p *process) beginProfile(file string) (err error) {
	if p.profile, err = os.Create(file); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.profile)
}

func (p *process) endProfile() error {
	if p.profile == nil {
		return nil
	}
	pprof.StopCPUProfile()
	file := p.profile
	p.profile = nil
	return file.Close()
}
