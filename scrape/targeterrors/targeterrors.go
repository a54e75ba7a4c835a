// Package targeterrors rewrites the errors of scrapes for users who know their monitors but not promlet's source. The texts
// name the fields of monitors, and for errors of Go's libraries they say what to do.
package targeterrors

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/promlet/promlet/scrape"
)

// Plain returns the text of a target's error, "" for nil. It leaves out the URL, whose parameters may be secrets.
func Plain(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	if err == nil {
		return ""
	}
	return rewrite(err.Error())
}

// Public returns the text of Plain without any text that the target has sent.
func Public(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	return rewrite(scrape.PublicReason(err))
}

// rewrite replaces the wording of libraries. It is called for each target that is down whenever targets are listed, so it
// compiles no patterns.
func rewrite(text string) string {
	text = strings.TrimSuffix(text, ": "+context.DeadlineExceeded.Error()) // the text before it says what took too long
	switch limit, isSize := strings.CutPrefix(text, "body_size_limit exceeded (limit: "); {
	case isSize:
		return bodyTooLarge(limit)
	case strings.Contains(text, "no fallback_scrape_protocol"):
		return contentType(text)
	case strings.HasPrefix(text, "tls: failed to verify certificate: "):
		return text + ": set tlsConfig on its monitor"
	case text == "http: server gave HTTP response to HTTPS client":
		return "it answers in HTTP, not HTTPS: set scheme: http on its monitor"
	case text == "EOF":
		return "the connection was closed without an answer"
	}
	if field, rest, ok := strings.Cut(text, " exceeded ("); ok && strings.HasSuffix(field, "_limit") {
		return camelCase(field) + " exceeded (" + rest
	}
	return text
}

// contentType returns the text for an answer whose Content-Type has no parser.
func contentType(text string) string {
	_, value, ok := strings.Cut(text, "Content-Type \"")
	if !ok {
		return "the answer has no Content-Type: set fallbackScrapeProtocol on its monitor"
	}
	value, _, _ = strings.Cut(value, " and no fallback_scrape_protocol")
	value, _, _ = strings.Cut(value, ", but ")
	return `the Content-Type "` + value + " is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor"
}

// bodyTooLarge returns the text for a body above its limit. limit begins with a number of bytes.
func bodyTooLarge(limit string) string {
	digits, _, _ := strings.Cut(limit, " ")
	return "the body has " + size(digits) + " or more: raise bodySizeLimit on its monitor, or expose fewer series"
}

// size returns a number of bytes with its unit.
func size(digits string) string {
	if n, err := strconv.Atoi(digits); err == nil && n >= 1<<20 && n%(1<<20) == 0 {
		return strconv.Itoa(n>>20) + " MiB"
	}
	return digits + " bytes"
}

// camelCase returns the name that a field of Prometheus's configuration has in a monitor.
func camelCase(field string) string {
	words := strings.Split(field, "_")
	for i := 1; i < len(words); i++ {
		if words[i] != "" {
			words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
		}
	}
	return strings.Join(words, "")
}
