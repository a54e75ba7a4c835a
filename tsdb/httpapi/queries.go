package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// How many requests one caller, and all callers together, may have under way at a time. A dashboard of Grafana sends one
// for each panel at once. All together stay below what an API server answers at a time, so that requests for other
// paths, such as those of autoscalers, are never refused for them.
const (
	maxOfCaller  = 50
	maxOfCallers = 150
)

// Queries serves the paths that clients query with, such as Grafana and KEDA. The others answer 404: they show targets,
// flags, and the configuration, which may hold secrets. caller names who sent a request.
//
// The requests of all callers share the turns of a, and one caller has at most half of these. Further requests of a
// caller wait, and beyond 50 are refused.
func (a *API) Queries(caller func(*http.Request) string) http.Handler {
	return &queriesHandler{api: a, caller: caller, each: max(1, cap(a.turns)/2), callers: map[string]*querying{}}
}

// queriesHandler is what Queries returns.
type queriesHandler struct {
	api    *API
	caller func(*http.Request) string
	each   int // how many requests of a caller are worked on at a time

	mtx     sync.Mutex
	callers map[string]*querying // those that have requests under way
	total   int                  // requests under way
}

// querying is a caller that has requests under way.
type querying struct {
	requests int
	turns    chan struct{}
}

// servedToQueries reports whether Queries serves a path below Prefix.
func servedToQueries(path string) bool {
	switch path {
	case "/query", "/query_range", "/query_exemplars", "/format_query", "/parse_query", "/series", "/labels", "/metadata",
		"/rules", "/alerts", "/status/buildinfo": // what Grafana finds out first
		return true
	}
	label, ok := strings.CutPrefix(path, "/label/")
	return ok && strings.HasSuffix(label, "/values")
}

// ServeHTTP implements http.Handler.
func (q *queriesHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, Prefix)
	if !servedToQueries(path) {
		err := notServed(r.URL.Path)
		if err == nil {
			err = fmt.Errorf("%s is served on the web port only: use kubectl port-forward", path)
		}
		respondError(w, http.StatusNotFound, "not_found", err)
		return
	}
	name := q.caller(r)
	caller, ok := q.enter(name)
	if !ok {
		w.Header().Set("Retry-After", "1")
		respondError(w, http.StatusTooManyRequests, "unavailable",
			fmt.Errorf("too many requests at once: a caller may have %d, and all callers together %d: send fewer", maxOfCaller, maxOfCallers))
		return
	}
	defer q.leave(name, caller)
	// Before the body is read: a caller holds no more bodies than it has turns.
	ctx, cancel := context.WithTimeout(r.Context(), q.api.db.QueryTimeout())
	defer cancel()
	select {
	case caller.turns <- struct{}{}:
		defer func() { <-caller.turns }()
		q.api.ServeHTTP(w, r)
	case <-ctx.Done():
		respondError(w, http.StatusServiceUnavailable, "timeout",
			fmt.Errorf("too many of your requests at once: %d were running, and none ended within %s", q.each, q.api.db.QueryTimeout()))
	}
}

// enter counts a request, and reports false when there would be too many.
func (q *queriesHandler) enter(name string) (*querying, bool) {
	q.mtx.Lock()
	defer q.mtx.Unlock()
	caller := q.callers[name]
	if caller == nil {
		caller = &querying{turns: make(chan struct{}, q.each)}
	}
	if caller.requests == maxOfCaller || q.total == maxOfCallers {
		return nil, false
	}
	caller.requests++
	q.total++
	q.callers[name] = caller
	return caller, true
}

// leave forgets a request, and its caller with the last one.
func (q *queriesHandler) leave(name string, caller *querying) {
	q.mtx.Lock()
	defer q.mtx.Unlock()
	q.total--
	if caller.requests--; caller.requests == 0 {
		delete(q.callers, name)
	}
}
