// Package upstream builds real engines to compare with, and runs them: the Prometheus of bench/prometheus, the
// VictoriaMetrics of bench/victoriametrics and the Thanos of bench/thanos. It also builds the Helm of bench/helm. Tests and
// benchmarks use it; promlet does not.
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
	return goBuild(ctx, module, dir, nil, commands+"prometheus", commands+"promtool")
}

// goBuild builds programs of a module to a directory. It adds variables to the environment.
func goBuild(ctx context.Context, module, dir string, environment []string, programs ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"-C", module, "build", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}, programs...)...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Start runs a Prometheus with a configuration file, a data directory and more flags, and returns its URL once it is
// ready. It listens on loopback, at a port of its choice. stop ends it.
func Start(ctx context.Context, binary, config, dir string, flags ...string) (url string, stop func(), err error) {
	return start(ctx, regexp.MustCompile(`Listening on.* address=(\S+)`), "/-/ready", binary, append([]string{
		"--config.file=" + config, "--storage.tsdb.path=" + dir, "--web.listen-address=127.0.0.1:0",
	}, flags...)...)
}

// startTime is how long a program may take to be ready.
const startTime = time.Minute

// start runs a program that logs its address, and returns its URL once a path of it answers.
func start(ctx context.Context, listening *regexp.Regexp, ready, binary string, flags ...string) (url string, stop func(), err error) {
	name := filepath.Base(binary)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, flags...)
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
		return "", nil, fmt.Errorf("start %s: it does not listen", name)
	}
	if err := waitReady(ctx, url+ready); err != nil {
		stop()
		return "", nil, fmt.Errorf("start %s: %w", name, err)
	}
	return url, stop, nil
}

func waitReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
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
	return errors.New("it does not get ready")
}
