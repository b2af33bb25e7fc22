//go:build !linux

package kafkatest

import "syscall"

func childAttributes() *syscall.SysProcAttr { return nil }
