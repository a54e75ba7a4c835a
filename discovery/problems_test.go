package discovery

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestProblems(t *testing.T) {
	var log logBuffer
	p := newProblems(log.logger(), "trouble")
	require.Empty(t, p.list())
	p.set("list pods", nil)
	require.Empty(t, log.String(), "all is well, as before")

	p.set("watch pods", errors.New("read tcp 127.0.0.1:40000: reset"))
	p.set("watch pods", errors.New("read tcp 127.0.0.1:40001: reset"))
	require.Equal(t, 1, log.count("level=WARN"), "the same trouble again")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	p.set("watch pods", forbidden)
	require.Equal(t, 2, log.count("level=WARN"), "trouble of another nature")
	p.set("list nodes", forbidden)
	require.Equal(t, []string{
		"list nodes: pods is forbidden: no",
		"watch pods: pods is forbidden: no",
	}, p.list())

	p.clear("pods")
	require.Len(t, p.list(), 1, "what is not tried any more is no problem")
	p.set("list nodes", nil)
	p.set("list nodes", nil)
	require.Empty(t, p.list())
	require.Equal(t, 1, log.count(`msg="trouble is over" attempt="list nodes"`))
}

func TestExpiredIsNoProblem(t *testing.T) {
	require.True(t, expired(apierrors.NewResourceExpired("too old")))
	require.True(t, expired(apierrors.NewGone("gone"))) //nolint:staticcheck // API servers still say it
	require.False(t, expired(nil))
	require.False(t, expired(errors.New("connection refused")))
}
