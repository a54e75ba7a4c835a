package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/bench/skip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// demonstration runs the real demo, promlet and applications.
type demonstration struct {
	bin, temporary  string // directories
	securePort, web string
}

func build(t *testing.T) demonstration {
	t.Helper()
	d := demonstration{bin: t.TempDir(), temporary: t.TempDir()}
	d.web, _ = freeAddress(t.Context(), "127.0.0.1:0") // an error would show as the demo's
	api, _ := freeAddress(t.Context(), "127.0.0.1:0")
	_, d.securePort, _ = net.SplitHostPort(api)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", d.bin, ".", "../app", "../../../cmd/promlet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the build cache of `make build`
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return d
}

// command has its output in out.
func (d demonstration) command(t *testing.T, args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	out = &bytes.Buffer{}
	args = append([]string{"--promlet", filepath.Join(d.bin, "promlet"), "--app", filepath.Join(d.bin, "app"), "--manifests", "..",
		"--secure-port", d.securePort, "--web-listen-address", d.web}, args...)
	cmd = exec.CommandContext(t.Context(), filepath.Join(d.bin, "demo"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+d.temporary)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// running counts the processes of the demonstration.
func (d demonstration) running() (n int) {
	programs, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is right
	for _, program := range programs {
		if path, err := os.Readlink(program); err == nil && filepath.Dir(path) == d.bin {
			n++
		}
	}
	return n
}

func TestDemo(t *testing.T) {
	d := build(t)
	t.Run("shows values", func(t *testing.T) {
		cmd, out := d.command(t, "--seconds=20", "--rate=150")
		require.NoError(t, cmd.Run(), "%s", out)
		require.Contains(t, out.String(), "curl -sk https://127.0.0.1:"+d.securePort+"/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/sample-metrics-app/http_requests\n")
		require.Contains(t, out.String(), "promlet scrapes two applications that get 150 requests a second. It ends after 20 seconds.\nIts pages: http://"+d.web+"/.")
		for object, rate := range map[string]float64{"services/sample-metrics-app": 150, "pods/sample-metrics-app-1": 50, "pods/sample-metrics-app-2": 100} {
			lines := regexp.MustCompile(object+` +http_requests +([0-9.]+) +([0-9.]+) `).FindAllStringSubmatch(out.String(), -1)
			require.NotEmpty(t, lines, "%s", out)
			value, err := strconv.ParseFloat(lines[len(lines)-1][1], 64)
			require.NoError(t, err)
			require.InEpsilon(t, rate, value, 0.5, "%s", out) // a busy machine sends fewer
		}
		require.Regexp(t, `100 +\d replicas \(has 2, may 2-10\)`, out.String())
	})
	t.Run("takes other ports", func(t *testing.T) {
		for _, address := range []string{d.web, net.JoinHostPort("127.0.0.1", d.securePort)} {
			taken, err := net.Listen("tcp", address)
			require.NoError(t, err)
			defer func() { require.NoError(t, taken.Close()) }()
		}
		cmd, out := d.command(t, "--seconds=15")
		require.NoError(t, cmd.Run(), "%s", out)
		took := regexp.MustCompile(`^Port (\d+) is taken: (\S+) is used in its place.\nPort (\d+) is taken: (\S+) is used in its place.\n`).FindStringSubmatch(out.String())
		require.Len(t, took, 5, "%s", out)
		_, web, _ := net.SplitHostPort(d.web)
		require.Equal(t, []string{d.securePort, web}, []string{took[1], took[3]})
		require.Contains(t, out.String(), "curl -sk https://"+took[2]+"/apis/")
		require.Contains(t, out.String(), "Its pages: http://"+took[4]+"/.")
		require.Regexp(t, `100 +\d replicas \(has 2, may 2-10\)`, out.String())
	})
	t.Run("says why a child ended", func(t *testing.T) {
		cmd, out := d.command(t, "--promlet", filepath.Join(d.bin, "demo")) // which knows no such flag
		require.Error(t, cmd.Run())
		require.Contains(t, out.String(), "ended early (exit status 1); its output:\n")
	})
	left, err := os.ReadDir(d.temporary)
	require.NoError(t, err)
	require.Empty(t, left)
	t.Run("leaves no child", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			skip.Test(t, "That make run leaves no process", "run on Linux, where /proc counts them")
		}
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGKILL} {
			cmd, out := d.command(t)
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool { return d.running() == 4 }, time.Minute, 10*time.Millisecond, "%s", out)
			require.NoError(t, cmd.Process.Signal(signal))
			_ = cmd.Wait() // the signal came before the HPA had a value
			require.Eventually(t, func() bool { return d.running() == 0 }, 15*time.Second, 10*time.Millisecond, "after %s", signal)
		}
	})
}
