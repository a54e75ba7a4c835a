package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	switch os.Args[len(os.Args)-1] {
	case "echoes":
		if err := Answer(os.Stdin, os.Stdout, echo); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
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

func echo(line string) (any, error) {
	if line == "fail" {
		return nil, errors.New("as it was told")
	}
	return []string{line}, nil
}

func TestSelf(t *testing.T) {
	s, err := StartSelf(t.Context(), "echo", "echoes")
	require.NoError(t, err)
	var answer []string
	require.NoError(t, s.Ask("hello", &answer))
	require.Equal(t, []string{"hello"}, answer)
	require.ErrorContains(t, s.Ask("hello", new(int)), "read answer of echo: ")
	require.NoError(t, s.Stop())
	require.ErrorContains(t, s.Ask("hello", &answer), "ask echo: ")

	s, err = StartSelf(t.Context(), "echo", "exits")
	require.NoError(t, err)
	require.Error(t, s.Ask("hello", &answer))
	require.EqualError(t, s.Stop(), "end echo: exit status 3")
}

func TestSelfEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := StartSelf(ctx, "echo", "echoes")
	require.NoError(t, err)
	cancel()
	require.Error(t, s.cmd.Wait())
}

func TestAnswer(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Answer(strings.NewReader("a\nb\n"), &out, echo))
	require.Equal(t, "[\"a\"]\n[\"b\"]\n", out.String())
	require.EqualError(t, Answer(strings.NewReader("fail\n"), io.Discard, echo), "fail: as it was told")
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

func TestCPUTime(t *testing.T) {
	before := CPUTime()
	require.Positive(t, before)
	require.Eventually(t, func() bool { return CPUTime() > before }, soon, time.Millisecond)
}

func TestSleep(t *testing.T) {
	require.NoError(t, Sleep(t.Context(), time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Sleep(ctx, time.Hour), context.Canceled)
}
