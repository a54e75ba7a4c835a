package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// maxOfCaller is the maximum number of requests of one caller under way, and maxOfCallers that of all callers together. A
// Grafana dashboard sends one request for each panel at once. maxOfCallers is smaller than the number of requests that an
// API server handles at once, so that queries never cause a refusal of other requests, such as those of autoscalers.
const (
	maxOfCaller  = 50
	maxOfCallers = 150
)

// Queries serves the paths that clients such as Grafana and KEDA need for queries. Other paths answer 404: they show
// targets, flags and the configuration, which may contain secrets. caller returns the name of the user who sent a
// request.
//
// The requests of all callers share the turns of a, and one caller gets at most half of them. Further requests of a
// caller wait. A request answers 429 if its caller has 50 others under way, or all callers 150.
func (a *API) Queries(caller func(*http.Request) string) http.Handler {
	return &queriesHandler{api: a, caller: caller, each: max(1, cap(a.turns)/2), callers: map[string]*querying{}}
}

// queriesHandler is what Queries returns.
type queriesHandler struct {
	api    *API
	caller func(*http.Request) string
	each   int // maximum number of requests of a caller that run at a time

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
		"/rules", "/alerts", "/status/buildinfo": // Grafana reads these first
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
	// The body is read afterwards: a caller has no more bodies in memory than turns.
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

// enter counts a request. It returns false if there are too many.
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

// leave removes a request, and its caller after the last request.
func (q *queriesHandler) leave(name string, caller *querying) {
	q.mtx.Lock()
	defer q.mtx.Unlock()
	q.total--
	if caller.requests--; caller.requests == 0 {
		delete(q.callers, name)
	}
}
