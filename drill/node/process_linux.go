// SPDX-License-Identifier: Apache-2.0

package node

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes make a process group of its own, which dies with us.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reserve binds a socket to a port on which nobody listens, for as long as the process lives: it
// is a mark for others who look for ports.
func reserve(port int) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = unix.Close(fd)
		return false
	}
	return true
}
