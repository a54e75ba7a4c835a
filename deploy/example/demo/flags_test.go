package main

import (
	"bytes"
	"flag"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlags(t *testing.T) {
	o, err := parseFlags(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, options{
		promlet: "bin/promlet", app: "bin/sample-metrics-app", manifests: "deploy/example", rate: 140, securePort: 6443,
		web: "127.0.0.1:9090", interval: 5 * time.Second, window: 20 * time.Second,
	}, o)
	o, err = parseFlags([]string{"--rate", "30", "--seconds=60", "--secure-port=7443", "--promlet", "x"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:7443", o.apiAddress())
	require.Equal(t, 60, o.seconds)
	require.InDelta(t, 30, o.rate, 0)
}

func TestFlagsRefused(t *testing.T) {
	_, err := parseFlags([]string{"--rate=-1", "--seconds=-2", "--secure-port=0", "--web-listen-address=x", "--scrape-interval=1ms", "--rate-window=0", "more"}, io.Discard)
	for _, message := range []string{
		"--rate=-1: give a number above 0, up to 5000", "--seconds=-2: ", "--secure-port=0: give a port", "--web-listen-address=x: give HOST:PORT",
		"--scrape-interval=1ms: give at least 1s", "--rate-window=0s: ", `"more": only flags`,
	} {
		require.ErrorContains(t, err, message)
	}
	_, err = parseFlags([]string{"--web-listen-address=127.0.0.1:6443"}, io.Discard)
	require.ErrorContains(t, err, "other than that of the API")
	for _, rate := range []string{"5001", "NaN", "+Inf", "0"} {
		_, err = parseFlags([]string{"--rate", rate}, io.Discard)
		require.ErrorContains(t, err, "--rate=")
	}
	var help bytes.Buffer
	_, err = parseFlags([]string{"--help"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, help.String(), "requests per second")
}
