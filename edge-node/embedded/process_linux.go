package embedded

import "syscall"

// childAttributes make the kernel stop the child when the thread that started it ends, and keep a terminal's Ctrl-C from
// it: the parent stops its children in the order it wants.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
