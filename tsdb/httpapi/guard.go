package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/promlet/promlet/tsdb"
)

// maxBody in bytes is more than the longest expression that the parser takes has, encoded.
const maxBody = 2 << 20

// maxSelectors is how many parameters match[] a request may have. Grafana sends one.
const maxSelectors = 100

// API serves everything below Prefix to callers who may see targets and flags. It limits the cost of all requests
// together, and refuses paths that are not served. It may be called from any goroutine, starts none of its own, and needs
// no closing.
type API struct {
	db    *tsdb.DB
	next  func() http.Handler
	turns chan struct{}
}

// newAPI leaves most of the engine's queries to others: dashboards of many panels must not make autoscalers wait, nor
// hold many large answers at once.
func newAPI(db *tsdb.DB, next func() http.Handler) *API {
	return &API{db: db, next: next, turns: make(chan struct{}, max(1, db.MaxConcurrency()/4))}
}

// notServed returns why a path below Prefix is not served, or nil.
func notServed(path string) error {
	switch strings.TrimPrefix(path, Prefix) {
	case "/read":
		return errors.New("remote reading is not served: use query_range")
	case "/write", "/otlp/v1/metrics":
		return errors.New("samples are scraped, not received")
	case "/openapi.yaml":
		return errors.New("this is the API of Prometheus: see its documentation")
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := notServed(r.URL.Path); err != nil {
		respondError(w, http.StatusNotFound, "not_found", err)
		return
	}
	// Whoever sends slowly takes nobody's turn.
	body, err := readBody(w, r)
	if err != nil {
		code := http.StatusBadRequest
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			code, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes: select by fewer values", tooLong.Limit)
		}
		respondError(w, code, "bad_data", err)
		return
	}
	// Waiting for a turn counts, as for the engine.
	ctx, cancel := context.WithTimeout(r.Context(), a.db.QueryTimeout())
	defer cancel()
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		respondError(w, http.StatusServiceUnavailable, "timeout",
			fmt.Errorf("too many requests at once: %d are worked on, none ended within %s", cap(a.turns), a.db.QueryTimeout()))
		return
	}
	if n := selectors(r, body); n > maxSelectors {
		respondError(w, http.StatusBadRequest, "bad_data", fmt.Errorf("%d selectors in match[], more than %d: ask in parts", n, maxSelectors))
		return
	}
	// While the database begins anew it finds nothing, which is no answer.
	if _, err := a.db.BlockMetas(); err != nil {
		respondError(w, http.StatusServiceUnavailable, "unavailable", err)
		return
	}
	a.next().ServeHTTP(w, r.WithContext(ctx))
}

// readBody reads all of it, so that one that is too long does not become a query that is too short.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// selectors counts the parameters match[] of a URL and a form.
func selectors(r *http.Request, body []byte) int {
	const parameter = "match[]"
	form, _ := url.ParseQuery(string(body)) // The API says what is wrong with it.
	return len(r.URL.Query()[parameter]) + len(form[parameter])
}

// respondError answers as Prometheus does.
func respondError(w http.ResponseWriter, code int, kind string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// Who is gone needs no answer.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": kind, "error": err.Error()})
}
