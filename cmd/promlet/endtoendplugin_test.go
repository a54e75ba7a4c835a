package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/cmd/promlet/internal/client"
)

// plugin runs promlet through kubectl, as a person who may view one namespace.
func (e *endToEnd) plugin(t *testing.T, viewer string) {
	binary, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(binary, filepath.Join(bin, client.PluginName)))
	as := func(kubeconfig string, args ...string) (string, error) {
		cmd := controlplane.Kubectl(t.Context(), e.binary, kubeconfig, append([]string{"promlet"}, args...)...)
		cmd.Env = append(cmd.Env, asPromlet+"=1", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	show := func(out string, args []string) { t.Logf("kubectl promlet %s\n%s", strings.Join(args, " "), out) }
	f := func(want []string, args ...string) {
		t.Helper()
		e.eventually(t, strings.Join(args, " "), func(context.Context) error {
			out, err := as(viewer, args...)
			for _, text := range want {
				if !strings.Contains(out, text) {
					err = errors.Join(err, fmt.Errorf("it does not say %q: %w", text, errNotYet))
				}
			}
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			show(out, args)
			return nil
		})
	}
	f([]string{"kubectl promlet COMMAND [flags]", "top ", "metrics ", "explain ", "hpa "})
	f([]string{"queue_length", "pods", "external"}, "metrics", "queue_")
	f([]string{"OBJECT", "services/queue ", "pods/odd-", " 30 "}, "top", "queue_length", "-n", "absences")
	f([]string{"LABELS", `{queue="orders"}   30 `}, "top", "--external", "queue_length", "-n", "absences")
	f([]string{"shop ", "Deployment/idle", "no value", "absences/shop: no monitor selects the Service"}, "hpa", "-n", "absences")

	g := func(want string, args ...string) {
		t.Helper()
		out, err := as(viewer, args...)
		require.Error(t, err, out)
		require.Contains(t, out, want)
		show(out, args)
	}
	g("the closest is ServiceMonitor shop", "explain", "services/shop", "http_requests", "-n", "absences")
	g("the closest is ServiceMonitor shop", "explain", "hpa/shop", "-n", "absences")
	g("no value: the server could not find the metric http_requests for services shop: no monitor selects the Service", "top", "services/shop", "http_requests", "-n", "absences")
	g(`cannot get resource "services/http_requests" in API group "custom.metrics.k8s.io" in the namespace "decoy"`, "top", "services", "http_requests", "-n", "decoy")
	g(`cannot list resource "namespaces" in API group "" at the cluster scope: give --namespace instead`, "top", "http_requests", "-A")
	g("unknown resource gadgets", "top", "gadgets", "http_requests", "-n", "absences")

	args := []string{"top", "http_requests", "-A", "--sort-by", "value"}
	e.eventually(t, "an administrator sees all namespaces", func(context.Context) error {
		out, err := as(e.kubeconfig, args...)
		if err != nil || !strings.Contains(out, "default     services/sample-metrics-app") {
			return fmt.Errorf("%s: %w", out, errors.Join(err, errNotYet))
		}
		show(out, args)
		return nil
	})
}
