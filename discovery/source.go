package discovery

import (
	"context"

	"github.com/promlet/promlet/discovery/objects"
)

// Source fills an objects.Store and says when it has changed. cluster.Source and
// manifests.Source are two; a program may bring its own, which fills what
// [objects.Store.Indexer] returns.
//
// Objects must be complete, as an API server returns them: each has a name and, where it is
// namespaced, a namespace, and a targetRef of an EndpointSlice has kind, namespace and name.
// Namespaces need objects only where something selects them by their labels. Who has many
// objects passes each through [objects.Trim] first.
type Source interface {
	// Run fills store until ctx is done, and then stops all it has started and
	// returns nil. It calls changed, which never blocks, after every change that
	// may matter to targets and when HasSynced has become true. An error means
	// that it cannot go on.
	Run(ctx context.Context, store *objects.Store, changed func()) error
	// HasSynced reports whether all objects there are have been put into the Store
	// once; from then on it stays true.
	HasSynced() bool
	// Problems returns what keeps the source from knowing the objects as they are
	// now: one line each, sorted; none when all is well.
	Problems() []string
}
