package manifests

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/objects"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// load returns a Store of the objects of YAML texts.
func load(t *testing.T, texts ...string) *objects.Store {
	t.Helper()
	var files []*file
	for i, text := range texts {
		found, problems := parse("test.yaml", []byte(text), slog.New(slog.DiscardHandler))
		for _, p := range problems {
			require.NoError(t, p.err, "text %d, line %d", i, p.line)
		}
		files = append(files, &file{path: fmt.Sprintf("%03d.yaml", i), objects: found})
	}
	set, problems := assemble(files)
	require.Empty(t, problems)
	s := objects.NewStore()
	set.store(s)
	return s
}

func indexer(s *objects.Store, resource string) cache.Indexer {
	i, _ := s.Indexer(schema.ParseGroupResource(resource))
	return i
}
