package harness

import "syscall"

// childAttributes keep a child from outliving a benchmark that is killed, and from the
// terminal's signals.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
