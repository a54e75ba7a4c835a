package scraping

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// body is what a target answers, in Prometheus's text format.
type body struct {
	series int
	text   []byte
	// kept are the names of 1 % of the series: what an HPA reads.
	kept []string
}

// newBody makes the body of the first so many series of a node exporter's and a
// kube-apiserver's body, in this order.
func newBody(testdata string, series int) (*body, error) {
	b := &body{series: series}
	found, counts := map[string]bool{}, map[string]int{} // by name
	for _, file := range []string{"node_exporter.txt.gz", "kube-apiserver.txt.gz"} {
		text, err := unzip(filepath.Join(testdata, file))
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			if len(found) == series {
				break
			}
			if line[0] != '#' {
				of := string(line[:bytes.LastIndexByte(line, ' ')])
				if found[of] {
					continue // both have it
				}
				found[of] = true
				counts[of[:strings.IndexAny(of+"{", "{")]]++
			}
			b.text = append(b.text, line...)
		}
	}
	if len(found) < series {
		return nil, fmt.Errorf("the exporters have %d series only", len(found))
	}
	var err error
	b.kept, err = onePercent(counts, series/100)
	return b, err
}

func unzip(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	z, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("unzip %s: %w", path, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unzip %s: %w", path, err)
	}
	return text, nil
}

// onePercent returns names of counters that have so many series together: those with
// most series first.
func onePercent(counts map[string]int, series int) ([]string, error) {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var kept []string
	for _, name := range names {
		if n := counts[name]; n <= series && strings.HasSuffix(name, "_total") {
			kept, series = append(kept, name), series-n
		}
	}
	if series > 0 {
		return nil, fmt.Errorf("the counters leave %d of the series to keep", series)
	}
	return kept, nil
}
