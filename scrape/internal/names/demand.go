package names

import (
	"strings"
	"sync"
	"time"
)

// Need is how much the series of a name are needed.
type Need uint8

// The needs, each greater than the one before.
const (
	Unread Need = iota // nobody reads them
	Wanted             // somebody does
	Vital              // something acts upon them
	Needs              // the number of needs
)

// notKnown marks numbers that no name has.
const notKnown = Needs

const (
	// maxRemembered bounds the answers that a Demand remembers. It asks again for others.
	maxRemembered = 1 << 16
	// maxRememberedBytes bounds their names.
	maxRememberedBytes = 2 << 20
)

// Demand says how much each name is needed. It remembers the answers, because jobs share
// most names.
type Demand struct {
	wanted, vital func(name string) bool // nil: no name is
	made          time.Time

	mu     sync.Mutex
	bytes  int // of the names in needs and begun
	needs  map[string]Need
	begun  map[string]int64 // ms: since when names have been wanted
	before *Demand          // the one that this one replaces, until this one is replaced
}

// NewDemand makes a Demand of two functions, either of which may be nil: then no name
// is wanted, or vital. It replaces the Demand before, nil for none: names that were
// wanted already keep their beginning.
func NewDemand(wanted, vital func(name string) bool, before *Demand) *Demand {
	d := &Demand{wanted: wanted, vital: vital, made: time.Now(), needs: map[string]Need{}, begun: map[string]int64{}, before: before}
	if before == nil {
		return d
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	before.before = nil
	for name, n := range before.needs {
		if n == Unread {
			continue
		}
		begun, ok := before.begun[name]
		if !ok {
			begun = before.made.UnixMilli()
		}
		d.begun[name] = begun // Read only if the name is still wanted.
	}
	return d
}

// Since returns since when a name has been wanted, in milliseconds; false if it is not.
func (d *Demand) Since(name string) (int64, bool) {
	if d.Of(name) == Unread {
		return 0, false
	}
	d.mu.Lock()
	begun, known := d.begun[name]
	before := d.before
	d.mu.Unlock()
	if known {
		return begun, true
	}
	begun = d.made.UnixMilli()
	if before != nil {
		if earlier, wanted := before.Since(name); wanted {
			begun = earlier
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.begun) < maxRemembered && d.bytes+len(name) <= maxRememberedBytes {
		d.bytes += len(name)
		d.begun[strings.Clone(name)] = begun
	}
	return begun, true
}

// Of returns how much the series of a name are needed.
func (d *Demand) Of(name string) Need {
	d.mu.Lock()
	n, ok := d.needs[name]
	d.mu.Unlock()
	if ok {
		return n
	}
	switch {
	case d.vital != nil && d.vital(name):
		n = Vital
	case d.wanted != nil && d.wanted(name):
		n = Wanted
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.needs) < maxRemembered && d.bytes+len(name) <= maxRememberedBytes {
		d.bytes += len(name)
		d.needs[strings.Clone(name)] = n // A name may be a part of all labels of a series.
	}
	return n
}
