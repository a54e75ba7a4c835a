package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/skip"
)

// readyz returns what /readyz answers.
func (p *process) readyz() (int, string) {
	p.t.Helper()
	code, body, err := p.get(p.api + "/readyz")
	require.NoError(p.t, err)
	return code, string(body)
}

// value returns a metric's value, or the reason why there is none.
func (p *process) value(path string) (v float64, absent string) {
	p.t.Helper()
	text, items := p.metric(path)
	if len(items) != 1 {
		return 0, text
	}
	return items[0].Value.AsApproximateFloat64(), ""
}

// While others fill the disk, promlet is not ready and says why; it neither ends nor refuses to start. Once there
// is room it answers. A value is right or absent throughout.
func TestServeOnAFullDisk(t *testing.T) {
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=16777216"); err != nil {
		skip.Test(t, "A full disk", "run as root with CAP_SYS_ADMIN, to mount a small one")
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(data, 0)) })
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 100), "app-2": counting(t, 200)})
	p := startProcess(t, manifests, data)
	t.Cleanup(func() { p.kill() }) // before the disk goes
	right := func() (found bool) {
		v, absent := p.value("services/app/http_requests")
		if absent == "" {
			require.InDelta(t, 300, v, 15)
		}
		return absent == ""
	}
	require.Eventually(t, right, patience, 200*time.Millisecond)

	others := filepath.Join(data, "others")
	fill := func() {
		var disk syscall.Statfs_t
		require.NoError(t, syscall.Statfs(data, &disk))
		require.NoError(t, os.WriteFile(others, bytes.Repeat([]byte{1}, int(disk.Bavail)*int(disk.Bsize)), 0o600))
	}
	notReady := func() bool {
		right()
		code, body := p.readyz()
		return code == http.StatusInternalServerError && bytes.Contains([]byte(body), []byte("free some space there"))
	}
	answers := func() bool {
		code, _ := p.readyz()
		return right() && code == http.StatusOK
	}
	fill()
	require.Eventually(t, notReady, patience, 200*time.Millisecond)
	time.Sleep(7 * time.Second) // the storage looks at its blocks meanwhile
	require.True(t, notReady())
	require.NoError(t, os.Remove(others))
	require.Eventually(t, answers, patience, 200*time.Millisecond)

	// Killed on a full disk, and started there.
	p.kill()
	fill()
	p = runProcess(t, manifests, data)
	require.Eventually(t, func() bool {
		_, _, err := p.get(p.api + "/readyz")
		return err == nil && notReady()
	}, patience, 200*time.Millisecond, p.log)
	require.NoError(t, os.Remove(others))
	require.Eventually(t, answers, patience, 200*time.Millisecond)
	require.NoError(t, p.terminate(), p.log)
}

// Killed twice before it was ready, it does without the samples; killed when it was ready, it keeps them.
func TestServeAfterStartsThatFailed(t *testing.T) {
	manifests, data := t.TempDir(), t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 100)})
	p := startProcess(t, manifests, data)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(data, "starts.json"))
		return os.IsNotExist(err)
	}, patience, 100*time.Millisecond, "a start that got ready is not counted")
	p.kill()
	for i := range 2 {
		p = runProcess(t, manifests, data)
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(filepath.Join(data, "starts.json"))
			var starts []int64
			return err == nil && json.Unmarshal(b, &starts) == nil && len(starts) == i+1
		}, patience, time.Millisecond)
		p.kill()
	}
	p = startProcess(t, manifests, data)
	require.Contains(t, p.log.String(), "started 3 times within 10m0s without getting ready")
	_, body, err := p.get(p.web + "/")
	require.NoError(t, err)
	require.Contains(t, string(body), "started 3 times")
	require.DirExists(t, filepath.Join(data, "corrupt", "wal"))
	require.NoError(t, p.terminate(), fmt.Sprint(p.log))
}
