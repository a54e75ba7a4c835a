package monitors

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compare runs both sides and fails with the smallest cluster that differs.
// A cluster with a monitor of the endpoints role for which there are no Endpoints
// has no result: nil.
func compare(t *testing.T, c *Cluster) (ours, theirs *Result) {
	t.Helper()
	diff, ours, theirs, err := Compare(t.Context(), c)
	if errors.Is(err, ErrNoEndpoints) {
		return nil, nil
	}
	require.NoError(t, err)
	if len(diff) > 0 {
		reportSmallest(t, c)
	}
	return ours, theirs
}

func reportSmallest(t *testing.T, c *Cluster) {
	t.Helper()
	smallest, err := Shrink(c, func(c *Cluster) bool {
		diff, _, _, err := Compare(context.Background(), c)
		return err == nil && len(diff) > 0
	})
	require.NoError(t, err)
	diff, _, _, err := Compare(t.Context(), smallest)
	require.NoError(t, err)
	text, err := smallest.YAML()
	require.NoError(t, err)
	t.Errorf("promlet and upstream differ:\n%s\n%s", strings.Join(diff, "\n"), text)
}
