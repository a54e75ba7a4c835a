package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/prometheus/procfs"

	"github.com/promlet/promlet/bench/internal/harness"
)

// figures are what promlet holds at a time.
type figures struct {
	after                        time.Duration
	resident, heap, disk         float64 // bytes; the heap after a collection
	goroutines, descriptors      float64
	series, answered, wrong, not int
}

// table prints figures, and keeps them.
type table struct {
	soak  *soak
	out   io.Writer
	began time.Time
	rows  []figures
}

const mebibyte = 1 << 20

// row reads the figures of now.
func (t *table) row(ctx context.Context, _ int) error {
	own, err := t.soak.client.own(ctx)
	if err != nil {
		return err
	}
	process, err := procfs.NewProc(t.soak.program.PID())
	if err != nil {
		return err
	}
	status, err := process.NewStatus()
	if err != nil {
		return err
	}
	descriptors, err := process.FileDescriptorsLen()
	if err != nil {
		return err
	}
	v := &t.soak.verdict
	v.mu.Lock()
	defer v.mu.Unlock()
	f := figures{
		after: time.Since(t.began), resident: float64(status.VmRSS), heap: own[liveHeap], disk: float64(size(t.soak.data())),
		goroutines: own["go_goroutines"], descriptors: float64(descriptors), series: int(own["prometheus_tsdb_head_series"]),
		answered: v.values, wrong: len(v.wrong), not: v.absent,
	}
	if len(t.rows) == 0 {
		_, err = fmt.Fprintf(t.out, "%8s %9s %9s %9s %11s %12s %8s %10s %7s %7s\n", "after", "resident", "live heap", "disk", "goroutines", "descriptors", "series", "values", "wrong", "absent")
	}
	t.rows = append(t.rows, f)
	_, rowErr := fmt.Fprintf(t.out, "%8s %6.1f MB %6.1f MB %6.1f MB %11.0f %12.0f %8s %10s %7d %7d\n", f.after.Round(time.Second),
		f.resident/mebibyte, f.heap/mebibyte, f.disk/mebibyte, f.goroutines, f.descriptors, harness.Grouped(f.series), harness.Grouped(f.answered), f.wrong, f.not)
	return errors.Join(err, rowErr)
}

// size is the number of bytes of the files below a directory. Files come and go.
func size(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if info, err := entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// flat is an error if something has grown: if the highest figure of the second half of what comes after a time is
// above that of the first half by more than a tenth, and by more than what changes from minute to minute.
func (t *table) flat(after time.Duration) error {
	var rows []figures
	for _, f := range t.rows {
		if f.after > after {
			rows = append(rows, f)
		}
	}
	if len(rows) < 4 {
		return fmt.Errorf("%d rows after %s: let it run for longer", len(rows), after)
	}
	highest := func(rows []figures, of func(figures) float64) (most float64) {
		for _, f := range rows {
			most = max(most, of(f))
		}
		return most
	}
	var v harness.Verdict
	for _, figure := range []struct {
		name  string
		of    func(figures) float64
		slack float64
	}{
		{"resident memory", func(f figures) float64 { return f.resident }, 16 * mebibyte},
		{"live heap", func(f figures) float64 { return f.heap }, 8 * mebibyte},
		{"disk", func(f figures) float64 { return f.disk }, 8 * mebibyte},
		{"goroutines", func(f figures) float64 { return f.goroutines }, 40},
		{"descriptors", func(f figures) float64 { return f.descriptors }, 40},
		{"series", func(f figures) float64 { return float64(f.series) }, 1000},
	} {
		before, now := highest(rows[:len(rows)/2], figure.of), highest(rows[len(rows)/2:], figure.of)
		v.Expect(now <= before*1.1+figure.slack, "%s from %s to %s", figure.name, harness.Figure(before), harness.Figure(now))
	}
	if len(v) > 0 {
		return fmt.Errorf("not flat after %s: %s", after, v)
	}
	_, err := fmt.Fprintf(t.out, "All of it stays flat after %s.\n", after)
	return err
}
