package answers

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"
)

// question is a request, and what its answer must be.
type question struct {
	name     string
	path     string
	accept   string // media type
	status   int
	expected bool // that marks hold for it
	// revalidates has the answer asked for only if it is another than the last.
	revalidates bool
	// check tells what is wrong with an answer.
	check func(text []byte) error
}

// client asks as kube-apiserver does: over one connection that it keeps, with HTTP/2 and
// its certificate.
type client struct {
	http *http.Client
	base string
}

func newClient(address string, certificate tls.Certificate) *client {
	return &client{base: "https://" + address, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		// Compressed answers are asked for, as by every Go program, and left compressed.
		DisableCompression: true,
		TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			// On loopback only: the server makes its certificate itself.
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, //nolint:gosec // see above
		},
	}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// answer is what came back. Its text is compressed if the server did so.
type answer struct {
	text    []byte
	encoded bool
	etag    string
	took    time.Duration
}

// plain returns the uncompressed text of the answer.
func (a answer) plain() ([]byte, error) {
	if !a.encoded {
		return a.text, nil
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(a.text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}

// ask returns an error for an answer of another status than the question's. tag is that
// of an answer known already.
func (c *client) ask(ctx context.Context, q question, tag string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+q.path, nil)
	if err != nil {
		return a, err
	}
	req.Header.Set("Accept", q.accept)
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Remote-User", caller)
	req.Header.Set("X-Remote-Group", callersGroup)
	want := q.status
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
		want = http.StatusNotModified
	}
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	if a.text, err = io.ReadAll(resp.Body); err != nil {
		return a, fmt.Errorf("read %s: %w", q.path, err)
	}
	a.took, a.etag = time.Since(began), resp.Header.Get("ETag")
	a.encoded = resp.Header.Get("Content-Encoding") == "gzip"
	if resp.StatusCode != want {
		return a, fmt.Errorf("%s: %s instead of %d: %.500s", q.path, resp.Status, want, a.text)
	}
	return a, nil
}

// verify asks once, checks the answer, and returns it; with its tag, and as it is when that
// is known, if the question revalidates.
func (c *client) verify(ctx context.Context, q question) (a answer, tag string, err error) {
	if a, err = c.ask(ctx, q, ""); err != nil {
		return a, "", err
	}
	text, err := a.plain()
	if err != nil {
		return a, "", fmt.Errorf("unzip %s: %w", q.path, err)
	}
	if err := q.check(text); err != nil {
		return a, "", fmt.Errorf("check %s: %w", q.path, err)
	}
	if !q.revalidates {
		return a, "", nil
	}
	if a.etag == "" {
		return a, "", fmt.Errorf("%s: the answer has no tag", q.path)
	}
	tag = a.etag
	a, err = c.ask(ctx, q, tag)
	return a, tag, err
}
