package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTail(t *testing.T) {
	var log tail
	require.Equal(t, "  (none)", log.String())
	for _, s := range []string{"one\ntw", "o\n", "", "three"} {
		n, err := log.Write([]byte(s))
		require.NoError(t, err)
		require.Equal(t, len(s), n)
	}
	require.Equal(t, "  one\n  two\n  three", log.String())
	_, err := log.Write([]byte(strings.Repeat("x", 100*tailBytes) + strings.Repeat("\nline", 100)))
	require.NoError(t, err)
	require.Len(t, strings.Split(log.String(), "\n"), tailLines+1)
	require.Less(t, len(log.String()), (tailLines+1)*(tailBytes+3))
}

func TestStopEndsAStubbornChild(t *testing.T) {
	t.Setenv(childEnv, "stubborn")
	c, err := start(t.Context(), "stubborn", os.Args[0], "--listen-address=")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(c.log.String(), "here") }, 10*time.Second, time.Millisecond)
	c.stop()
	require.ErrorContains(t, c.err, "killed")
	c.stop()
}

func TestStart(t *testing.T) {
	_, err := start(t.Context(), "promlet", "/no/such/file")
	require.ErrorContains(t, err, "start promlet: ")
	require.ErrorContains(t, err, "build it first")

	t.Setenv(childEnv, "app exits")
	c, err := start(t.Context(), "the application", os.Args[0], "--listen-address=")
	require.NoError(t, err)
	err = c.waitReady(t.Context(), func(context.Context) error { return errors.New("not yet") })
	require.EqualError(t, err, "the application ended early (exit status 3); its last lines:\n  it is too early")
	c.stop()
}

func TestNotReadyInTime(t *testing.T) {
	t.Setenv(childEnv, "stubborn")
	c, err := start(t.Context(), "slow", os.Args[0], "--listen-address=")
	require.NoError(t, err)
	defer c.stop()
	ctx, cancel := context.WithCancel(t.Context())
	err = c.waitReady(ctx, func(context.Context) error { cancel(); return errors.New("not yet") })
	require.ErrorContains(t, err, "slow did not get ready: not yet")
}

func TestPorts(t *testing.T) {
	addresses, err := freeAddresses(t.Context(), 3)
	require.NoError(t, err)
	require.Len(t, addresses, 3)
	require.NotEqual(t, addresses[0], addresses[1])
	require.NoError(t, checkFree(t.Context(), addresses[0], ""))

	listener, err := net.Listen("tcp", addresses[0])
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	err = checkFree(t.Context(), addresses[0], "SECURE_PORT")
	require.ErrorContains(t, err, addresses[0])
	require.ErrorContains(t, err, fmt.Sprintf("`make run SECURE_PORT=%d`", another(addresses[0])))
	require.Equal(t, 16443, another("127.0.0.1:6443"))
	require.Equal(t, 50000, another("127.0.0.1:60000"))
	require.Equal(t, 10000, another("nowhere"))
}
