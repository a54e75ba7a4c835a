// Package upstream builds a real Prometheus to compare with, of the version in bench/prometheus, and runs it. Tests
// use it; promlet does not.
package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/promlet/promlet/bench/internal/build"
)

// Binaries are the paths of Prometheus's programs.
type Binaries struct{ Prometheus, Promtool string }

// Build builds the module in a directory, bench/prometheus, which takes minutes the first time, and keeps the programs
// in the user's cache directory. Processes may build side by side: one does, the others wait.
func Build(ctx context.Context, module string) (Binaries, error) {
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	dir, err := build.Once("prometheus", "", files, nil, func(dir string) error { return compile(ctx, module, dir) })
	if err != nil {
		return Binaries{}, fmt.Errorf("build Prometheus: %w", err)
	}
	return Binaries{Prometheus: filepath.Join(dir, "prometheus"), Promtool: filepath.Join(dir, "promtool")}, nil
}

// compile builds without the assets of Prometheus's web pages, which are not in its module.
func compile(ctx context.Context, module, dir string) error {
	const commands = "github.com/prometheus/prometheus/cmd/"
	cmd := exec.CommandContext(ctx, "go", "-C", module, "build", "-ldflags", "-s -w", "-o", dir+string(filepath.Separator), commands+"prometheus", commands+"promtool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// startTime is how long a Prometheus may take to be ready.
const startTime = time.Minute

// Start runs a Prometheus with a configuration file, a data directory and more flags, and returns its URL once it is
// ready. It listens on loopback, at a port of its choice. stop ends it.
func Start(ctx context.Context, binary, config, dir string, flags ...string) (url string, stop func(), err error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, append([]string{
		"--config.file=" + config, "--storage.tsdb.path=" + dir, "--web.listen-address=127.0.0.1:0",
	}, flags...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	address, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		listening := regexp.MustCompile(`Listening on.* address=(\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil && len(address) == 0 {
				address <- "http://" + m[1]
			}
		}
	}()
	stop = func() {
		_ = cmd.Process.Kill() // it may have ended
		<-read
		_ = cmd.Wait() // it was killed
	}
	select {
	case url = <-address:
	case <-time.After(startTime):
		stop()
		return "", nil, errors.New("start Prometheus: it does not listen")
	}
	if err := waitReady(ctx, url); err != nil {
		stop()
		return "", nil, err
	}
	return url, stop, nil
}

func waitReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/-/ready", http.NoBody)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		if err := response.Body.Close(); err == nil && response.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("start Prometheus: it does not get ready")
}
