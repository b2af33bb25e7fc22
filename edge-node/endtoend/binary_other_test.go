//go:build !linux

package endtoend

import "syscall"

func diesWithUs() *syscall.SysProcAttr { return nil }
