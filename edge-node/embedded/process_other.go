//go:build !linux

package embedded

import "syscall"

// childAttributes are empty here: the child watches its stdin for the end of its parent.
func childAttributes() *syscall.SysProcAttr { return nil }
