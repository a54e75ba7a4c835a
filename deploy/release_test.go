package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// On main everything names the coming version, which is the changelog's first.
func TestManifestsNameTheComingVersion(t *testing.T) {
	changelog, err := os.ReadFile("../CHANGELOG.md")
	require.NoError(t, err)
	heading := regexp.MustCompile(`(?m)^## (v\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$`).FindSubmatch(changelog)
	require.NotNil(t, heading)
	version := string(heading[1])

	deployment := find[appsv1.Deployment](t, read(t, "install.yaml"), "Deployment promlet/promlet")
	require.Equal(t, "ghcr.io/promlet/promlet:"+version, deployment.Spec.Template.Spec.Containers[0].Image)
	chart, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(chart), "\nversion: "+version[1:]+"\nappVersion: "+version[1:]+"\n")
	require.Contains(t, string(chart), " image: ghcr.io/promlet/promlet:"+version+"\n")
	for _, path := range []string{"README.md", filepath.Join(chartDir, "README.md")} {
		document, err := os.ReadFile(path)
		require.NoError(t, err)
		named := regexp.MustCompile(`(?:releases/download/|ghcr.io/promlet/[a-z-]+:|--version )v?(\d[^/\s`+"`"+`]*)`).FindAllSubmatch(document, -1)
		require.NotEmpty(t, named, path)
		for _, match := range named {
			require.Equal(t, version[1:], string(match[1]), "%s: %s", path, match[0])
		}
	}
}

// job is what a test reads of a workflow's job.
type job struct {
	Permissions map[string]string
	Steps       []struct{ Run string }
}

// A pull request cannot change which actions run, and only a tag's workflow gets a token to sign and publish with.
func TestWorkflows(t *testing.T) {
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	require.NoError(t, err)
	require.Len(t, paths, 2)
	pinned := regexp.MustCompile(`^\s*- uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, path := range paths {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(source)) {
			if strings.Contains(line, "uses:") {
				require.Regexp(t, pinned, strings.TrimSuffix(line, "\n"), path)
			}
		}
		var workflow struct {
			On          any `json:"true"` // YAML 1.1 reads the key so
			Permissions map[string]string
			Jobs        map[string]job
		}
		require.NoError(t, yaml.Unmarshal(source, &workflow))
		if filepath.Base(path) != "release.yml" {
			require.Equal(t, map[string]string{"contents": "read"}, workflow.Permissions, path)
			for name, job := range workflow.Jobs {
				require.Empty(t, job.Permissions, "%s: %s", path, name)
			}
			continue
		}
		require.Equal(t, map[string]any{"push": map[string]any{"tags": []any{"v*"}}}, workflow.On)
		require.Empty(t, workflow.Permissions)
		require.Equal(t, map[string]string{"contents": "read"}, workflow.Jobs["build"].Permissions)
		require.NotContains(t, workflow.Jobs["release"].Permissions, "id-token")
		require.NotContains(t, string(source), "cache: true", "what other workflows write is not built from")
	}
}
