package tsdb

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCodeLength(t *testing.T) {
	f := func(expr string, want int) {
		t.Helper()
		require.Equal(t, want, codeLength(expr, 100))
	}
	f(`up`, 2)
	f(`a{b="((("}`, 6)
	f(`"\"((" + 'x"' + `+"`\\` + 1", 12)
	f(`"never ends`, 1)
	f(strings.Repeat("(", 1000), 101)
}

// What is in quotes does not nest: a query may name thousands of pods, in whichever way it is asked.
func TestExpressionsThatAreTooMuch(t *testing.T) {
	db := openIn(t, t.TempDir())
	f := func(expr, want string) {
		t.Helper()
		_, err := db.Instant(t.Context(), expr, at(0), 0, nil)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, want)
	}
	f(`up{pod=~"`+strings.Repeat("pod-abcdef-12345|", 20_000)+`"}`, "")
	f(`up{pod=~"`+strings.Repeat("x", 600_000)+`"}`, "more than 524288: select by fewer values")
	f(strings.Repeat("(", 20_000)+"1"+strings.Repeat(")", 20_000), "more than 32768 bytes outside of quotes: split it")
	f(strings.Repeat("(", 10_000)+"1"+strings.Repeat(")", 10_000), "nests deeper than 500: split it")
	f(strings.Repeat("(", 500)+"1"+strings.Repeat(")", 500), "")
	f("rate(up[1m + 4m])", "")
	f("limitk(1, up)", "limitk() is experimental")
}

func TestBegin(t *testing.T) {
	db, err := Open(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	ctx, done, err := db.Begin(t.Context())
	require.NoError(t, err)
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	<-ctx.Done()
	select {
	case <-closed:
		t.Fatal("Close must wait")
	case <-time.After(100 * time.Millisecond):
	}
	done()
	require.NoError(t, <-closed)
	_, _, err = db.Begin(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	for _, err := range []error{second(db.Stats("__name__", 1)), second(db.BlockMetas()), second(db.ExemplarQuerier(t.Context()))} {
		require.ErrorIs(t, err, ErrClosed)
	}
}

func second[T any](_ T, err error) error { return err }
