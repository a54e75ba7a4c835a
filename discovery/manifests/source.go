package manifests

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/promlet/promlet/discovery/objects"
)

// DefaultPoll is how often the files are looked at without a notification of a change.
// Notifications miss the targets of symlinks and some network file systems.
const DefaultPoll = 10 * time.Second

// Options are the settings of a Source. The zero value is usable.
type Options struct {
	// Logger gets problems with files when they come and when they are over, and at
	// debug level the objects that are passed over. nil is silent.
	Logger *slog.Logger
	// Poll is how often to look at the files besides notifications. Zero or
	// negative means DefaultPoll.
	Poll time.Duration
}

// Source reads Kubernetes manifests from a directory. It is a discovery.Source.
type Source struct {
	dir      string
	logger   *slog.Logger
	poll     time.Duration
	problems *objects.Problems
	synced   atomic.Bool

	tree directory // touched by Run only
}

// New returns a Source that reads the directory dir and those below it, and
// follows changes: files written, renamed over, added and removed, and the swapped
// symlinks of a mounted ConfigMap. Names that begin with a dot are passed over.
//
// A symlink may lead to a file anywhere, and to a directory of the tree. One that leads to a
// directory elsewhere, such as /, is a problem and is not followed. At most 10,000 files of
// 64 MiB together are read, each of at most 16 MiB.
//
// Files are *.yaml, *.yml and *.json, with any number of documents and Lists. Of
// their objects it takes v1 Namespaces, Nodes, Pods, Services, Endpoints, Secrets and
// ConfigMaps, discovery.k8s.io/v1 EndpointSlices, autoscaling/v2
// HorizontalPodAutoscalers and monitoring.coreos.com/v1 ServiceMonitors and PodMonitors;
// others are passed over.
//
//   - These are decoded strictly: an unknown field is an error. A file with an error
//     counts for what it held when it was last free of errors.
//   - Of an object that is in two places the first counts, in the order of paths;
//     the second is a problem.
//   - The namespace is "default" where none is given. Namespaces that objects name
//     exist.
//   - What an API server would fill in is filled in: protocols, port names, the
//     namespace of an endpoint's targetRef. A Pod with an IP address and no phase
//     is Running.
//   - Endpoints become EndpointSlices, as Kubernetes mirrors them, unless there are
//     EndpointSlices of their Service.
//   - An EndpointSlice belongs to the Service that its label
//     kubernetes.io/service-name names. Addresses may be on loopback.
func New(dir string, opts Options) *Source {
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if opts.Poll <= 0 {
		opts.Poll = DefaultPoll
	}
	return &Source{
		dir:      dir,
		logger:   logger,
		poll:     opts.Poll,
		problems: objects.NewProblems(logger, "problem with a manifest"),
		tree:     directory{root: dir, logger: logger, limits: defaultLimits(), files: map[string]*file{}},
	}
}

// HasSynced implements discovery.Source: the directory has been read once, with or
// without problems.
func (s *Source) HasSynced() bool { return s.synced.Load() }

// Problems implements discovery.Source: one line for each, as "web.yaml:12: …" with the
// path below the directory.
func (s *Source) Problems() []string { return s.problems.List() }

// Run implements discovery.Source. It may be called once.
func (s *Source) Run(ctx context.Context, store *objects.Store, changed func()) error {
	var (
		events <-chan fsnotify.Event
		errs   <-chan error
	)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.logger.Warn("cannot watch files, looking at them from time to time", "every", s.poll, "error", err)
	} else {
		events, errs = watcher.Events, watcher.Errors
		defer func() {
			if err := watcher.Close(); err != nil {
				s.logger.Debug("cannot close the file watcher", "error", err)
			}
		}()
	}
	ticker := time.NewTicker(s.poll)
	defer ticker.Stop()
	s.scan(watcher, store, changed, true)
	for {
		reread := false
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case err := <-errs: // events may be lost
			s.logger.Debug("file watcher", "error", err)
			reread = true
		case <-events:
			// Writers truncate, write, and rename: wait until they are done.
			if !objects.Settle(ctx, events) {
				return nil
			}
			reread = true
		}
		s.scan(watcher, store, changed, reread)
	}
}

// scan brings the Store up to date with the files. reread reads files even if they look
// unchanged.
func (s *Source) scan(watcher *fsnotify.Watcher, store *objects.Store, changed func(), reread bool) {
	watch := func(dir string) {
		if watcher == nil {
			return
		}
		// Add is idempotent, and a directory that is gone is no longer watched.
		if err := watcher.Add(dir); err != nil {
			s.logger.Debug("cannot watch directory", "directory", dir, "error", err)
		}
	}
	if link, err := filepath.EvalSymlinks(s.dir); err == nil && link != filepath.Clean(s.dir) {
		watch(filepath.Dir(s.dir)) // the link may be swapped
	}
	if !s.tree.scan(watch, reread) {
		return
	}
	desired, problems := assemble(s.tree.sorted())
	s.problems.Replace(append(problems, s.tree.problems()...))
	if s.tree.readable {
		store.Batch(func() { desired.store(store) })
		s.synced.Store(true)
	}
	changed()
}
