package scraping

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/promlet/promlet/bench/internal/harness"
)

// The lines that the server is sent. It answers each with its state.
const (
	askState = "state"
	// askClose has idle connections closed, and from then on each one after its answer.
	askClose = "close"
	// askPlain has nothing compressed any more, whatever is asked for.
	askPlain = "plain"
)

// state is what the server reports of itself.
type state struct {
	Address string
	Begun   int64 // requests
	Zipped  int64 // answers that were compressed
}

// server is all targets: it answers every request with the same body.
type server struct {
	*httptest.Server
	text, zipped []byte

	begun, zippedAnswers atomic.Int64
	plain                atomic.Bool
}

// startServer serves the body that is the setup.
func startServer(_ context.Context, text []byte) (harness.Child, error) {
	s := &server{}
	if err := json.Unmarshal(text, &s.text); err != nil {
		return nil, err
	}
	s.zipped = harness.Zip(s.text)
	s.Server = httptest.NewServer(s)
	return s, nil
}

// Answer obeys, and returns the state.
func (s *server) Answer(line string) (any, error) {
	switch line {
	case askState:
	case askClose:
		s.Config.SetKeepAlivesEnabled(false)
	case askPlain:
		s.plain.Store(true)
	default:
		return nil, errors.New("unknown command")
	}
	return state{Address: s.Listener.Addr().String(), Begun: s.begun.Load(), Zipped: s.zippedAnswers.Load()}, nil
}

// Close ends the server, and closes all connections.
func (s *server) Close() error {
	s.CloseClientConnections()
	s.Server.Close()
	return nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.begun.Add(1)
	if s.plain.Load() {
		r.Header.Del("Accept-Encoding")
	}
	if harness.WriteMetrics(w, r, s.text, s.zipped) {
		s.zippedAnswers.Add(1)
	}
}
