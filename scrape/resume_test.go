package scrape

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
)

// restarted is the job of processes that follow each other.
type restarted struct {
	file string
	now  time.Time
	idle time.Duration // since the last sample of the process before
	log  bytes.Buffer
}

// start starts the next process on targets, and returns the state of one of them, and whether it was resumed.
func (r *restarted) start(t *testing.T, targets *targetgroup.Group) (*Manager, *Target, bool) {
	t.Helper()
	m := newManager(t, &recorder{}, func(o *Options) {
		o.HistoryFile, o.LastSample = r.file, r.now.Add(-r.idle)
		o.Now, o.Logger = func() time.Time { return r.now }, slog.New(slog.NewTextHandler(&r.log, nil))
	})
	require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", targets)))
	for _, l := range loopsByAddress(m, "j") {
		return m, l.origin.now.Load(), l.resumed
	}
	return m, nil, false
}

// What is known of the load of the same targets goes on after a restart.
func TestJobsGoOnAfterARestart(t *testing.T) {
	r := &restarted{file: filepath.Join(t.TempDir(), "targets.json"), now: time.Now().Truncate(time.Second)}
	m, first, resumed := r.start(t, group("10.0.0.1:1"))
	require.False(t, resumed)
	require.Len(t, first.Changes, 1)
	r.now = r.now.Add(time.Minute)
	joined := r.now
	both := group("10.0.0.1:1", "10.0.0.2:1")
	require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", both)))
	m.Stop()

	r.now = joined.Add(19 * time.Second)
	m, early, resumed := r.start(t, both)
	m.Stop()
	require.False(t, resumed, "what has left just before may be part of a sum, and is not known any more")
	require.Equal(t, r.now, early.Begun)

	r.now = r.now.Add(time.Minute)
	began := early.Begun
	for range 3 {
		m, same, resumed := r.start(t, both)
		m.Stop()
		require.True(t, resumed)
		require.WithinDuration(t, began, same.Begun, 0)
		require.Len(t, same.Changes, 1)
		require.WithinDuration(t, began, same.Changes[0], 0, "the start is no change")
		r.now = r.now.Add(time.Second)
	}
	r.idle = 21 * time.Second
	m, _, resumed = r.start(t, both)
	m.Stop()
	require.False(t, resumed, "two scrapes are missing")
	r.idle, r.now = 0, r.now.Add(time.Minute)
	m, other, resumed := r.start(t, group("10.0.0.1:1", "10.0.0.3:1"))
	m.Stop()
	require.False(t, resumed, "a target was replaced while no process ran")
	require.Equal(t, r.now, other.Begun)
	require.Empty(t, r.log.String())
}

// Targets that come after the first Apply are a change, also in a job that goes on.
func TestLaterTargetsOfAJobThatGoesOn(t *testing.T) {
	r := &restarted{file: filepath.Join(t.TempDir(), "targets.json"), now: time.Now().Truncate(time.Second)}
	m, _, _ := r.start(t, group("10.0.0.1:1"))
	m.Stop()
	r.now = r.now.Add(time.Minute)
	m, _, resumed := r.start(t, group("10.0.0.1:1"))
	require.True(t, resumed)
	require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group())))
	require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group("10.0.0.1:1"))))
	l := loopsByAddress(m, "j")["10.0.0.1:1"]
	require.False(t, l.resumed)
	require.Equal(t, r.now, l.origin.now.Load().Changes[1].Local())
}

func TestUnreadyTargetsAreOthers(t *testing.T) {
	r := &restarted{file: filepath.Join(t.TempDir(), "targets.json"), now: time.Now().Truncate(time.Second)}
	m, _, _ := r.start(t, group("10.0.0.1:1"))
	m.Stop()
	r.now = r.now.Add(time.Minute)
	unready := group("10.0.0.1:1")
	unready.Labels = model.LabelSet{unreadyLabel: "true"}
	_, _, resumed := r.start(t, unready)
	require.False(t, resumed)
}

// A file that is ahead of the clock, or no file of promlet's, counts as missing.
func TestStateThatCannotBeRight(t *testing.T) {
	r := &restarted{file: filepath.Join(t.TempDir(), "targets.json"), now: time.Now().Truncate(time.Second)}
	m, _, _ := r.start(t, group("10.0.0.1:1"))
	m.Stop()
	r.now = r.now.Add(-time.Hour)
	m, _, resumed := r.start(t, group("10.0.0.1:1"))
	m.Stop()
	require.False(t, resumed)
	require.Empty(t, r.log.String())
	r.now = r.now.Add(time.Hour)
	require.NoError(t, os.WriteFile(r.file, []byte(`{"j": 1}`), 0o600))
	m, _, resumed = r.start(t, group("10.0.0.1:1"))
	m.Stop()
	require.False(t, resumed)
	require.Contains(t, r.log.String(), "could not read the history of the targets")
}

// If the file cannot be written, an older one must not be believed.
func TestStateThatCannotBeWritten(t *testing.T) {
	r := &restarted{file: filepath.Join(t.TempDir(), "targets.json"), now: time.Now().Truncate(time.Second)}
	m, _, _ := r.start(t, group("10.0.0.1:1"))
	require.NoError(t, os.Mkdir(r.file+".new", 0o700))
	require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group("10.0.0.2:1"))))
	m.Stop()
	require.Contains(t, r.log.String(), "could not save the history of the targets")
	require.NoFileExists(t, r.file)
}
