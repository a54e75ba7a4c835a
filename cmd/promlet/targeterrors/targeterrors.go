// Package targeterrors writes the errors of scrapes for people who know the monitor, and not promlet's source: fields have the
// names that monitors give them, and errors of Go's libraries say what to do.
package targeterrors

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/promlet/promlet/scrape"
)

// Plain is the text of a target's error without the URL, whose parameters may be secrets; "" for none.
func Plain(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	if err == nil {
		return ""
	}
	return inWords(err.Error())
}

// Public is Plain without what the target has sent.
func Public(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	return inWords(scrape.PublicReason(err))
}

// inWords replaces the words of libraries. It is called for each target that is down whenever targets are listed.
func inWords(text string) string {
	text = strings.TrimSuffix(text, ": "+context.DeadlineExceeded.Error()) // it says already what took too long
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

// contentType is the text of an answer that no parser reads.
func contentType(text string) string {
	_, value, ok := strings.Cut(text, "Content-Type \"")
	if !ok {
		return "the answer has no Content-Type: set fallbackScrapeProtocol on its monitor"
	}
	value, _, _ = strings.Cut(value, " and no fallback_scrape_protocol")
	value, _, _ = strings.Cut(value, ", but ")
	return `the Content-Type "` + value + " is not one of metrics: correct the path or port, or set fallbackScrapeProtocol on its monitor"
}

// bodyTooLarge is the text of a body above its limit, which is in bytes.
func bodyTooLarge(limit string) string {
	digits, _, _ := strings.Cut(limit, " ")
	limit = digits + " bytes"
	if n, err := strconv.Atoi(digits); err == nil && n >= 1<<20 && n%(1<<20) == 0 {
		limit = strconv.Itoa(n>>20) + " MiB"
	}
	return "the body has " + limit + " or more: raise bodySizeLimit on its monitor, or expose fewer series"
}

// camelCase returns the name of a monitor's field for one of Prometheus's configuration.
func camelCase(field string) string {
	words := strings.Split(field, "_")
	for i := 1; i < len(words); i++ {
		if words[i] != "" {
			words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
		}
	}
	return strings.Join(words, "")
}
