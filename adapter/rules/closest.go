package rules

import (
	"math"

	"github.com/agnivade/levenshtein"
)

// Closest returns the name that differs least from one of those wanted, "" when all
// differ in more than a third of their letters.
func Closest(names []string, wanted ...string) string {
	best, least := "", math.MaxInt
	for _, name := range names {
		for _, want := range wanted {
			longer := max(len(name), len(want))
			most := min(least, max(2, longer/3))
			if longer-min(len(name), len(want)) > most {
				continue // it differs by more in length alone
			}
			if d := levenshtein.ComputeDistance(name, want); d < most || d == most && (d < least || name < best) {
				best, least = name, d
			}
		}
	}
	return best
}
