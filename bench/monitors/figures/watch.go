package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// serveWatch streams events until the client, its timeout or ctx ends it. An error is
// returned only when nothing has been written.
func (s *apiServer) serveWatch(ctx context.Context, w http.ResponseWriter, r *http.Request, st *store, f format) error {
	query, ns := r.URL.Query(), r.PathValue("namespace")
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err == nil {
		timed, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
		ctx = timed
	}
	out := watcher{codec: s.codec, kind: st.apiKind, format: f, w: w, flush: http.NewResponseController(w).Flush}
	s.mtx.Lock()
	initial, version, next := st.in(ns), s.version, len(st.events)
	s.mtx.Unlock()
	if query.Get("sendInitialEvents") != "true" {
		from, err := strconv.Atoi(query.Get("resourceVersion"))
		if err != nil {
			return errors.New("a watch needs a resource version or sendInitialEvents")
		}
		s.mtx.Lock()
		next = st.since(from)
		s.mtx.Unlock()
		initial = nil
	}
	w.Header().Set("Content-Type", f.watchContentType())
	if query.Get("sendInitialEvents") == "true" && out.begin(initial, version) != nil || out.flush() != nil {
		return nil // the client is gone
	}
	for {
		s.mtx.Lock()
		fresh, news := st.events[next:], st.news
		s.mtx.Unlock()
		for _, e := range fresh {
			if out.event(e.kind, e.object) != nil {
				return nil
			}
		}
		next += len(fresh)
		if len(fresh) > 0 && out.flush() != nil {
			return nil
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// watcher writes the events of one watch.
type watcher struct {
	codec  *codec
	kind   apiKind
	format format
	w      http.ResponseWriter
	flush  func() error
}

// begin sends what there is, and a bookmark that says it was all.
func (w *watcher) begin(objects []runtime.Object, version int) error {
	for _, object := range objects {
		if err := w.event(watch.Added, object); err != nil {
			return err
		}
	}
	bookmark, err := w.codec.bookmark(w.kind, strconv.Itoa(version))
	if err != nil {
		return err
	}
	return w.event(watch.Bookmark, bookmark)
}

func (w *watcher) event(kind watch.EventType, object runtime.Object) error {
	raw, err := w.codec.object(w.format, object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", w.kind.kind, err)
	}
	frame, err := w.format.frame(&metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: raw}})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = w.w.Write(frame)
	return err
}
