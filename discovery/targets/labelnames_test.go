package targets

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookup(t *testing.T) {
	set := map[string]string{"a.b/c": "1", "a-b-c": "2", "x_y": "3", "empty": ""}
	for _, tc := range []struct {
		name, want string
		ok         bool
	}{
		{"a.b/c", "1", true},
		{"a-b-c", "2", true},
		{"a_b_c", "2", true}, // the first in order of those that fit
		{"a/b/c", "2", true},
		{"x.y", "3", true},
		{"empty", "", true},
		{"x_", "", false},
		{"X_y", "", false},
		{"", "", false},
	} {
		got, ok := lookup(set, tc.name)
		require.Equal(t, tc.want, got, tc.name)
		require.Equal(t, tc.ok, ok, tc.name)
	}
	require.Equal(t, "app_kubernetes_io_name", sanitize("app.kubernetes.io/name"))
	require.Equal(t, "aZ09__", sanitize("aZ09_-"))
}
