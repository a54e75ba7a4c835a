package adapter

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// brokenLister fails as a cache with a broken index does.
type brokenLister struct{}

func (brokenLister) List(apilabels.Selector) ([]runtime.Object, error) { return nil, errBroken }
func (brokenLister) Get(string) (runtime.Object, error)                { return nil, errBroken }
func (b brokenLister) ByNamespace(string) cache.GenericNamespaceLister { return b }

var errBroken = errors.New("the index is broken")

func TestListingThatFailsIsAFault(t *testing.T) {
	f := scenario(t)
	f.values.Objects.Lister = func(schema.GroupResource) (cache.GenericLister, bool) { return brokenLister{}, true }
	require.Contains(t, f.ask("default/pods/*/http_requests"), "500: ")
	require.Contains(t, f.ask("default/pods/sample-1/http_requests"), "the index is broken")
}

// Discovery never fails: it goes on with the list it had.
func TestListAllMetricsOutlivesTheStorage(t *testing.T) {
	f := scenario(t)
	before := f.ListAllMetrics()
	require.NotEmpty(t, before)
	require.NoError(t, f.db.Close())
	f.now = f.now.Add(20 * time.Second)
	require.Equal(t, before, f.ListAllMetrics())
	require.Contains(t, f.ask("default/pods/*/http_requests"), "500: ")
}

func TestNewProviderSaysWhatIsWrong(t *testing.T) {
	_, err := NewProvider(Options{})
	require.ErrorContains(t, err, "Objects, and DB or Engine, are required")
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	nothing := func(schema.GroupResource) (cache.GenericLister, bool) { return nil, false }
	_, err = NewProvider(Options{DB: db, Objects: nothing, Rules: rules.Set{Custom: []rules.Rule{{}, {SeriesQuery: `{a="b"}`}}}})
	require.ErrorContains(t, err, "rules[0]: ")
	require.ErrorContains(t, err, "rules[1]: ")
}
