package main

import "syscall"

// childAttributes put a child into a process group of its own, and let it end with the demo even if that is
// killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
