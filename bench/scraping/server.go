package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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

// state is what the server says of itself.
type state struct {
	Address string
	Begun   int64 // requests
	Zipped  int64 // answers that were compressed
}

// server is all targets: it answers every request with the same body.
type server struct {
	text, zipped []byte
	address      string
	http         *http.Server

	begun, zippedAnswers atomic.Int64
	plain                atomic.Bool
}

// serve serves a body until in ends.
func serve(in io.Reader, out io.Writer, testdata string, series int) error {
	b, err := newBody(testdata, series)
	if err != nil {
		return err
	}
	s := &server{text: b.text}
	if s.zipped, err = zipped(b.text); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { served <- s.http.Serve(listener) })
	err = harness.Answer(in, out, s.answer)
	err = errors.Join(err, s.http.Close())
	wg.Wait()
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func zipped(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		return nil, fmt.Errorf("zip the body: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("zip the body: %w", err)
	}
	return b.Bytes(), nil
}

func (s *server) answer(line string) (any, error) {
	switch line {
	case askState:
	case askClose:
		s.http.SetKeepAlivesEnabled(false)
	case askPlain:
		s.plain.Store(true)
	default:
		return nil, errors.New("unknown command")
	}
	return state{Address: s.address, Begun: s.begun.Load(), Zipped: s.zippedAnswers.Load()}, nil
}

// ServeHTTP answers as promhttp does: compressed if that is asked for.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.begun.Add(1)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	text := s.text
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && !s.plain.Load() {
		w.Header().Set("Content-Encoding", "gzip")
		text = s.zipped
		s.zippedAnswers.Add(1)
	}
	_, _ = w.Write(text) // the client may be gone
}
