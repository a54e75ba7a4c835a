package controlplane

import "syscall"

// childAttributes keep a child from outliving a test that is killed, and from
// the terminal's signals.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
