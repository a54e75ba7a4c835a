package harness

import (
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// Usage is what a process has used since its start, and what it holds.
type Usage struct {
	CPU         time.Duration // in user and kernel mode
	Allocations uint64
	Allocated   uint64 // bytes
	Heap        uint64 // bytes
	Stacks      uint64 // bytes
}

// ReadUsage reads what this process has used.
func ReadUsage() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: cpuTime(), Allocations: m.Mallocs, Allocated: m.TotalAlloc, Heap: m.HeapAlloc, Stacks: m.StackInuse}
}

// ReadHeld is ReadUsage after garbage has been collected. The second collection takes
// what the first has found to be finalised and what pools held until then, and gives the
// memory back now: the runtime would do so later, while CPU is measured.
func ReadHeld() Usage {
	runtime.GC()
	debug.FreeOSMemory()
	return ReadUsage()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it fails for bad arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
