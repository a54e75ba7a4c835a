package attacks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/skip"
)

// memoryBound is the limit of promlet's container in deploy/deployment.yaml.
const memoryBound = 256 << 20

// bounded is the memory of a promlet and of those that follow it.
type bounded struct {
	cgroup string // its directory; empty where none can be made
	peak   uint64 // the most bytes that were seen, without pages of files
}

// newBounded makes a memory cgroup where that is allowed.
func newBounded(t *testing.T) *bounded {
	b := &bounded{}
	for _, at := range []struct{ parent, limit string }{
		{filepath.Join("/sys/fs/cgroup/memory", ownMemoryCgroup()), "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"}, // version 2
	} {
		dir := filepath.Join(at.parent, fmt.Sprintf("promlet-attack-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		// Outside of a hierarchy there is no such file.
		if err := overwrite(filepath.Join(dir, at.limit), strconv.Itoa(memoryBound)); err != nil {
			require.NoError(t, os.Remove(dir))
			continue
		}
		b.cgroup = dir
		t.Cleanup(func() {
			require.Eventually(t, func() bool { return os.Remove(dir) == nil }, 10*time.Second, 50*time.Millisecond, "the cgroup must be empty")
		})
		return b
	}
	// GOMEMLIMIT is set in its place, and the resident memory is watched.
	skip.Note(t, "Attacks within the memory limit of a container", "run as root where /sys/fs/cgroup is writable, to make a memory cgroup")
	return b
}

func overwrite(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// ownMemoryCgroup is the path of this process's memory cgroup of version 1.
func ownMemoryCgroup() string {
	text, _ := os.ReadFile("/proc/self/cgroup") // none: the root's
	for line := range strings.Lines(string(text)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":memory:"); ok {
			return path
		}
	}
	return "/"
}

// command runs a program in the bounds.
func (b *bounded) command(path string, args ...string) *exec.Cmd {
	if b.cgroup == "" {
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", memoryBound*9/10))
		return cmd
	}
	join := `echo $$ > "$1" && shift && exec "$@"`
	return exec.Command("/bin/sh", append([]string{"-c", join, "sh", filepath.Join(b.cgroup, "cgroup.procs"), path}, args...)...)
}

// look notes what a process holds, and fails when that is too much. In a cgroup, the kernel would have killed it.
func (b *bounded) look(pid int) error {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return err
	}
	status, err := process.NewStatus()
	if err != nil {
		return err
	}
	b.peak = max(b.peak, status.RssAnon)
	if b.peak > memoryBound {
		return fmt.Errorf("it holds %d MiB, more than %d", b.peak>>20, memoryBound>>20)
	}
	return nil
}
