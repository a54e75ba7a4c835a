package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

// Unmatched is a rule of the configuration that takes no series that exists.
type Unmatched struct {
	// Rule is where the configuration has it, such as rules[3].
	Rule string
	// Why is what keeps it from taking any.
	Why string
	// Closest is the series name closest to one that it asks for, if any is close.
	Closest string

	API API
}

func (u Unmatched) String() string {
	if u.Closest == "" {
		return u.Rule + ": " + u.Why
	}
	return fmt.Sprintf("%s: %s (closest: %s)", u.Rule, u.Why, u.Closest)
}

// quoted quotes a text of the configuration. It uses backquotes if the text has quotes or backslashes.
func quoted(text string) string {
	if strings.ContainsAny(text, `"\\`) && strconv.CanBackquote(text) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

// Unmatched explains why the rule takes none of the series names.
func (c *Compiled) Unmatched(names []string) Unmatched {
	found := Unmatched{Rule: c.String(), API: c.API}
	on := OnName(c.Matchers)
	var valid, selected, passed []string
	for _, name := range names {
		if !model.LegacyValidation.IsValidMetricName(name) {
			continue // few rules take such a name
		}
		valid = append(valid, name)
		if !MatchesName(on, name) {
			continue
		}
		selected = append(selected, name)
		if c.passes(name) {
			passed = append(passed, name)
		}
	}
	switch query := c.Config.SeriesQuery; {
	case len(selected) == 0:
		found.Why = fmt.Sprintf("seriesQuery %s matches no series", quoted(query))
		found.Closest = Closest(valid, mentioned(on)...)
	case len(passed) == 0:
		found.Why = fmt.Sprintf("seriesQuery %s matches series, such as %s, but seriesFilters leave none of them", quoted(query), selected[0])
	case slices.ContainsFunc(passed, c.matches.MatchString):
		found.Why = fmt.Sprintf("seriesQuery %s matches series, such as %s, but name.as %s gives them an empty name", quoted(query), passed[0], quoted(c.as))
	default:
		found.Why = fmt.Sprintf("seriesQuery %s matches series, such as %s, but name.matches %s matches none of their names", quoted(query), passed[0], quoted(c.Config.Name.Matches))
	}
	return found
}
