package kafkatest

import "syscall"

// childAttributes make the kernel kill the child when the thread that started it ends, and keep a terminal's Ctrl-C from it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
