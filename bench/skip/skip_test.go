package skip

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNotes(t *testing.T) {
	t.Setenv(file, "")
	Note(t, "a race", "install a")
	path := filepath.Join(t.TempDir(), "notes")
	t.Setenv(file, path)
	Note(t, "b", "install c")
	skipped := false
	t.Run("skipped", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Test(t, "d", "run as root")
		t.Error("it went on")
	})
	require.True(t, skipped)
	notes, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "b: install c\nd: run as root\n", string(notes))
}
