package body

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/config"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// maxDrain is how much of an answer is read and thrown away, so that its connection
	// can be used again. Longer ones cost their connection.
	maxDrain = 64 << 10
	// maxContentType bounds what error messages may repeat.
	maxContentType = 1 << 10
)

// Options are what a Fetcher is made of beside its job.
type Options struct {
	Pools     *Pools
	UserAgent string
	// NoCompression asks for bodies as they are, whatever the job says.
	NoCompression bool
	// SizeLimit is the size in bytes that a body must stay below, after decompression.
	// 0 is no limit.
	SizeLimit int64
	// Dial makes the connections. Nil is that of a [net.Dialer].
	Dial DialFunc
	// HTTPClient is passed on when the client is made. A dial function there replaces
	// Dial, and leaves the headers of answers uncounted.
	HTTPClient []config_util.HTTPClientOption
}

// Fetcher makes the requests of one job.
type Fetcher struct {
	client         *http.Client
	pools          *Pools
	accept         string
	acceptEncoding string
	userAgent      string
	sizeLimit      int64
	fallbackType   string // media type, "" for none
}

// NewFetcher makes the Fetcher of a checked job. An error says what is wrong with its
// settings, or with a file that they name.
func NewFetcher(cfg *config.ScrapeConfig, opts Options) (*Fetcher, error) {
	dial := opts.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	client, err := newClient(cfg.HTTPClientConfig, counted(dial), opts.HTTPClient)
	if err != nil {
		return nil, err
	}
	escaping, err := config.ToEscapingScheme(cfg.MetricNameEscapingScheme, cfg.MetricNameValidationScheme)
	if err != nil {
		return nil, err
	}
	f := &Fetcher{
		client:         client,
		pools:          opts.Pools,
		accept:         acceptHeader(cfg.ScrapeProtocols, escaping),
		acceptEncoding: "identity",
		userAgent:      opts.UserAgent,
		sizeLimit:      opts.SizeLimit,
		fallbackType:   cfg.ScrapeFallbackProtocol.HeaderMediaType(),
	}
	if cfg.EnableCompression && !opts.NoCompression {
		f.acceptEncoding = "gzip"
	}
	return f, nil
}

// CloseIdleConnections closes the connections that no request is using.
func (f *Fetcher) CloseIdleConnections() { f.client.CloseIdleConnections() }

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

// Fetch gets a URL within timeout, and no longer than ctx lasts. What it takes in memory
// is charged to the owner. hint is the expected size of the body. With decisions, a text
// body has only the lines that these do not skip; nil keeps it whole. The caller releases
// the answer, after an error as well.
func (f *Fetcher) Fetch(ctx context.Context, owner, target string, timeout time.Duration, hint int, d *names.Decisions) (Answer, error) {
	got := Answer{FallbackType: f.fallbackType, loan: f.pools.memory.Loan(owner)}
	ended := false
	defer func() {
		// After a panic, of a decompressor for example.
		if !ended {
			got.Release()
		}
	}()
	err := f.fetch(ctx, &got, target, timeout, hint, d)
	ended = true
	return got, err
}

func (f *Fetcher) fetch(ctx context.Context, got *Answer, target string, timeout time.Duration, hint int, d *names.Decisions) error {
	exchange, ctx := newExchange(ctx, got.loan)
	resp, err := f.request(ctx, target, timeout)
	if err == nil {
		defer closeBody(resp)
		err = exchange.seat()
	} else if failure := exchange.failure(); failure != nil {
		err = failure
	} else if timedOut(ctx) {
		return fmt.Errorf("timed out after %s without an answer: %w", timeout, context.DeadlineExceeded)
	}
	if err != nil {
		return busy(ctx, timeout, withShortURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s", reason.HTTPStatus, reason.Shorten(resp.Status, reason.MaxExcerpt))
	}
	got.ContentType = resp.Header.Get("Content-Type")
	if n := len(got.ContentType); n > maxContentType {
		return fmt.Errorf("content type of %d bytes: %s", n, reason.Excerpt([]byte(got.ContentType)))
	}
	switch err := f.decode(ctx, resp, got, hint, d); {
	case err == nil, !timedOut(ctx), errors.Is(err, budget.ErrBusy):
		return busy(ctx, timeout, err)
	default:
		return fmt.Errorf("timed out after %s with %d bytes of the body read: %w", timeout, got.Sent(), context.DeadlineExceeded)
	}
}

// request makes the request and returns the answer to it. Its header is its own: round trippers of prometheus/common write
// credentials into it.
func (f *Fetcher) request(ctx context.Context, target string, timeout time.Duration) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", f.accept)
	req.Header.Set("Accept-Encoding", f.acceptEncoding)
	req.Header.Set("User-Agent", f.userAgent)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	return f.client.Do(req)
}

// busy says that the timeout is over in an error about memory that is in use.
func busy(ctx context.Context, timeout time.Duration, err error) error {
	if timedOut(ctx) && errors.Is(err, budget.ErrBusy) {
		return fmt.Errorf("timed out after %s: %w", timeout, err)
	}
	return err
}

// decode reads the body of a response, decompressed.
func (f *Fetcher) decode(ctx context.Context, resp *http.Response, got *Answer, hint int, d *names.Decisions) error {
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "gzip":
		if err := got.loan.Wait(ctx, gunzipSize); err != nil {
			return err
		}
		z := f.pools.gunzip()
		defer f.pools.putGunzip(z)
		z.in.Reset(resp.Body)
		if err := z.out.Reset(z.in); err != nil {
			return gzipError(err, 0)
		}
		err := f.read(ctx, z.out, got, hint, d)
		return gzipError(err, got.Sent())
	case "zstd", "br", "deflate", "compress":
		return fmt.Errorf("content encoding %q was not asked for and is not supported", enc)
	default:
		// Odd values ("utf-8") occur with bodies that are not encoded.
		err := f.read(ctx, resp.Body, got, hint, d)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("connection closed after %d bytes of the body: %w", got.Sent(), err)
		}
		return err
	}
}

// Read reads a body that is not compressed. The other arguments are those of Fetch.
func (f *Fetcher) Read(ctx context.Context, r io.Reader, contentType string, hint int, d *names.Decisions) (Answer, error) {
	got := Answer{ContentType: contentType, FallbackType: f.fallbackType, loan: f.pools.memory.Loan("")}
	err := f.read(ctx, r, &got, hint, d)
	return got, err
}

func (f *Fetcher) read(ctx context.Context, r io.Reader, got *Answer, hint int, d *names.Decisions) (err error) {
	if d != nil && isText(got.mediaType()) {
		// The counts by name, here and where the body is parsed.
		if err := got.loan.Wait(ctx, 2*4*int64(d.Numbers())); err != nil {
			return err
		}
		got.filter = f.pools.filter(got.loan, r, d, f.sizeLimit)
		r = got.filter
	}
	got.body, got.kept, err = f.pools.read(ctx, got.loan, r, hint, f.sizeLimit)
	return err
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

// withShortURL cuts the URL in an error when it is too long to help, as that of a
// redirect may be.
func withShortURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok && len(ue.URL) > reason.MaxExcerpt {
		return fmt.Errorf("%s %s: %w", ue.Op, reason.Shorten(ue.URL, reason.MaxExcerpt), ue.Err)
	}
	return err
}
