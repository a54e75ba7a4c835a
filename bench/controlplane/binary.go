package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// DefaultVersion is the version of Kubernetes that kube/go.mod asks for.
const DefaultVersion = "1.36.3"

// Versions are the versions of Kubernetes that Build knows; each has a
// kube/go-VERSION.mod, but for the default, which has kube/go.mod.
func Versions() []string { return []string{DefaultVersion, "1.35.4", "1.34.4"} }

// Build returns the path of the control plane's binary. It is compiled when
// there is none yet for this version, the module files and the toolchain, which
// takes minutes, and kept in the user's cache directory. What the go command
// says goes to output.
func Build(ctx context.Context, version string, output io.Writer) (string, error) {
	module, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	modfile := "go.mod"
	if version != DefaultVersion {
		modfile = "go-" + version + ".mod"
	}
	key, err := cacheKey(module, modfile, version)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("there is no control plane of Kubernetes %s: choose one of %s", version, strings.Join(Versions(), ", "))
	}
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the control plane: %w", err)
	}
	dir := filepath.Join(cache, "promlet", "controlplane")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("find a place for the control plane: %w", err)
	}
	binary := filepath.Join(dir, "kube-"+version+"-"+key)
	// Test packages run side by side, and one build is enough.
	unlock, err := lock(binary + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := compile(ctx, module, modfile, version, binary, output); err != nil {
		return "", err
	}
	return binary, removeOthers(dir, version, binary)
}

// moduleDir returns the directory of the nested module.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "github.com/promlet/promlet/bench/controlplane").Output()
	if err != nil {
		return "", fmt.Errorf("find the control plane's module: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "kube"), nil
}

// cacheKey is a hash of what a binary depends on.
func cacheKey(module, modfile, version string) (string, error) {
	hash := sha256.New()
	hash.Write([]byte(strings.Join([]string{runtime.Version(), runtime.GOOS, runtime.GOARCH, linkFlags(version)}, "\n")))
	for _, name := range []string{"main.go", modfile, strings.TrimSuffix(modfile, ".mod") + ".sum"} {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", fmt.Errorf("read the control plane's module: %w", err)
		}
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// linkFlags make it small, and say which version it is.
func linkFlags(version string) string {
	return "-s -w -X k8s.io/component-base/version.gitVersion=v" + version
}

func compile(ctx context.Context, module, modfile, version, binary string, output io.Writer) error {
	temporary := binary + ".tmp"
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile", modfile, "-ldflags", linkFlags(version), "-o", temporary, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the control plane in %s: %w", module, err)
	}
	if err := os.Rename(temporary, binary); err != nil {
		return fmt.Errorf("keep the control plane: %w", err)
	}
	return nil
}

// keepBuilds is how long a build that nobody made anew is kept: another checkout
// may use it.
const keepBuilds = 7 * 24 * time.Hour

// removeOthers removes old builds of a version: each is 130 MB.
func removeOthers(dir, version, binary string) error {
	builds, err := filepath.Glob(filepath.Join(dir, "kube-"+version+"-*"))
	if err != nil {
		return fmt.Errorf("list builds of the control plane: %w", err)
	}
	for _, build := range builds {
		info, err := os.Stat(build)
		if err != nil || strings.HasPrefix(build, binary) || filepath.Ext(build) == ".lock" || time.Since(info.ModTime()) < keepBuilds {
			continue
		}
		if err := os.Remove(build); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an old build of the control plane: %w", err)
		}
	}
	return nil
}

// lock waits until no other process holds the file.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the control plane's build: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the control plane's build: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}
