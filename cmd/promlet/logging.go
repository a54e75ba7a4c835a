package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// logger returns a logger with the level and the format of the flags.
func (o *options) logger(w io.Writer) (*slog.Logger, error) {
	level, err := o.level()
	if err != nil {
		return nil, err
	}
	handlerOptions := &slog.HandlerOptions{Level: level}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, handlerOptions)), nil
	}
	return slog.New(slog.NewTextHandler(w, handlerOptions)), nil
}

// chatty logs a library's warnings and errors as they are and the rest as debug:
// Kubernetes' libraries log each controller they start as information. Requests whose
// client went away are debug, too.
type chatty struct{ slog.Handler }

func (chatty) level(l slog.Level) slog.Level {
	if l < slog.LevelWarn {
		return slog.LevelDebug
	}
	return l
}

// Enabled implements slog.Handler.
func (c chatty) Enabled(ctx context.Context, l slog.Level) bool {
	return c.Handler.Enabled(ctx, c.level(l))
}

// Handle implements slog.Handler.
func (c chatty) Handle(ctx context.Context, r slog.Record) error {
	r.Level = c.level(r.Level)
	if abandoned(&r) {
		if r.Level = slog.LevelDebug; !c.Handler.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return c.Handler.Handle(ctx, r)
}

// abandoned reports whether a record of k8s.io/apiserver is about a request whose client
// closed the connection early, or that timed out. kube-apiserver does the first twice a
// minute: it checks the availability of an API with five requests and reads none of the
// answers. Both are counted in apiserver_request_aborts_total.
func abandoned(r *slog.Record) (yes bool) {
	switch r.Message {
	case "Timeout or abort while handling", "Post-timeout activity":
		return true
	case "Unhandled Error":
		r.Attrs(func(a slog.Attr) bool {
			text := a.Value.String()
			yes = a.Key == "err" && (strings.HasSuffix(text, "http2: stream closed") || strings.HasSuffix(text, "http: Handler timeout"))
			return !yes
		})
	}
	return yes
}

// WithAttrs implements slog.Handler.
func (c chatty) WithAttrs(attrs []slog.Attr) slog.Handler { return chatty{c.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (c chatty) WithGroup(name string) slog.Handler { return chatty{c.Handler.WithGroup(name)} }
