// SPDX-License-Identifier: Apache-2.0

// Package disk is a small disk of a drill's own, which can be filled without
// harm to the machine.
package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrCannotMount: this process may not mount anything.
var ErrCannotMount = errors.New("drill: mounting a file system needs root")

// Disk is a file system in memory, mounted where only a process of the drill's
// own sees it. It goes with that process.
type Disk struct {
	holder *exec.Cmd
	stdin  io.Closer
	ended  chan struct{}
	root   string // what the holder's paths are seen under
	path   string
}

// Mount makes a disk of that many bytes; dir is an empty directory. The error
// wraps ErrCannotMount when it is not allowed here.
func Mount(dir string, bytes int64) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, ErrCannotMount
	}
	script := `mount -t tmpfs -o "size=$2,mode=0700" tmpfs "$1" && echo mounted && exec cat`
	d := &Disk{holder: exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dir, fmt.Sprint(bytes)), ended: make(chan struct{})}
	d.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	d.holder.Stderr = &stderr
	var err error
	if d.stdin, err = d.holder.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	line := make(chan string, 1)
	go func() {
		// As for the server's process: Pdeathsig goes by the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(d.ended)
		err := d.holder.Start()
		started <- err
		if err != nil {
			return
		}
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_ = d.holder.Wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotMount, err)
	}
	if text := <-line; text != "mounted\n" {
		<-d.ended
		return nil, fmt.Errorf("%w: %s", ErrCannotMount, strings.TrimSpace(stderr.String()))
	}
	// The mount is seen through the process that has it, by all that may look.
	d.root = fmt.Sprintf("/proc/%d/root", d.holder.Process.Pid)
	d.path = filepath.Join(d.root, dir)
	return d, nil
}

// Path of the disk's root directory.
func (d *Disk) Path() string { return d.path }

// ballast is the file that fills the disk.
func (d *Disk) ballast() string { return filepath.Join(d.path, "ballast") }

// Free is how many bytes can be written.
func (d *Disk) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Fill leaves about that many bytes free, 0 for none at all; what the server frees meanwhile is
// taken too.
func (d *Disk) Fill(leave int64) error {
	f, err := os.OpenFile(d.ballast(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for range 1000 {
		free, err := d.Free()
		if err != nil || free <= leave {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		err = unix.Fallocate(int(f.Fd()), 0, info.Size(), free-leave)
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			return err
		}
	}
	return errors.New("drill: the disk does not fill up")
}

// Shadow puts a disk without any room over a directory of this one: what is open
// there stays open, nothing new can be written. What somebody else writes there in
// the same moment fills it as well.
func (d *Disk) Shadow(dir string) error {
	return d.enter(`mount -t tmpfs -o size=4k,mode=0700 tmpfs "$1" && { head -c 4096 /dev/zero > "$1/ballast" || :; }`, dir)
}

// Unshadow brings the directory back.
func (d *Disk) Unshadow(dir string) error { return d.enter(`umount "$1"`, dir) }

// enter runs a script where the disk is mounted, with a path as it is there.
func (d *Disk) enter(script, dir string) error {
	inside := strings.TrimPrefix(dir, d.root)
	out, err := exec.Command("nsenter", "--target", fmt.Sprint(d.holder.Process.Pid), "--mount", "sh", "-c", script, "sh", inside).CombinedOutput()
	if err != nil {
		return fmt.Errorf("drill: %s: %w: %s", inside, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Empty takes the filling away.
func (d *Disk) Empty() error { return os.Remove(d.ballast()) }

// Unmount ends the disk. Nothing may use it any more.
func (d *Disk) Unmount() {
	_ = d.stdin.Close()
	<-d.ended
}
