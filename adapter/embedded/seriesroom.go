package embedded

import (
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
	// lookForRoom is the time between two checks whether new series find room.
	lookForRoom = 5 * time.Second
	// removeEvery is the shortest time between two removals of series that have ended. Each
	// removal writes blocks to the disk.
	removeEvery = time.Minute
	// leftAfter is a time after the start. Series from before the start that no target has
	// exposed by then count as ended.
	leftAfter = 5 * time.Minute
	// removePart: one in so many series in memory must have ended for a removal.
	removePart = 32
	// maxRefusedNamespaces is how many namespaces problems name.
	maxRefusedNamespaces = 5
)

// removeEnded removes series that have ended from memory when new series find no room.
func (p *Promlet) removeEnded(ctx context.Context) error { return p.removeEndedEvery(ctx, removeEvery) }

// removeEndedEvery is removeEnded with another shortest time between two removals.
func (p *Promlet) removeEndedEvery(ctx context.Context, every time.Duration) error {
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
		ended := p.DB.Ended()
		var left func(storage.SeriesRef) bool
		if time.Since(started) > leftAfter {
			ended += p.room.Unclaimed()
			left = p.room.IsUnclaimed
		}
		if time.Since(last) < every || ended < 1+p.DB.Series()/removePart || !p.room.Short() {
			continue
		}
		last = time.Now()
		if err := p.DB.RemoveEnded(ctx, left); err != nil && ctx.Err() == nil {
			p.opts.Logger.Warn("series that have ended stay in memory", slog.Any("err", err))
		}
	}
}

// refused returns the problems of series that are not stored because of a series limit.
func (p *Promlet) refused() (problems []string) {
	status := p.room.Status()
	if unneeded, _ := p.Scraper.Refused(); unneeded > 0 {
		problems = append(problems, fmt.Sprintf("%d series that nobody reads are not stored: %s is nearly reached: drop them with metricRelabelings, use %s, or raise the limit",
			unneeded, p.opts.Names.limit(status), p.opts.Names.IngestDemand))
	}
	for i := range status.Refused {
		if i == maxRefusedNamespaces {
			return append(problems, fmt.Sprintf("series of %d more namespaces are not stored: %s is nearly reached", len(status.Refused)-i, p.opts.Names.limit(status)))
		}
		o := &status.Refused[i]
		problems = append(problems, fmt.Sprintf("namespace %s: %d series that are read are not stored: %s: raise the limit, or expose fewer series",
			o.Name, o.Refused[seriesroom.Series], p.opts.Names.limitReached(status, o.Held)))
	}
	return problems
}

// notStored returns why series of a job are not stored, "" if they are.
func (p *Promlet) notStored(job string) string {
	refused := p.Scraper.RefusedOf(job)
	for _, owner := range slices.Sorted(maps.Keys(refused)) {
		status := p.room.Status()
		at := slices.IndexFunc(status.Refused, func(o seriesroom.Owner) bool { return o.Name == owner })
		if at < 0 {
			continue
		}
		return fmt.Sprintf("%d series of %s are not stored: %s", refused[owner], job, p.opts.Names.limitReached(status, status.Refused[at].Held))
	}
	return ""
}

// limitReached returns the text for a namespace that has reached a limit: what it holds, the
// limit, and its share.
func (n Names) limitReached(s seriesroom.Status, held seriesroom.Amount) string {
	i := scarce(s)
	return fmt.Sprintf("series limit reached: its monitors hold %s, and their share of %s is %s", amount(held, i), n.limit(s), amount(s.Share, i))
}

// limit returns the name and value of the limit that is nearer.
func (n Names) limit(s seriesroom.Status) string {
	name := [2]string{seriesroom.Series: n.SeriesLimit, seriesroom.Bytes: n.SeriesBytesLimit}
	i := scarce(s)
	return name[i] + "=" + strconv.FormatInt(s.Limits[i], 10)
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
