package build

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	source := filepath.Join(t.TempDir(), "source")
	require.NoError(t, os.WriteFile(source, []byte("1"), 0o600))
	built := 0
	once := func(input string) (string, error) {
		return Once("test", "v1-", []string{source}, []string{input}, func(path string) error {
			built++
			return os.Mkdir(path, 0o700)
		})
	}
	first, err := once("a")
	require.NoError(t, err)
	require.DirExists(t, first)
	again, err := once("a")
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, built)
	old := time.Now().Add(-2 * keep)
	require.NoError(t, os.Chtimes(first, old, old))
	other, err := once("b")
	require.NoError(t, err)
	require.NotEqual(t, first, other)
	require.NoDirExists(t, first, "it is old")
	require.NoError(t, os.WriteFile(source, []byte("2"), 0o600))
	changed, err := once("b")
	require.NoError(t, err)
	require.NotEqual(t, other, changed)
	require.DirExists(t, other)

	_, err = Once("test", "", []string{source}, nil, func(string) error { return errors.New("broken") })
	require.EqualError(t, err, "broken")
	_, err = Once("test", "", []string{source + "x"}, nil, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}
