package tsdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// ErrClockSet is the reason to begin anew when the system's clock has been set: times before and after do not
// belong together.
var ErrClockSet = errors.New("the clock was set")

// maxClockStep is how far the clock may be set without harm: less than a hundredth of usual windows. Clocks that are
// slewed, as NTP mostly does, stay below it.
const maxClockStep = 500 * time.Millisecond

// smallStepsTime is the time after which smaller steps are forgotten, so that they do not add up for ever.
const smallStepsTime = time.Hour

// clock notices when the system's clock is set.
type clock struct {
	now   func() time.Time
	start atomic.Pointer[clockStart]
}

// clockStart is one moment on the system's clock and on the one that nobody sets.
type clockStart struct {
	wall      time.Time // without a monotonic reading
	monotonic time.Time
}

func newClock(now func() time.Time) *clock {
	c := &clock{now: now}
	c.accept()
	return c
}

// accept takes the clock as it is.
func (c *clock) accept() {
	c.start.Store(&clockStart{wall: c.now().Round(0), monotonic: time.Now()})
}

// step returns by how much the clock has been set since accept, 0 where that does no harm.
func (c *clock) step() time.Duration {
	start := c.start.Load()
	var step time.Duration
	// The process may be stopped between reading the two clocks: a real step shows twice.
	for range 2 {
		elapsed := time.Since(start.monotonic)
		if step = c.now().Round(0).Sub(start.wall) - elapsed; step.Abs() < maxClockStep {
			if elapsed > smallStepsTime {
				c.accept()
			}
			return 0
		}
	}
	return step
}

// clockFile holds a clockRecord.
const clockFile = "clock.json"

// clockRecord is when the system was booted, as its clock says: that changes only when the clock is set.
type clockRecord struct {
	Boot string    `json:"boot"` // tells boots apart
	Time time.Time `json:"time"`
}

// SystemBoot is Options.Boot for Linux.
func SystemBoot() (id string, up time.Duration, err error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return "", 0, err
	}
	var seconds float64
	if _, err := fmt.Sscan(string(uptime), &seconds); err != nil {
		return "", 0, err
	}
	return strings.TrimSpace(string(boot)), time.Duration(seconds * float64(time.Second)), nil
}

// recordClock notes how the clock is set. It returns ErrClockSet if it was set otherwise when that was noted last, in
// the same boot.
func (db *DB) recordClock() error {
	if db.opts.Boot == nil {
		return nil
	}
	boot, up, err := db.opts.Boot()
	if err != nil {
		db.opts.Logger.Debug("it is not known when the system was booted", "err", err)
		return nil
	}
	now := clockRecord{Boot: boot, Time: db.opts.Now().Round(0).Add(-up)}
	path := filepath.Join(db.opts.Dir, clockFile)
	var before clockRecord
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &before) // what is damaged tells nothing
	}
	b, err := json.Marshal(now)
	if err == nil {
		err = os.WriteFile(path, b, 0o666) //nolint:gosec // As the storage's files.
	}
	if err != nil {
		db.opts.Logger.Debug("the clock was not recorded", "err", err)
	}
	if step := now.Time.Sub(before.Time); before.Boot == boot && step.Abs() >= maxClockStep {
		return fmt.Errorf("%w by %s since the last start", ErrClockSet, step.Round(time.Millisecond))
	}
	return nil
}
