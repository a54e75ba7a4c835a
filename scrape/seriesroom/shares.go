package seriesroom

import (
	"cmp"
	"slices"
)

// divide computes r.level, the largest part that an owner may have whatever the others have.
// Owners that want less than an equal part get what they want, and the others get equal
// parts of what is left. r.mu is held.
func (r *Room) divide() {
	for i, limit := range r.limits {
		r.level[i] = limit
		var all int64
		for _, o := range r.owners {
			all += o.wants(i)
		}
		if all <= limit {
			continue
		}
		wants := make([]int64, 0, len(r.owners))
		for _, o := range r.owners {
			wants = append(wants, o.wants(i))
		}
		slices.Sort(wants)
		left := limit
		for n, want := range wants {
			if part := left / int64(len(wants)-n); want > part {
				r.level[i] = part
				break
			}
			left -= want
		}
	}
}

// wants is how much an owner would have if there were room.
func (o *owner) wants(i int) int64 { return o.live[i] + o.refused[i] }

// Owner is what an owner has and does not have.
type Owner struct {
	Name    string
	Held    Amount // in the storage, series that have ended among them
	Refused Amount // series in the last scrapes that somebody reads
}

// Status is how the room is used.
type Status struct {
	Stored Amount
	Limits Amount // 0: no limit
	Share  Amount // what each owner may have, whatever the others have; 0: no limit
	// Refused are the owners with refused series, the most refused first.
	Refused []Owner
}

// Status returns how the room is used.
func (r *Room) Status() Status {
	if r == nil {
		return Status{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{Stored: r.stored, Limits: r.limits, Share: r.level}
	for i, limit := range s.Limits {
		if limit == unlimited {
			s.Limits[i], s.Share[i] = 0, 0
		}
	}
	for _, o := range r.owners {
		if o.refused[Series] > 0 {
			s.Refused = append(s.Refused, Owner{Name: o.name, Held: o.held, Refused: o.refused})
		}
	}
	slices.SortFunc(s.Refused, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(b.Refused[Series], a.Refused[Series]), cmp.Compare(a.Name, b.Name))
	})
	return s
}
