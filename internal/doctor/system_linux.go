// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSystem names the type of the file system that holds path (statfs(2)) and
// judges it.
func fileSystem(path string) (name string, level Level, hint string) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "", Unchecked, ""
	}
	const (
		network = "keep the data on a disk of this machine: locks and fsync over a network do not hold what they promise"
		memory  = "keep the data on a disk: this one is empty after a restart"
	)
	switch uint32(s.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", OK, ""
	case unix.XFS_SUPER_MAGIC:
		return "XFS", OK, ""
	case unix.BTRFS_SUPER_MAGIC:
		return "Btrfs", OK, ""
	case unix.F2FS_SUPER_MAGIC:
		return "F2FS", OK, ""
	case 0x2fc12fc1:
		return "ZFS", OK, ""
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "a file system in memory", Problem, memory
	case unix.NFS_SUPER_MAGIC:
		return "NFS", Problem, network
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "SMB", Problem, network
	case unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return "a network file system", Problem, network
	case unix.V9FS_MAGIC:
		return "9P, a directory of the host", Warning, "keep the data on a disk of this machine, or make sure that the host syncs when it is asked to"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE", Warning, "make sure that what is behind it is a disk of this machine, and that it syncs when it is asked to"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "a container's own layer (overlayfs)", Warning, "keep the data on a volume: the layer is deleted with the container"
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return "FAT", Problem, "use a file system that knows owners and keeps its order after a power cut"
	}
	return "a file system of unknown type " + fmt.Sprintf("0x%x", uint32(s.Type)), Unchecked, ""
}

// openFiles gives the limit of open files of a process, 0 for this one.
func openFiles(pid int) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return 0, err
	}
	return l.Cur, nil
}

// memory gives what the machine, or the control group that this process is in,
// has, in bytes, and what is available of it.
func memory() (total, available uint64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(f[1], 10, 54)
		switch f[0] {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("/proc/meminfo says nothing")
	}
	if limit, used, ok := groupMemory(); ok && limit < total {
		total = limit
		available = min(available, limit-min(used, limit))
	}
	return total, available, nil
}

// groupMemory reads the limit of a control group, version 2.
func groupMemory() (limit, used uint64, ok bool) {
	number := func(name string) (uint64, error) {
		text, err := os.ReadFile("/sys/fs/cgroup/" + name)
		if err != nil {
			return 0, err
		}
		return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	}
	limit, err := number("memory.max")
	if err != nil {
		return 0, 0, false
	}
	used, err = number("memory.current")
	return limit, used, err == nil
}

// clockKept reports whether something keeps the clock right (adjtimex(2)).
func clockKept() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
