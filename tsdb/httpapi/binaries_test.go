package httpapi

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
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

	"github.com/promlet/promlet/tsdb"
)

// upstream is the module that has Prometheus and promtool.
const upstream = "../../bench/prometheus"

// binaries builds Prometheus and promtool, which takes minutes the first time, and keeps them in the user's
// cache directory.
func binaries(t *testing.T) (prometheus, promtool string) {
	t.Helper()
	hash := sha256.New()
	hash.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(upstream, name))
		require.NoError(t, err)
		hash.Write(content)
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	parent := filepath.Join(cache, "promlet", "prometheus")
	dir := filepath.Join(parent, hex.EncodeToString(hash.Sum(nil)[:8]))
	require.NoError(t, os.MkdirAll(parent, 0o755))
	// Test packages run side by side, and one build is enough.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	require.NoError(t, err)
	defer lock.Close() // unlocks
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if _, err := os.Stat(dir); err != nil {
		build(t, dir)
	}
	return filepath.Join(dir, "prometheus"), filepath.Join(dir, "promtool")
}

// build is without the assets of Prometheus's web pages, which are not in its module.
func build(t *testing.T, dir string) {
	t.Helper()
	temporary := dir + ".tmp"
	require.NoError(t, os.MkdirAll(temporary, 0o755))
	commands := "github.com/prometheus/prometheus/cmd/"
	cmd := exec.Command("go", "-C", upstream, "build", "-ldflags", "-s -w", "-o", temporary, commands+"prometheus", commands+"promtool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Rename(temporary, dir))
}

// prometheusOn gives the address of a Prometheus on a directory, with the limits that the database has.
func prometheusOn(t *testing.T, binary, dir string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(config, nil, 0o644))
	cmd := exec.Command(binary, "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address=127.0.0.1:0",
		"--storage.tsdb.retention.time=100y", "--query.max-samples="+strconv.Itoa(tsdb.DefaultMaxSamples),
		"--query.timeout="+tsdb.DefaultQueryTimeout.String())
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		listening := regexp.MustCompile(`Listening on.* address=(\S+)`)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- "http://" + m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	var server string
	select {
	case server = <-address:
	case <-time.After(time.Minute):
		t.Fatal("Prometheus does not listen")
	}
	require.Eventually(t, func() bool {
		response, err := http.Get(server + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond)
	return server
}
