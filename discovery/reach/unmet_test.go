package reach

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// MaxMeasured is maxMeasured for the tests of package reach_test.
const MaxMeasured = maxMeasured

func TestEditDistance(t *testing.T) {
	f := func(want int, a, b string) {
		t.Helper()
		require.Equal(t, want, editDistance(a, b), "%s %s", a, b)
		require.Equal(t, want, editDistance(b, a), "%s %s", b, a)
	}
	f(0, "", "")
	f(0, "app", "app")
	f(3, "", "app")
	f(1, "sample-metrics-app", "sample-metric-app")
	f(2, "tier", "tire")
	f(3, "kitten", "sitting")
	f(63, strings.Repeat("a", 200), strings.Repeat("b", 100))
	f(0, strings.Repeat("a", 200), strings.Repeat("a", 100))
}
