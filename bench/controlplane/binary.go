package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/promlet/promlet/bench/internal/build"
)

// DefaultVersion is the version of Kubernetes that kube/go.mod asks for.
const DefaultVersion = "1.37.2"

// Versions are the versions of Kubernetes that Build knows; each has a
// kube/go-VERSION.mod, but for the default, which has kube/go.mod.
func Versions() []string { return []string{DefaultVersion, "1.36.3", "1.35.4"} }

// Build returns the path of the control plane's binary. It is compiled when
// there is none yet for this version, the module files and the toolchain, which
// takes minutes, and kept in the user's cache directory. What the go command
// says goes to output.
func Build(ctx context.Context, version string, output io.Writer) (string, error) {
	module, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	if !slices.Contains(Versions(), version) {
		return "", fmt.Errorf("there is no control plane of Kubernetes %s: choose one of %s", version, strings.Join(Versions(), ", "))
	}
	modfile := "go.mod"
	if version != DefaultVersion {
		modfile = "go-" + version + ".mod"
	}
	var files []string
	for _, name := range []string{"main.go", modfile, strings.TrimSuffix(modfile, ".mod") + ".sum"} {
		files = append(files, filepath.Join(module, name))
	}
	binary, err := build.Once("controlplane", "kube-"+version+"-", files, []string{linkFlags(version)}, func(path string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-modfile", modfile, "-ldflags", linkFlags(version), "-o", path, ".")
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
		cmd.Stdout, cmd.Stderr = output, output
		return cmd.Run()
	})
	if err != nil {
		return "", fmt.Errorf("build the control plane in %s: %w", module, err)
	}
	return binary, nil
}

// moduleDir returns the directory of the nested module.
func moduleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "github.com/promlet/promlet/bench/controlplane").Output()
	if err != nil {
		return "", fmt.Errorf("find the control plane's module: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "kube"), nil
}

// linkFlags make it small, and say which version it is.
func linkFlags(version string) string {
	return "-s -w -X k8s.io/component-base/version.gitVersion=v" + version
}
