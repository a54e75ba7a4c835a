package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/seriesroom"
)

const (
	// lookForRoom is the time between two looks at whether series find room.
	lookForRoom = 5 * time.Second
	// removeEvery is the least time between two removals of series that have ended: each
	// writes blocks to the disk.
	removeEvery = time.Minute
	// leftAfter is how long after the start series from before it are left over if no target
	// has gone on with them.
	leftAfter = 5 * time.Minute
	// removePart of the series in memory must have ended for a removal.
	removePart = 32
	// maxRefusedNamespaces is how many namespaces problems name.
	maxRefusedNamespaces = 5
)

// seriesRoom returns the room for series in memory, nil for no limit.
func (o *options) seriesRoom() *seriesroom.Room {
	return seriesroom.New(seriesroom.Limits{Series: o.seriesLimit, Bytes: cmp.Or(o.seriesBytesLimit, partOfMemory(seriesShare))})
}

// removeEnded removes series that have ended from memory when others find no room, at most
// once in a time.
func (a *app) removeEnded(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(lookForRoom)
	defer ticker.Stop()
	var last time.Time
	started := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		ended := a.db.Ended()
		var left func(storage.SeriesRef) bool
		if time.Since(started) > leftAfter {
			ended += a.room.Unclaimed()
			left = a.room.IsUnclaimed
		}
		if time.Since(last) < every || ended < 1+a.db.Series()/removePart || !a.room.Short() {
			continue
		}
		last = time.Now()
		if err := a.db.RemoveEnded(ctx, left); err != nil && ctx.Err() == nil {
			a.logger.Warn("series that have ended stay in memory", slog.Any("err", err))
		}
	}
}

// refused returns the problems of series that the series limit keeps from being stored.
func (a *app) refused() (problems []string) {
	status := a.room.Status()
	if unneeded, _ := a.scraper.Refused(); unneeded > 0 {
		problems = append(problems, fmt.Sprintf("%d series that nobody reads are not stored: %s is nearly reached: drop them with metricRelabelings, use --ingest=demand, or raise the limit",
			unneeded, limitFlag(status)))
	}
	for i := range status.Refused {
		if i == maxRefusedNamespaces {
			return append(problems, fmt.Sprintf("series of %d more namespaces are not stored: %s is nearly reached", len(status.Refused)-i, limitFlag(status)))
		}
		o := &status.Refused[i]
		problems = append(problems, fmt.Sprintf("namespace %s: %d series that are read are not stored: %s: raise the limit, or expose fewer series",
			o.Name, o.Refused[seriesroom.Series], limitReached(status, o.Held)))
	}
	return problems
}

// notStored returns why series of a job are not stored, "" if they are.
func (a *app) notStored(job string) string {
	refused := a.scraper.RefusedOf(job)
	for _, owner := range slices.Sorted(maps.Keys(refused)) {
		status := a.room.Status()
		at := slices.IndexFunc(status.Refused, func(o seriesroom.Owner) bool { return o.Name == owner })
		if at < 0 {
			continue
		}
		return fmt.Sprintf("%d series of %s are not stored: %s", refused[owner], job, limitReached(status, status.Refused[at].Held))
	}
	return ""
}

// limitReached says which limit is reached by a namespace that holds so much, and what its
// share is.
func limitReached(s seriesroom.Status, held seriesroom.Amount) string {
	i := scarce(s)
	return fmt.Sprintf("series limit reached: its monitors hold %s, and their share of %s is %s", amount(held, i), limitFlag(s), amount(s.Share, i))
}

// limitFlag returns the flag of the limit that is nearer.
func limitFlag(s seriesroom.Status) string {
	flag := [2]string{seriesroom.Series: "--series-limit", seriesroom.Bytes: "--series-bytes-limit"}
	i := scarce(s)
	return flag[i] + "=" + strconv.FormatInt(s.Limits[i], 10)
}

// scarce returns which part of the room is nearer to its limit.
func scarce(s seriesroom.Status) int {
	use := func(i int) float64 {
		if s.Limits[i] == 0 {
			return 0
		}
		return float64(s.Stored[i]) / float64(s.Limits[i])
	}
	if use(seriesroom.Bytes) > use(seriesroom.Series) {
		return seriesroom.Bytes
	}
	return seriesroom.Series
}

// amount prints a part of an amount.
func amount(a seriesroom.Amount, i int) string {
	if i == seriesroom.Bytes {
		return fmt.Sprintf("%d bytes", a[i])
	}
	return fmt.Sprintf("%d series", a[i])
}
