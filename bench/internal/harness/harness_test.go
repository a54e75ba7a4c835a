package harness

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const soon = 30 * time.Second

// TestMain lets the test binary be the children.
func TestMain(m *testing.M) {
	if IsChild() {
		Main(echoes())
		return
	}
	switch os.Args[len(os.Args)-1] {
	case "waits":
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		fmt.Println("here")
		<-terminated
	case "exits":
		fmt.Println("the reason")
		os.Exit(3)
	default:
		goleak.VerifyTestMain(m)
	}
}

// echoes is a command with a child that repeats what it is asked after its setup.
func echoes() Command {
	return Command{
		Name: "echoes", Limit: soon,
		Flags: func(flags *flag.FlagSet) { flags.Bool("loudly", false, "") },
		Run: func(ctx context.Context, _ io.Writer) error {
			if _, bounded := ctx.Deadline(); !bounded {
				return errors.New("it has no limit")
			}
			return nil
		},
		Child: func(_ context.Context, setup []byte) (Child, error) {
			e := &echo{}
			return e, json.Unmarshal(setup, &e.before)
		},
	}
}

type echo struct{ before string }

func (e *echo) Answer(line string) (any, error) {
	if line == "fail" {
		return nil, errors.New("as it was told")
	}
	return []string{e.before, line}, nil
}

func (e *echo) Close() error { return errors.New("closed") }

func TestChild(t *testing.T) {
	p, err := StartChild(t.Context(), "echoes", "echo", "well")
	require.NoError(t, err)
	require.Positive(t, p.Before.Heap)
	var answer []string
	require.NoError(t, p.Ask("hello", &answer))
	require.Equal(t, []string{"well", "hello"}, answer)
	require.ErrorContains(t, p.Ask("hello", new(int)), "read answer of echo: ")
	cpu, err := p.CPU()
	require.NoError(t, err)
	require.Positive(t, cpu)
	for _, read := range []func() (Usage, error){p.Use, p.Held} {
		u, err := read()
		require.NoError(t, err)
		require.GreaterOrEqual(t, u.CPU, cpu)
		require.Greater(t, u.Allocations, p.Before.Allocations)
		require.Greater(t, u.Allocated, p.Before.Allocated)
		require.Positive(t, u.Stacks)
	}
	require.EqualError(t, p.Stop(), "end echo: exit status 1", "it could not be closed")
	require.ErrorContains(t, p.Ask("hello", &answer), "ask echo: ")
	_, err = StartChild(t.Context(), "echoes", "echo", 7)
	require.ErrorContains(t, err, "echo does not answer: ")
}

func TestChildEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := StartChild(ctx, "echoes", "echo", "")
	require.NoError(t, err)
	cancel()
	require.Error(t, p.cmd.Wait())
}

func TestServe(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		require.ErrorContains(t, serve(t.Context(), strings.NewReader(in), io.Discard, echoes().Child), want)
	}
	f("", "read setup: EOF")
	f("7\n", "cannot unmarshal number")
	f("\"\"\nfail\n", "fail: as it was told")
	f("\"\"\n", "closed")
}

func TestCommands(t *testing.T) {
	other := Command{Name: "other", Limit: soon, Run: func(context.Context, io.Writer) error { return errors.New("broken") }}
	both := []Command{echoes(), other}
	require.NoError(t, run(t.Context(), []string{"echoes", "--loudly"}, both))
	require.NoError(t, run(t.Context(), []string{"--loudly"}, both[:1]), "the only command need not be named")
	require.ErrorIs(t, run(t.Context(), []string{"other", "--help"}, both), flag.ErrHelp)
	require.EqualError(t, run(t.Context(), []string{"other"}, both), "other: broken")
	require.EqualError(t, run(t.Context(), []string{"none"}, both), "choose a command: echoes, other")
	require.EqualError(t, run(t.Context(), nil, both), "choose a command: echoes, other")
}

func start(t *testing.T, argument string) *Program {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	p, err := StartProgram("child", exec.CommandContext(context.WithoutCancel(t.Context()), path, argument), filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { p.Stop(soon) })
	return p
}

func TestProgram(t *testing.T) {
	p := start(t, "waits")
	here := func(context.Context) error {
		if text, err := os.ReadFile(p.log.Name()); err != nil || string(text) != "here\n" {
			return fmt.Errorf("not yet: %w", err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	require.NoError(t, p.Wait(ctx, time.Millisecond, here))
	require.NoError(t, p.Ended())
	require.NoError(t, syscall.Kill(p.PID(), 0))
	p.Stop(soon)
	require.ErrorIs(t, syscall.Kill(p.PID(), 0), syscall.ESRCH)
	require.EqualError(t, p.Ended(), "child has ended (exit status 0): the last lines of "+p.log.Name()+":\nhere\n")
	p.Stop(soon)
}

func TestProgramThatEnds(t *testing.T) {
	p := start(t, "exits")
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	err := p.Wait(ctx, time.Millisecond, func(context.Context) error { return errors.New("not ready") })
	require.EqualError(t, err, "child has ended (exit status 3): the last lines of "+p.log.Name()+":\nthe reason\n")
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p := start(t, "waits")
	ctx, cancel := context.WithCancel(t.Context())
	err := p.Wait(ctx, time.Hour, func(context.Context) error { cancel(); return errors.New("not ready") })
	require.ErrorContains(t, err, "wait for child: not ready: the last lines of ")
}

func TestNoSuchProgram(t *testing.T) {
	none := exec.CommandContext(t.Context(), "/no/such/file")
	_, err := StartProgram("child", none, filepath.Join(t.TempDir(), "log"))
	require.ErrorContains(t, err, "start child: ")
	_, err = StartProgram("child", none, filepath.Join(t.TempDir(), "no", "log"))
	require.ErrorContains(t, err, "no/log")
	(*Program)(nil).Stop(soon)
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0.004: "0.00", 1.234: "1.23", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 123.4: "123", 1234567: "1,234,567", -12.34: "-12.3",
	} {
		require.Equal(t, want, Figure(v))
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, Table(&out, [][]string{{"", "ours", "theirs"}, {"cost in µs", "1", "20"}, {"more", "300", "4"}}))
	require.Equal(t, "              ours  theirs\n  cost in µs     1      20\n  more         300       4\n", out.String())
}

func TestVerdict(t *testing.T) {
	var v Verdict
	v.Expect(true, "nothing")
	require.Equal(t, "it holds", v.String())
	v.Expect(false, "%d", 1)
	v.Expect(false, "two")
	require.Equal(t, "missed: 1; two", v.String())
}

func TestQuantile(t *testing.T) {
	sorted := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
	for q, want := range map[float64]time.Duration{0: time.Second, 0.5: 2 * time.Second, 0.75: 3 * time.Second, 1: 4 * time.Second} {
		require.Equal(t, want, Quantile(sorted, q))
	}
	require.Equal(t, time.Second, Quantile(sorted[:1], 0.99))
	require.Zero(t, Quantile(nil, 0.5))
}

func TestCPUTime(t *testing.T) {
	before := cpuTime()
	require.Positive(t, before)
	require.Eventually(t, func() bool { return cpuTime() > before }, soon, time.Millisecond)
}

// Targets answer compressed where that is asked for; a dialer leads there from any address.
func TestWriteMetrics(t *testing.T) {
	text := []byte("up 1\n")
	reports := make(chan bool, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reports <- WriteMetrics(w, r, text, Zip(text))
	}))
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DialContext: DialTo(s.Listener.Addr().String())}}
	defer client.CloseIdleConnections()
	for _, encoding := range []string{"gzip", "identity"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://10.244.0.1:9090/metrics", nil)
		require.NoError(t, err)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := client.Do(req)
		require.NoError(t, err)
		var from io.Reader = resp.Body
		if encoding == "gzip" {
			from, err = gzip.NewReader(resp.Body)
			require.NoError(t, err)
		}
		got, err := io.ReadAll(from)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, text, got)
		require.Equal(t, encoding == "gzip", <-reports)
	}
}

func TestSleep(t *testing.T) {
	require.NoError(t, Sleep(t.Context(), time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Sleep(ctx, time.Hour), context.Canceled)
}
