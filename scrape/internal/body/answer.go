package body

import (
	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/names"
)

// Answer is what a target answered: a body, on loan, and its content type. The zero
// value is an empty one.
type Answer struct {
	ContentType string
	// FallbackType is the media type of bodies whose content type does not say what
	// they are, "" for none.
	FallbackType string

	media  string // what mediaType has returned, if it was called
	loan   *budget.Loan
	body   buffer
	kept   int     // bytes, even if the body was not read to its end
	filter *filter // that the body was read through; nil if it is as it was sent
}

// Bytes returns the body, or what a filter left of it, until Release.
func (a *Answer) Bytes() []byte { return a.body.bytes }

// Kept returns how many bytes were put into a buffer, even if the body was not read to
// its end.
func (a *Answer) Kept() int { return a.kept }

// Sent returns how many bytes of the body have come, decompressed.
func (a *Answer) Sent() int {
	if a.filter != nil {
		return int(a.filter.sent)
	}
	return a.kept
}

// Empty reports whether nothing was sent.
func (a *Answer) Empty() bool {
	return len(a.body.bytes) == 0 && (a.filter == nil || a.filter.sent == 0)
}

// Skipped returns what a filter has taken out, nil if there was no filter.
func (a *Answer) Skipped() *Skipped {
	if a.filter == nil {
		return nil
	}
	return &a.filter.skipped
}

// Decisions returns what the filter went by, nil if there was no filter.
func (a *Answer) Decisions() *names.Decisions {
	if a.filter == nil {
		return nil
	}
	return a.filter.decisions
}

// Release gives back what is on loan.
func (a *Answer) Release() {
	a.body.release()
	a.filter.release()
	a.loan.End()
	*a = Answer{}
}
