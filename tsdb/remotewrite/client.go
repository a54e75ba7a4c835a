package remotewrite

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote"
)

// client sends samples and notes the errors.
type client struct {
	remote.WriteClient

	mu      sync.Mutex
	failing string    // why the last request failed, "" if it did not
	denied  bool      // it failed because of the credentials or the URL
	refused string    // why samples were last refused for good
	when    time.Time // of refused
	again   bool      // samples may have been sent before
}

// newClient returns upstream's client for an entry.
func newClient(conf *config.RemoteWriteConfig) (*client, error) {
	c, err := remote.NewWriteClient(conf.Name, &remote.ClientConfig{
		URL:              conf.URL,
		WriteProtoMsg:    conf.ProtobufMessage,
		Timeout:          conf.RemoteTimeout,
		HTTPClientConfig: conf.HTTPClientConfig,
		SigV4Config:      conf.SigV4Config,
		AzureADConfig:    conf.AzureADConfig,
		GoogleIAMConfig:  conf.GoogleIAMConfig,
		Headers:          conf.Headers,
		RetryOnRateLimit: conf.QueueConfig.RetryOnRateLimit,
		RoundRobinDNS:    conf.RoundRobinDNS,
	})
	if err != nil {
		return nil, err
	}
	return &client{WriteClient: c}, nil
}

// Store implements remote.WriteClient.
func (c *client) Store(ctx context.Context, request []byte, attempt int) (remote.WriteResponseStats, error) {
	stats, err := c.WriteClient.Store(ctx, request, attempt)
	if err != nil && ctx.Err() != nil {
		return stats, err // the queue stops
	}
	if isDenied(err) {
		err = deniedError{err}
	}
	c.note(err)
	return stats, err
}

func (c *client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing, c.denied = "", false
	if err == nil {
		return
	}
	if errors.As(err, new(remote.RecoverableError)) {
		c.failing, c.denied = describe(err), isDenied(err)
		return
	}
	if code := statusOf(err); c.again && (code == "400" || code == "409") {
		return // engines refuse samples that they have
	}
	c.refused, c.when = describe(err), time.Now()
}

// resending sets whether samples that are sent from now on may have been sent before.
func (c *client) resending(again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = again
}

// status returns why sending fails now, whether the engine denies access, and why it refused samples since a time.
func (c *client) status(since time.Time) (failing string, denied bool, refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.when.After(since) {
		refused = c.refused
	}
	return c.failing, c.denied, refused
}

// deniedError is an error about the credentials or the URL, and not about the samples. So they are sent again until these
// are correct. Prometheus drops such samples.
type deniedError struct{ error }

// Unwrap makes upstream send again.
func (e deniedError) Unwrap() []error { return []error{e.error, remote.RecoverableError{}} }

func isDenied(err error) bool {
	return slices.Contains([]string{"401", "403", "404", "405", "407"}, statusOf(err))
}

var statusText = regexp.MustCompile(`^server returned HTTP status (\d{3})`)

// statusOf returns the status code of an error of upstream's client, "" if the engine has not answered.
func statusOf(err error) string {
	if err == nil {
		return ""
	}
	if m := statusText.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

// requestURL matches the prefix of net/http's errors. Parameters of the URL may be secrets.
var requestURL = regexp.MustCompile(`^Post "[^"]*": `)

// maxDescription is the maximum size, in bytes, of an engine's text on promlet's pages.
const maxDescription = 200

func describe(err error) string {
	text := strings.Join(strings.Fields(requestURL.ReplaceAllString(err.Error(), "")), " ")
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "…"
	}
	return text
}
