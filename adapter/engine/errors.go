package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// Error says why an engine gave no answer. Anybody may read its text: it contains nothing that the engine sent, except
// an error in Prometheus's format.
type Error struct {
	Engine string // its URL without credentials
	Reason string
	// Unavailable reports whether the engine could not be reached, or answered that the request should be sent later.
	Unavailable bool

	down, slow bool   // the engine cannot be reached; the answer took too long
	detail     string // for the log
}

// Error implements error.
func (e *Error) Error() string { return e.Engine + ": " + e.Reason }

// errTooLarge is returned when an answer is larger than its limit.
var errTooLarge = errors.New("the answer is too large")

const (
	// maxReported is the maximum size, in bytes, of an error that the engine reports.
	maxReported = 300
	// maxDetail is the maximum size, in bytes, of the part of an answer that is logged.
	maxDetail = 1 << 10
)

// newError returns the Error for the error of a request, nil for nil.
func newError(engine string, err error, timeout time.Duration) *Error {
	if err == nil {
		return nil
	}
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err // without the URL, which may hold credentials
	}
	e := &Error{Engine: engine, detail: clip(err.Error(), maxDetail)}
	if of, ok := errors.AsType[*v1.Error](err); ok {
		e.reported(of)
		return e
	}
	var netErr net.Error
	switch {
	case errors.Is(err, errTooLarge):
		e.Reason = "its answer is too large: change the query to return fewer results"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		e.Reason, e.slow, e.Unavailable = fmt.Sprintf("no answer within %s", timeout), true, true
	case errors.Is(err, context.Canceled):
		e.Reason, e.Unavailable = "the request was cancelled", true
	default:
		if reason := connectionFault(err); reason != "" {
			e.Reason, e.down, e.Unavailable = reason, true, true
		} else {
			e.Reason = malformed
		}
	}
	return e
}

const malformed = "its answer is not in the format of Prometheus's HTTP API"

// connectionFault describes an error of the connection. It returns "" for other errors.
func connectionFault(err error) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return "its host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid):
		return "its certificate is not trusted"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection ended early"
	case errors.As(err, &op), errors.Is(err, errTransport):
		return "the connection failed"
	}
	return ""
}

// reported sets the reason from an error answer, as client_golang returns it.
func (e *Error) reported(err *v1.Error) {
	e.detail = clip(err.Error()+" "+err.Detail, maxDetail)
	switch err.Type {
	case v1.ErrBadResponse:
		e.Reason = malformed
		return
	case v1.ErrClient, v1.ErrServer:
		// Prometheus's own errors also have 4xx and 5xx codes.
		var body struct{ ErrorType, Error string }
		if json.Unmarshal([]byte(err.Detail), &body) == nil && body.Error != "" {
			e.Reason = clip(body.ErrorType+": "+body.Error, maxReported)
			e.Unavailable = err.Type == v1.ErrServer && body.ErrorType != "internal"
			return
		}
		e.byCode(err.Msg)
	default:
		e.Reason = clip(string(err.Type)+": "+err.Msg, maxReported)
	}
}

// byCode sets the reason from the status code in a message such as "server error: 502".
func (e *Error) byCode(msg string) {
	_, number, _ := strings.Cut(msg, ": ")
	code, _ := strconv.Atoi(number) // 0 has no text
	e.Reason = strings.TrimSpace(fmt.Sprintf("it answers %s %s", number, http.StatusText(code)))
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Reason += ": check the credentials"
	case http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		e.Reason += ": give --prometheus-verb=POST"
	case http.StatusTooManyRequests:
		e.Unavailable = true
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		e.Unavailable, e.down = true, true
	case http.StatusGatewayTimeout: // one query may be too expensive
		e.Unavailable, e.slow = true, true
	}
}

// clip shortens a text to most bytes and marks that with an ellipsis.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
