package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Kubernetes's libraries say is passed on from warnings upwards, without what they
// say whenever kube-apiserver closes an answer unread.
func TestChatty(t *testing.T) {
	logged := func(level slog.Level, say func(*slog.Logger)) string {
		var b bytes.Buffer
		say(slog.New(chatty{slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level})}).With("component", "kubernetes"))
		return b.String()
	}
	for message, err := range map[string]error{
		"Timeout or abort while handling": nil,
		"Post-timeout activity":           nil,
		"Unhandled Error":                 errors.New("apiserver was unable to write a application/json response: http2: stream closed"),
	} {
		say := func(l *slog.Logger) { l.Error(message, "path", "/apis", "err", err) }
		require.Empty(t, logged(slog.LevelInfo, say), message)
		require.Contains(t, logged(slog.LevelDebug, say), "level=DEBUG", message)
	}
	require.Contains(t, logged(slog.LevelInfo, func(l *slog.Logger) { l.Error("Unhandled Error", "err", errors.New("list pods: forbidden")) }), "level=ERROR")
	require.Empty(t, logged(slog.LevelInfo, func(l *slog.Logger) { l.Info("Starting controller") }))
}
