package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// DefaultManifestPoll is how often the files are looked at without being told of a
// change. Notifications miss the targets of symlinks and some network file systems.
const DefaultManifestPoll = 10 * time.Second

// ManifestOptions are the settings of a ManifestSource. The zero value is usable.
type ManifestOptions struct {
	// Logger gets problems with files when they come and go, and at debug level
	// the objects that are passed over. nil is silent.
	Logger *slog.Logger
	// Poll is how often to look at the files besides notifications. Zero or
	// negative means DefaultManifestPoll.
	Poll time.Duration
}

// ManifestSource is a [Source] that reads Kubernetes manifests from a directory.
type ManifestSource struct {
	dir    string
	logger *slog.Logger
	poll   time.Duration

	tree manifestTree // touched by Run only

	mtx      sync.Mutex
	synced   bool
	problems []string
}

// Manifests returns a Source that reads the directory dir and those below it, and
// follows changes: files written, renamed over, added and removed, and the swapped
// symlinks of a mounted ConfigMap. Names that begin with a dot are passed over.
//
// Files are *.yaml, *.yml and *.json, with any number of documents and Lists. Of
// their objects it takes v1 Namespaces, Nodes, Pods, Services and Endpoints,
// discovery.k8s.io/v1 EndpointSlices, autoscaling/v2 HorizontalPodAutoscalers and
// monitoring.coreos.com/v1 ServiceMonitors and PodMonitors; others are passed over.
//
//   - These are decoded strictly: a field that is not known is an error. A file
//     with an error counts for what it last held when it was good.
//   - Of an object that is in two places the first counts, in the order of paths;
//     the second is a problem.
//   - A namespace not given is "default". Namespaces that objects name exist.
//   - What an API server would fill in is filled in: protocols, port names, the
//     namespace of an endpoint's targetRef. A Pod with an IP address and no phase
//     is Running.
//   - Endpoints become EndpointSlices, as Kubernetes mirrors them, unless there are
//     EndpointSlices of their Service.
//   - An EndpointSlice belongs to the Service that its label
//     kubernetes.io/service-name names. Addresses may be on loopback.
func Manifests(dir string, opts ManifestOptions) *ManifestSource {
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if opts.Poll <= 0 {
		opts.Poll = DefaultManifestPoll
	}
	return &ManifestSource{
		dir:    dir,
		logger: logger,
		poll:   opts.Poll,
		tree:   manifestTree{root: dir, logger: logger, files: map[string]*manifestFile{}},
	}
}

// HasSynced implements [Source]: the directory has been read once, be it with
// problems.
func (s *ManifestSource) HasSynced() bool {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.synced
}

// Problems implements [Source]: one line for each, as "web.yaml:12: …" with the
// path below the directory.
func (s *ManifestSource) Problems() []string {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return slices.Clone(s.problems)
}

// Run implements [Source]. It may be called once.
func (s *ManifestSource) Run(ctx context.Context, objects *Objects, changed func()) error {
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
	s.scan(watcher, objects, changed, true)
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
			if !gather(ctx, events) {
				return nil
			}
			reread = true
		}
		s.scan(watcher, objects, changed, reread)
	}
}

// scan brings objects up to date with the files. reread reads files even if they
// look unchanged.
func (s *ManifestSource) scan(watcher *fsnotify.Watcher, objects *Objects, changed func(), reread bool) {
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
	problems = append(problems, s.tree.problems()...)
	slices.Sort(problems)
	if s.tree.readable {
		objects.Batch(func() { desired.store(objects) })
	}
	s.mtx.Lock()
	before := s.problems
	s.problems = problems
	s.synced = s.synced || s.tree.readable
	s.mtx.Unlock()
	s.logProblems(before, problems)
	changed()
}

func (s *ManifestSource) logProblems(before, after []string) {
	for _, p := range after {
		if !slices.Contains(before, p) {
			s.logger.Warn("problem with a manifest", "problem", p)
		}
	}
	for _, p := range before {
		if !slices.Contains(after, p) {
			s.logger.Info("problem with a manifest is gone", "problem", p)
		}
	}
}

// sorted returns the files in the order of their paths.
func (t *manifestTree) sorted() []*manifestFile {
	var out []*manifestFile
	for _, path := range slices.Sorted(maps.Keys(t.files)) {
		out = append(out, t.files[path])
	}
	return out
}

// problems lists what is wrong with directories and single files.
func (t *manifestTree) problems() []string {
	out := slices.Clone(t.dirProblems)
	for _, f := range t.sorted() {
		for _, e := range f.problems {
			if e.line == 0 {
				out = append(out, fmt.Sprintf("%s: %v", f.path, e.err))
			} else {
				out = append(out, fmt.Sprintf("%s:%d: %v", f.path, e.line, e.err))
			}
		}
	}
	return out
}
