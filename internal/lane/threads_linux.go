// SPDX-License-Identifier: Apache-2.0

package lane

import "syscall"

// threads lets other threads of the machine go first that can run on the same
// processor: above all one of this process that has come back from an fsync. A
// thread that wakes up may have to wait for milliseconds until the one that runs
// has had its time (sched_yield(2)).
func threads() {
	_, _, _ = syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) // never fails
}
