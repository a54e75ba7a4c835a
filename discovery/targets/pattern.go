package targets

import (
	"fmt"
	"regexp"

	"github.com/prometheus/prometheus/model/relabel"
)

// Pattern is an anchored regular expression as in relabelings. Nearly all are plain
// words, for which no automaton is kept.
type Pattern struct {
	literal string
	regex   *relabel.Regexp // nil: compare with literal
}

func newPattern(s string) (Pattern, error) {
	if regexp.QuoteMeta(s) == s {
		return Pattern{literal: s}, nil
	}
	re, err := relabel.NewRegexp(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("parse regular expression %q: %w", s, err)
	}
	return Pattern{regex: &re}, nil
}

// Matches reports whether the pattern matches all of s.
func (p Pattern) Matches(s string) bool {
	if p.regex == nil {
		return p.literal == s
	}
	return p.regex.MatchString(s)
}

// String is the pattern as it was written.
func (p Pattern) String() string {
	if p.regex == nil {
		return p.literal
	}
	return p.regex.String()
}
