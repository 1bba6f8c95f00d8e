// SPDX-License-Identifier: Apache-2.0

package node

import "syscall"

// attributes make a process group of its own, which dies with us.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
