// SPDX-License-Identifier: Apache-2.0

//go:build unix

package listen

import (
	"io"
	"os"
	"syscall"
)

// canTry: connections can be read without blocking.
const canTry = true

// tryRead reads what has arrived on a non-blocking descriptor; again when that
// is nothing yet. The error is io.EOF at the end.
func tryRead(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, true, nil
		case err != nil:
			return 0, false, os.NewSyscallError("read", err)
		case n == 0:
			return 0, false, io.EOF
		default:
			return n, false, nil
		}
	}
}
