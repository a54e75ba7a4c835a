package attacks

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// Killed again and again, promlet is ready when it has right answers, and its first ones are right.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 4 {
		time.Sleep(time.Duration(1000+rand.IntN(1500)) * time.Millisecond)
		s.kill()
		s.restart()
		s.requireNow()
	}
	s.endure("kill -9", 2*time.Second)
	s.end()
}

// requireNow wants right answers at the first request.
func (s *site) requireNow() {
	s.Helper()
	for _, path := range []string{shopRate, shopDepth} {
		value, err := valueOf(s.metric(path))
		require.NoError(s, err)
		require.NoError(s, right(path, value))
	}
}

// Damaged while it was away, the data of before is lost at most: values are right or absent.
func TestDamaged(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(s.data, pattern))
		require.NoError(t, err)
		return found
	}
	for name, damage := range map[string]func(){
		"cut": func() {
			for _, file := range files("wal/0*") {
				info, err := os.Stat(file)
				require.NoError(t, err)
				require.NoError(t, os.Truncate(file, info.Size()*2/3))
			}
		},
		"overwritten": func() {
			for _, file := range files("wal/0*") {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				for at := len(text) / 2; at < len(text); at += 97 {
					text[at] ^= 0xff
				}
				require.NoError(t, os.WriteFile(file, text, 0o600))
			}
		},
		"gone": func() {
			for _, file := range files("wal/0*") {
				require.NoError(t, os.Remove(file))
			}
		},
		"foreign": func() {
			require.NoError(t, os.WriteFile(filepath.Join(s.data, "chunks_head", "000001"), []byte("these are no chunks of samples"), 0o600))
			require.NoError(t, os.MkdirAll(filepath.Join(s.data, "wal", "checkpoint.00000005"), 0o700))
		},
	} {
		time.Sleep(2 * scrapeInterval)
		s.kill()
		damage()
		s.run()
		s.eventuallyRight()
		t.Logf("%s: %s", name, s.reader)
	}
	s.end()
}

// Samples of the future, as when the clock was an hour ahead and has been set back, are set aside.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.kill()
	db, err := tsdb.Open(tsdb.Options{Dir: s.data})
	require.NoError(t, err)
	app := db.AppenderV2(t.Context())
	for _, name := range []string{"up", "queue_depth", "http_requests_total"} {
		_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, name, "namespace", "shop", "service", "app", "pod", "app-0"), 0, time.Now().Add(time.Hour).UnixMilli(), 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	require.NoError(t, db.Close())
	s.run()
	s.eventuallyRight()
	s.endure("an hour of the future", 3*time.Second)
	s.end()
}

// With a full disk there are right answers, or none and no readiness; it starts, and it recovers.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	require.NoError(t, os.Mkdir(s.data, 0o700))
	if err := syscall.Mount("tmpfs", s.data, "tmpfs", 0, "size=32m"); err != nil {
		t.Logf("NOT TESTED: a small file system needs the right to mount one: %v", err)
		s.start()
		s.end()
		return
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(s.data, syscall.MNT_DETACH)) })
	s.start()
	filler := filepath.Join(s.data, "filler")
	fill := func() {
		file, err := os.OpenFile(filler, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		for size := 1 << 20; size > 0; {
			if _, err := file.Write(make([]byte, size)); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				size /= 2
			}
		}
		require.NoError(t, file.Close())
	}
	fill()
	s.reader.mayBeAbsent.Store(true)
	for began := time.Now(); time.Since(began) < 15*time.Second; time.Sleep(500 * time.Millisecond) {
		require.NoError(t, s.truthful())
	}
	require.NoError(t, s.promlet.Ended())
	s.kill()
	fill()
	s.launch()
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(500 * time.Millisecond) {
		require.NoError(t, s.promlet.Ended())
	}
	require.NoError(t, os.Remove(filler))
	s.eventuallyRight()
	s.endure("a full disk", 3*time.Second)
	s.end()
}

// truthful is an error if there is no value while promlet says that it is ready.
func (s *site) truthful() error {
	var absent error
	for range 5 { // one may be after the other has changed
		code, _, err := s.get("https://" + s.api + "/readyz")
		_, absent = valueOf(s.metric(shopDepth))
		if absent == nil || err != nil || code != http.StatusOK {
			return errors.Join(err)
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("it is ready, and has no value: %w", absent)
}
