// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package node

import "syscall"

// attributes make a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reserve is done on Linux only.
func reserve(int) bool { return true }
