package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// headings returns the anchors of a document, as GitHub makes them of its headings.
func headings(t *testing.T, file string) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(prose(t, file), -1) {
		text := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors[strings.ReplaceAll(text, " ", "-")] = true
	}
	return anchors
}

// prose returns the text of a document without its blocks of code.
func prose(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(string(data), "")
}

// repositoryFiles returns the files of the repository with one of the extensions, without those of tests and of builds.
func repositoryFiles(t *testing.T, extensions ...string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "testdata"}, entry.Name()):
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains(extensions, filepath.Ext(path)) && !strings.HasSuffix(path, "_test.go"):
			files = append(files, path)
		}
		return nil
	}))
	require.NotEmpty(t, files)
	return files
}

// requireTarget fails unless there is what a link in a file leads to: a path from the file's directory, with or without an
// anchor.
func requireTarget(t *testing.T, file, link string) {
	t.Helper()
	path, anchor, hasAnchor := strings.Cut(link, "#")
	target := file
	if path != "" {
		target = filepath.Join(filepath.Dir(file), path)
	}
	info, err := os.Stat(target)
	require.NoError(t, err, "%s links to %s", file, link)
	if hasAnchor {
		require.False(t, info.IsDir(), "%s links to %s", file, link)
		require.True(t, headings(t, target)[anchor], "%s links to %s, which has no such heading", file, link)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	relative := regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	count := 0
	for _, file := range repositoryFiles(t, ".md") {
		for _, match := range relative.FindAllStringSubmatch(prose(t, file), -1) {
			if link := match[1] + match[2]; !strings.Contains(link, "://") {
				requireTarget(t, file, link)
				count++
			}
		}
	}
	require.Greater(t, count, 50)

	// What the product prints, and what is read outside of the repository, has whole URLs.
	absolute := regexp.MustCompile(`https://github\.com/promlet/promlet/(?:blob|tree)/main/([\w./#-]*[\w#-])`)
	count = 0
	for _, file := range repositoryFiles(t, ".md", ".yaml", ".yml", ".txt", ".tpl", ".go", ".json") {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range absolute.FindAllStringSubmatch(string(data), -1) {
			requireTarget(t, file, filepath.Join(strings.Repeat("../", strings.Count(file, "/")-1), match[1]))
			count++
		}
	}
	require.Greater(t, count, 10)
}

// A newcomer reads the README in a minute, and sees its pictures at once.
func TestReadmeIsShort(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(data), "\n"), 200)
	pictures, err := os.ReadDir("images")
	require.NoError(t, err)
	for _, picture := range pictures {
		info, err := picture.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(200<<10), picture.Name())
		require.Contains(t, string(data), "deploy/images/"+picture.Name())
	}
}

// Every document of the directory is in its index.
func TestIndexHasEveryDocument(t *testing.T) {
	index := prose(t, "README.md")
	files, err := filepath.Glob("*.md")
	require.NoError(t, err)
	for _, file := range files {
		if file != "README.md" {
			require.Contains(t, index, "| ["+file+"]("+file+") |")
		}
	}
}
