package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of times in /proc: Linux counts in hundredths of a second for
// programs, on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// memory is what a process has resident, in bytes.
type memory struct {
	resident  float64 // VmRSS
	anonymous float64 // RssAnon: without pages of files, such as the binary's
	highest   float64 // VmHWM: the most that was ever resident
}

func readMemory(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	return parseMemory(text)
}

func parseMemory(status []byte) (m memory, err error) {
	wanted := map[string]*float64{"VmRSS:": &m.resident, "RssAnon:": &m.anonymous, "VmHWM:": &m.highest}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || wanted[string(fields[0])] == nil {
			continue
		}
		kib, err := strconv.ParseFloat(string(fields[1]), 64)
		if err != nil {
			return m, fmt.Errorf("read memory: %w", err)
		}
		*wanted[string(fields[0])] = kib * 1024
		delete(wanted, string(fields[0]))
	}
	if len(wanted) > 0 {
		return m, fmt.Errorf("read memory: there is none in %q", status)
	}
	return m, nil
}

// readCPU reads what a process has used in user and kernel mode.
func readCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(text)
}

func parseCPU(stat []byte) (time.Duration, error) {
	// The name, in parentheses, may hold anything; utime and stime are the 12th and
	// 13th fields after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("read CPU time: there is none in %q", stat)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
