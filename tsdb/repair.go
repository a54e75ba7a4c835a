package tsdb

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// The names inside a data directory that this package deals with.
const (
	lockFile    = "lock"
	walDir      = "wal"
	wblDir      = wlog.WblDirName
	chunksDir   = "chunks_head"
	asidePrefix = "corrupt-"
)

// keepAside is how many directories with damaged data are kept, the newest first: enough to look
// into what happened, few enough that a node that loses power every night does not fill its disk.
const keepAside = 3

// Damage is one thing that Open found broken in the data directory.
type Damage struct {
	// Path is what was broken, relative to the data directory.
	Path string
	// Problem is what was wrong with it.
	Problem string
	// Lost is what is missing now because of it.
	Lost string
	// Kept is where the broken original is now, relative to the data directory. Empty when there was
	// none (something was missing), or when the storage itself repaired it in place.
	Kept string
}

// repairer makes a data directory fit to be opened. The Prometheus TSDB repairs a good part itself,
// but refuses to start over the rest, and in some cases (a torn checkpoint) deletes good data first.
// So all is checked beforehand, with the same readers, and nothing is deleted: what is broken is moved
// into a directory beside.
type repairer struct {
	dir   string
	log   *slog.Logger
	found []Damage
	aside string // name of this start's directory for damaged data; empty until the first use

	// Of the log; see repairwal.go.
	dec   *recordDecoder
	cut   bool // series may have been lost from it
	noLog bool // there is none
}

func newRepairer(dir string, log *slog.Logger) *repairer {
	return &repairer{dir: dir, log: log, dec: newRecordDecoder()}
}

// run checks all parts. It fails only when the system refuses.
func (r *repairer) run() error {
	for _, step := range []func() error{r.checkKinds, r.checkWAL, r.checkHeadChunks, r.reserveRefs, r.checkWBL, r.checkBlocks} {
		if err := step(); err != nil {
			return err
		}
	}
	return r.dropOldest()
}

// move puts a file or directory aside, reports it, and keeps its path under the new directory.
func (r *repairer) move(rel, problem, lost string) (kept string, err error) {
	kept, err = r.moveQuietly(rel)
	if err == nil {
		r.report(Damage{Path: rel, Problem: problem, Lost: lost, Kept: kept})
	}
	return kept, err
}

func (r *repairer) moveQuietly(rel string) (kept string, err error) {
	if r.aside == "" {
		if err := r.makeAside(); err != nil {
			return "", err
		}
	}
	kept = filepath.Join(r.aside, rel)
	if err := os.MkdirAll(filepath.Dir(r.path(kept)), 0o777); err != nil {
		return "", err
	}
	return kept, os.Rename(r.path(rel), r.path(kept))
}

// makeAside makes a directory named after the time, to which names sort.
func (r *repairer) makeAside() error {
	name := asidePrefix + time.Now().UTC().Format("20060102T150405.000000Z")
	if err := os.Mkdir(r.path(name), 0o777); err != nil {
		return err
	}
	r.aside = name
	return nil
}

func (r *repairer) path(rel string) string { return filepath.Join(r.dir, rel) }

func (r *repairer) report(d Damage) {
	r.found = append(r.found, d)
	r.log.Warn("Found damage in the data directory", "dir", r.dir, "path", d.Path, "problem", d.Problem, "lost", d.Lost, "kept", d.Kept)
}

// checkKinds moves files out of the way that stand where directories must be.
func (r *repairer) checkKinds() error {
	for _, name := range []string{walDir, wblDir, chunksDir} {
		info, err := os.Stat(r.path(name))
		if errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := r.move(name, "not a directory", "nothing that could be read"); err != nil {
			return err
		}
	}
	return nil
}

// checkBlocks moves blocks aside that cannot be opened. The storage would refuse to start over some of
// them, and warn about the others once a minute.
func (r *repairer) checkBlocks() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		block, err := promtsdb.OpenBlock(nil, r.path(e.Name()), nil, nil)
		if err == nil {
			err = block.Close()
		}
		if err == nil {
			continue
		}
		if refused(err) {
			return err
		}
		if _, err := r.move(e.Name(), err.Error(), "the samples of this block; the log holds younger ones"); err != nil {
			return err
		}
	}
	return nil
}

// setAllAside is the last resort: everything but the lock and what was set aside before.
func (r *repairer) setAllAside(cause error) error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockFile || strings.HasPrefix(e.Name(), asidePrefix) {
			continue
		}
		if _, err := r.moveQuietly(e.Name()); err != nil {
			return err
		}
	}
	r.report(Damage{Path: ".", Problem: cause.Error(), Lost: "all samples taken before this start", Kept: r.aside})
	return r.dropOldest()
}

// dropOldest bounds the number of directories that were set aside.
func (r *repairer) dropOldest() error {
	if r.aside == "" {
		return nil
	}
	entries, err := os.ReadDir(r.dir) // sorted by name, so by time
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), asidePrefix) })
	for _, e := range entries[:max(0, len(entries)-keepAside)] {
		r.log.Warn("Deleting damaged data that an earlier start set aside", "dir", r.path(e.Name()), "keep", keepAside)
		if err := os.RemoveAll(r.path(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// afterOpen reports a log that the storage had to repair itself: the checks should have left none.
// (It may also throw away head chunks, which it logs; they lose nothing and are not damage: after a series
// has ended, come back, and seen two restarts it writes some of them twice, and then stumbles over it.)
func (r *repairer) afterOpen(metrics prometheus.Gatherer) {
	families, err := metrics.Gather()
	if err != nil {
		r.log.Warn("Cannot tell whether the storage repaired the log", "err", err)
		return
	}
	for _, f := range families {
		if f.GetName() == "prometheus_tsdb_wal_corruptions_total" && f.GetMetric()[0].GetCounter().GetValue() > 0 {
			r.report(Damage{Path: walDir, Problem: "broken while it was replayed", Lost: "the log from the broken record on"})
		}
	}
}
