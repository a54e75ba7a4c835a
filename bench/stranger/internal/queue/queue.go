// Package queue has a Provider of one metric of one pod.
package queue

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/tsdb"
)

// Queue is a Provider of the metric queue_depth of the pod default/worker-1, and what it stands on.
type Queue struct {
	Provider *adapter.Provider
	db       *tsdb.DB
}

// Open makes a Queue of depth config.Number.
func Open(config instance.Config) (*Queue, error) {
	db, err := tsdb.Open(tsdb.Options{Dir: config.Dir})
	if err != nil {
		return nil, err
	}
	appender := db.AppenderV2(context.Background())
	series := labels.FromStrings("__name__", "queue_depth", "namespace", "default", "pod", "worker-1")
	if _, err := appender.Append(0, series, 0, time.Now().UnixMilli(), config.Number, nil, nil, storage.AOptions{}); err != nil {
		return nil, err
	}
	if err := appender.Commit(); err != nil {
		return nil, err
	}
	pods := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	if err := pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Namespace: "default"}}); err != nil {
		return nil, err
	}
	p, err := adapter.NewProvider(adapter.Options{
		DB:         db,
		Registerer: config.Registry,
		Objects: func(resource schema.GroupResource) (cache.GenericLister, bool) {
			return cache.NewGenericLister(pods, resource), resource.Resource == "pods"
		},
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Queue{Provider: p, db: db}, nil
}

// Close unregisters the Provider's metrics and closes the database.
func (q *Queue) Close() error {
	q.Provider.Close()
	return q.db.Close()
}
