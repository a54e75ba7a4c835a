// Package targeterrors writes the errors of scrapes for people who know the monitor, and not promlet's source: fields have the
// names that monitors give them, and errors of Go's libraries say what to do.
package targeterrors

import (
	"context"
	"errors"
	"net/url"
	"regexp"
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

// wording replaces a part of a text.
type wording struct{ pattern, words string }

// wordings are for errors that a monitor can mend.
func wordings() []wording {
	return []wording{
		{`^received unsupported Content-Type (.*?) and no fallback_scrape_protocol .*`, `the Content-Type $1 is not one of metrics: correct the path or port, or set fallbackScrapeProtocol on its monitor`},
		{`(?s)^cannot parse Content-Type (.*?) and no fallback_scrape_protocol .*`, `the Content-Type $1 is not one of metrics: correct the path or port, or set fallbackScrapeProtocol on its monitor`},
		{`^non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol .*`, `the answer has no Content-Type: set fallbackScrapeProtocol on its monitor`},
		{`fallback_scrape_protocol`, `fallbackScrapeProtocol`},
		{`^sample_limit exceeded`, `sampleLimit exceeded`},
		{`^label_limit exceeded`, `labelLimit exceeded`},
		{`^label_name_length_limit exceeded`, `labelNameLengthLimit exceeded`},
		{`^label_value_length_limit exceeded`, `labelValueLengthLimit exceeded`},
		{`native_histogram_bucket_limit exceeded`, `nativeHistogramBucketLimit exceeded`},
		{`^http: server gave HTTP response to HTTPS client$`, `it answers in HTTP, not HTTPS: set scheme: http on its monitor`},
		{`^(tls: failed to verify certificate: .*)`, `$1: set tlsConfig on its monitor`},
		{`^EOF$`, `the connection was closed without an answer`},
	}
}

// inWords replaces the words of libraries.
func inWords(text string) string {
	text = strings.TrimSuffix(text, ": "+context.DeadlineExceeded.Error()) // it says already what took too long
	text = bodyTooLarge(text)
	for _, w := range wordings() {
		text = regexp.MustCompile(w.pattern).ReplaceAllString(text, w.words)
	}
	return text
}

// bodyTooLarge replaces the text of a body above its limit.
func bodyTooLarge(text string) string {
	found := regexp.MustCompile(`^body_size_limit exceeded \(limit: (\d+) bytes\)$`).FindStringSubmatch(text)
	if found == nil {
		return text
	}
	limit := found[1] + " bytes"
	if n, err := strconv.Atoi(found[1]); err == nil && n >= 1<<20 && n%(1<<20) == 0 {
		limit = strconv.Itoa(n>>20) + " MiB"
	}
	return "the body has " + limit + " or more: raise bodySizeLimit on its monitor, or expose fewer series"
}
