package objects_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/objects"
)

func TestProblems(t *testing.T) {
	var log runtest.LogBuffer
	p := objects.NewProblems(log.Logger(), "trouble")
	require.Empty(t, p.List())
	p.Set("list pods", nil)
	require.Empty(t, log.String(), "all is well, as before")

	p.Set("watch pods", errors.New("read tcp 127.0.0.1:40000: reset"))
	p.Set("watch pods", errors.New("read tcp 127.0.0.1:40001: reset"))
	require.Equal(t, 1, log.Count("level=WARN"), "the same trouble again")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	p.Set("watch pods", forbidden)
	require.Equal(t, 2, log.Count("level=WARN"), "trouble of another nature")
	p.Set("list nodes", forbidden)
	require.Equal(t, []string{
		"list nodes: pods is forbidden: no",
		"watch pods: pods is forbidden: no",
	}, p.List())

	p.Forget("pods")
	require.Len(t, p.List(), 1, "what is not tried any more is no problem")
	p.Set("list nodes", nil)
	p.Set("list nodes", nil)
	require.Empty(t, p.List())
	require.Equal(t, 1, log.Count(`msg="trouble is over" problem="list nodes"`))
}

// A source that knows all its problems at once gives them as lines.
func TestProblemsReplaced(t *testing.T) {
	var log runtest.LogBuffer
	p := objects.NewProblems(log.Logger(), "trouble")
	p.Replace([]string{"b.yaml:1: no kind", "a.yaml: gone"})
	p.Replace([]string{"b.yaml:1: no kind", "b.yaml:2: no name"})
	require.Equal(t, []string{"b.yaml:1: no kind", "b.yaml:2: no name"}, p.List())
	require.Equal(t, 3, log.Count("level=WARN"))
	require.Equal(t, 1, log.Count("level=INFO"))
	require.Equal(t, 1, log.Count(`msg="trouble is over" problem="a.yaml: gone"`))
	p.Replace(nil)
	require.Empty(t, p.List())
}
