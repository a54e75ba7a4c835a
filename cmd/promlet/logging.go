package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// logger writes what the flags ask for.
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

// chatty passes a library's warnings and errors on and the rest as debug:
// Kubernetes's libraries tell each controller they start as information. That a client
// did not wait for its answer is debug, too.
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

// abandoned tells whether a record of k8s.io/apiserver is about a request whose client
// did not wait for the whole answer, or that took too long: it makes no difference. The
// first happens twice a minute: to see whether an API is available, kube-apiserver asks
// for it five times and closes the answers unread. The second is told to whoever asked;
// both are counted in apiserver_request_aborts_total.
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
