package main

import "syscall"

// childAttributes keep the terminal's Ctrl-C from a child, and end it with the demo even if that is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
