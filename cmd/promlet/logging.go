package main

import (
	"context"
	"io"
	"log/slog"
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
// Kubernetes's libraries tell each controller they start as information.
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
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c chatty) WithAttrs(attrs []slog.Attr) slog.Handler { return chatty{c.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (c chatty) WithGroup(name string) slog.Handler { return chatty{c.Handler.WithGroup(name)} }
