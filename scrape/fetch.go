package scrape

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/config"
)

const (
	// maxDrain is how much of an answer is read for nothing, so that its
	// connection can be used again. Longer ones cost their connection.
	maxDrain = 64 << 10
	// maxContentType bounds what may come back in error messages.
	maxContentType = 1 << 10
)

// fetcher makes the requests of one job. It has no state per target.
type fetcher struct {
	client         *http.Client
	bodies         *bodies
	accept         string
	acceptEncoding string
	userAgent      string
	bodySizeLimit  int64
	fallbackType   string     // media type, "" for none
	gzips          *sync.Pool // of *gunzip
	filters        *filters
}

// gunzip is a reusable decompressor, some 50 KiB.
type gunzip struct {
	in  *bufio.Reader
	out *gzip.Reader
}

// newClient makes the HTTP client of a job. Errors are wrong settings, a file
// that cannot be read for example.
func newClient(cfg config_util.HTTPClientConfig, opts []config_util.HTTPClientOption) (*http.Client, error) {
	policy := redirectPolicy(&cfg)
	auth := cfg.OAuth2
	if plainOAuth2(auth) {
		cfg.OAuth2 = nil
	} else if auth != nil { // The client keeps its proxy in there.
		dup := *auth
		cfg.OAuth2 = &dup
	}
	// The name only labels connection metrics of the default registry, which
	// would grow with every job ever seen: one for all.
	client, err := config_util.NewClientFromConfig(cfg, DefaultUserAgent, opts...)
	if err != nil {
		return nil, fmt.Errorf("make HTTP client: %w", err)
	}
	if plainOAuth2(auth) {
		if client.Transport, err = newTokens(client.Transport, auth, opts); err != nil {
			return nil, err
		}
	}
	if cfg.FollowRedirects {
		client.CheckRedirect = policy
	}
	return client, nil
}

// acceptHeader lists the formats by falling preference. The weights are those
// of Prometheus: they start at one more than the number of formats it knows.
func acceptHeader(protocols []config.ScrapeProtocol, escaping model.EscapingScheme) string {
	var b strings.Builder
	weight := len(config.ScrapeProtocolsHeaders) + 1
	for _, p := range protocols {
		b.WriteString(config.ScrapeProtocolsHeaders[p])
		// Only these formats know names that would have to be escaped.
		if p == config.PrometheusText1_0_0 || p == config.OpenMetricsText1_0_0 {
			b.WriteString(";" + model.EscapingKey + "=" + escaping.String())
		}
		fmt.Fprintf(&b, ";q=0.%d,", weight)
		weight--
	}
	fmt.Fprintf(&b, "*/*;q=0.%d", weight)
	return b.String()
}

func acceptEncodingHeader(compression bool) string {
	if compression {
		return "gzip"
	}
	return "identity"
}

// fetched is an answer: its body, on loan, and its content type.
type fetched struct {
	body        body
	contentType string
	read        int // bytes that were to be kept, even if the body was not read to its end
	// filter is what the body has been read through, on loan as well; nil if it is
	// there as it was sent.
	filter *filter
}

// sent is how much of the body has come, decompressed: bytes.
func (f *fetched) sent() int {
	if f.filter != nil {
		return int(f.filter.bytes)
	}
	return f.read
}

// empty tells whether nothing was sent, or nothing asked for.
func (f *fetched) empty() bool {
	return len(f.body.buf) == 0 && (f.filter == nil || f.filter.bytes == 0)
}

// skipped is what is not in the body any more, nil if nothing has been taken out.
func (f *fetched) skipped() *skippedLines {
	if f.filter == nil {
		return nil
	}
	return &f.filter.skippedLines
}

// release gives back what is on loan.
func (f *fetched) release(to *filters) {
	f.body.release()
	to.put(f.filter)
	f.filter = nil
}

// fetch gets url within timeout, which ends at the deadline of ctx as well. hint
// is the size of the body expected. With a view, a text body has only the lines that
// it does not say can be skipped. The error is a reason for people to read.
func (f *fetcher) fetch(ctx context.Context, target string, timeout time.Duration, hint int, v *view) (fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fetched{}, err
	}
	req.Header.Set("Accept", f.accept)
	req.Header.Set("Accept-Encoding", f.acceptEncoding)
	req.Header.Set("User-Agent", f.userAgent)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))

	resp, err := f.client.Do(req)
	if err != nil {
		if timedOut(ctx) {
			return fetched{}, fmt.Errorf("timed out after %s without an answer: %w", timeout, context.DeadlineExceeded)
		}
		return fetched{}, plainURLError(err)
	}
	defer closeBody(resp)

	if resp.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("server returned HTTP status %s", shorten(resp.Status, maxExcerpt))
	}
	contentType := resp.Header.Get("Content-Type")
	if len(contentType) > maxContentType {
		return fetched{}, fmt.Errorf("content type of %d bytes: %s", len(contentType), excerptOf([]byte(contentType)))
	}
	got := fetched{contentType: contentType}
	err = f.read(ctx, resp, hint, v, &got)
	switch {
	case err == nil, !timedOut(ctx):
		return got, err
	case errors.Is(err, errMemoryBusy):
		return got, fmt.Errorf("timed out after %s: %w", timeout, err)
	default:
		return got, fmt.Errorf("timed out after %s with %d bytes of the body read: %w", timeout, got.sent(), context.DeadlineExceeded)
	}
}

// read reads and decompresses the body.
func (f *fetcher) read(ctx context.Context, resp *http.Response, hint int, v *view, got *fetched) error {
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "gzip":
		return f.readGzip(ctx, resp.Body, hint, v, got)
	case "zstd", "br", "deflate", "compress":
		return fmt.Errorf("content encoding %q was not asked for and is not supported", enc)
	default:
		// Odd values ("utf-8") occur with bodies that are not encoded.
		err := f.readPlain(ctx, resp.Body, hint, v, got)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("body ends after %d bytes, before its end: %w", got.sent(), err)
		}
		return err
	}
}

func (f *fetcher) readPlain(ctx context.Context, r io.Reader, hint int, v *view, got *fetched) (err error) {
	if v != nil && isText(mediaType(got.contentType, f.fallbackType)) {
		got.filter = f.filters.over(r, v, f.bodySizeLimit)
		r = got.filter
	}
	got.body, got.read, err = f.bodies.read(ctx, r, hint, f.bodySizeLimit)
	return err
}

func (f *fetcher) readGzip(ctx context.Context, r io.Reader, hint int, v *view, got *fetched) error {
	z, ok := f.gzips.Get().(*gunzip)
	if !ok {
		z = &gunzip{in: bufio.NewReader(nil), out: new(gzip.Reader)}
	}
	defer func() {
		z.in.Reset(nil) // Let go of the connection.
		f.gzips.Put(z)
	}()
	z.in.Reset(r)
	if err := z.out.Reset(z.in); err != nil {
		return gzipError(err, 0)
	}
	return gzipError(f.readPlain(ctx, z.out, hint, v, got), got.sent())
}

func gzipError(err error, n int) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("truncated gzip, after %d bytes of text: %w", n, err)
	case errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("body is not gzip, though its Content-Encoding says so: %w", err)
	default:
		return err
	}
}

// closeBody reads the little that may be left of the body and closes it.
func closeBody(resp *http.Response) {
	// Neither error says anything about the scrape.
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	_ = resp.Body.Close()
}

func timedOut(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// plainURLError takes a URL out of the error when it is too long to help, as
// that of a redirect may be.
func plainURLError(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok && len(ue.URL) > maxExcerpt {
		return fmt.Errorf("%s %s: %w", ue.Op, shorten(ue.URL, maxExcerpt), ue.Err)
	}
	return err
}
