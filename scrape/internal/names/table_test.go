package names

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// scrape scrapes one series of each name into the table. counted are the counts of the
// last scrape; it returns those of this one.
func scrape(t *Table, counted []uint32, help string, exposed ...string) []uint32 {
	found := t.Decisions().Findings()
	var now []uint32
	for _, name := range exposed {
		found.Family([]byte(name))
		found.Line([]byte(name))
		i := int(t.Number(labels.FromStrings(model.MetricNameLabel, name), metadata.Metadata{Help: help}))
		now = append(now, make([]uint32, max(0, i+1-len(now)))...)
		now[i]++
	}
	return t.Learn(found, counted, now)
}

func newTestTable() *Table {
	return NewTable(nil, true, NewDemand(nil, nil, nil), new(atomic.Uint64), nil)
}

// kept is how many bytes of texts the table holds.
func (t *Table) kept() (n int) {
	for name := range t.families {
		n += len(name)
	}
	for name := range t.lines {
		n += len(name)
	}
	for i := range t.entries {
		if e := &t.entries[i]; e.used() {
			n += e.size()
		}
	}
	return n
}

// A target that exposes new names on each scrape does not fill the table.
func TestTableForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTestTable()
		var counted []uint32
		for n := range 8 {
			var exposed []string
			for i := range 5000 {
				exposed = append(exposed, fmt.Sprintf("n%d_%d", n, i))
			}
			counted = scrape(table, counted, "", exposed...)
			time.Sleep(forgetEvery)
			require.LessOrEqual(t, len(table.entries), maxNames+1)
			require.LessOrEqual(t, len(table.lines), 2*maxNames)
			require.LessOrEqual(t, len(table.families), 2*maxNames)
			require.LessOrEqual(t, table.kept(), maxBytes)
			names := 0
			table.Exposed(func(e *Entry) {
				names++
				require.Equal(t, 1, e.Series)
			})
			require.LessOrEqual(t, names, 5000)
		}
		require.NotZero(t, table.Decisions().Generation)
		table.Remove(counted)
		table.Exposed(func(e *Entry) { require.Fail(t, "it has no series", e.Name()) })
	})
}

// Long texts are not kept, and of the others no more than maxBytes.
func TestTextsAreBounded(t *testing.T) {
	table := newTestTable()
	var counted []uint32
	for n := range 3 {
		var exposed []string
		for i := range 4 {
			exposed = append(exposed, fmt.Sprintf("a%d_%d_%s", n, i, strings.Repeat("x", 1<<20)))
		}
		for i := range 3000 {
			exposed = append(exposed, fmt.Sprintf("b%d_%d", n, i))
		}
		counted = scrape(table, counted, strings.Repeat("h", 900), exposed...)
		require.LessOrEqual(t, table.bytes, maxBytes)
		require.LessOrEqual(t, table.kept(), maxBytes)
		require.Greater(t, table.kept(), maxBytes/4)
	}
}

func TestLineName(t *testing.T) {
	for line, want := range map[string]string{"": "", "a": "a", "a 1": "a", "a {x=\"1\"} 1": "a", "a{x=\" \"}": "a", "b\t2": "b", "{\"a\"} 1": ""} {
		require.Equal(t, want, string(LineName([]byte(line))), line)
	}
}
