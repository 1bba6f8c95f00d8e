// SPDX-License-Identifier: Apache-2.0

package powerfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Disk is one that is mounted where only this process and those that it starts look. It
// goes with this process.
type Disk struct {
	store  *store
	dir    string
	path   string
	calls  chan func() // for the thread that has the mount
	served chan struct{}
}

// Mount makes an empty disk that holds that many bytes, in memory; dir is an empty directory.
// The error wraps ErrCannotMount when it is not allowed here.
func Mount(dir string, bytes int64) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, ErrCannotMount
	}
	d := &Disk{store: newStore(bytes), dir: dir, calls: make(chan func())}
	thread := make(chan error, 1)
	go d.live(thread)
	if err := <-thread; err != nil {
		return nil, fmt.Errorf("%w: a mount namespace: %w", ErrCannotMount, err)
	}
	if err := d.mount(); err != nil {
		close(d.calls)
		return nil, fmt.Errorf("%w: %w", ErrCannotMount, err)
	}
	return d, nil
}

// Path of the disk's root directory, for this process and others. This one must not map its files
// (mmap(2)): a page fault holds up the runtime that has to answer it.
func (d *Disk) Path() string { return d.path }

// live is the thread that has a mount namespace of its own. It ends with it, as it is not unlocked.
func (d *Disk) live(started chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	d.path = filepath.Join(fmt.Sprintf("/proc/%d/task/%d/root", os.Getpid(), unix.Gettid()), d.dir)
	started <- err
	if err != nil {
		return
	}
	for call := range d.calls {
		call()
	}
}

// inside runs f on that thread.
func (d *Disk) inside(f func() error) error {
	done := make(chan error, 1)
	d.calls <- func() { done <- f() }
	return <-done
}

func (d *Disk) mount() error {
	// Not by the library, which would leave the file open to the programs that are started.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Geteuid(), os.Getegid())
	err = d.inside(func() error {
		return unix.Mount("powerfs", d.dir, "fuse.powerfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("mount %s: %w", d.dir, err), unix.Close(fd))
	}
	server, err := fuse.NewServer(&kernel{fuse.NewDefaultRawFileSystem(), d.store}, fmt.Sprint("/dev/fd/", fd), &fuse.MountOptions{
		MaxWrite: 1 << 20, DisableReadDirPlus: true, DisableXAttrs: true,
	})
	if err != nil {
		return errors.Join(err, d.inside(func() error { return unix.Unmount(d.dir, unix.MNT_DETACH) }))
	}
	d.served = make(chan struct{})
	go func() {
		defer close(d.served)
		server.Serve()
	}()
	return d.refusePolls()
}

// refusePolls has the kernel learn that there is no poll(2) here. Else the runtime would ask
// for it when it opens a file, and may hold up all of this process until it is answered.
func (d *Disk) refusePolls() error {
	const name = "polled"
	fd, err := unix.Open(filepath.Join(d.path, name), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd), unix.Unlink(filepath.Join(d.path, name)))
}

const (
	// unmountTries, unmountPause apart, is how often it is tried while the kernel closes
	// files of programs that have ended.
	unmountTries = 100
	unmountPause = 20 * time.Millisecond
)

func (d *Disk) unmount() error {
	err := d.inside(func() error { return unix.Unmount(d.dir, 0) })
	for range unmountTries {
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(unmountPause)
		err = d.inside(func() error { return unix.Unmount(d.dir, 0) })
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	<-d.served
	return nil
}

// Cut leaves what a power cut leaves: what was synced, and of the rest a random part. survive
// is the chance of each page of 4 KiB, and of each change of a name after the one before it: 0
// is none. Nobody may use the disk, and it is as new for the kernel afterwards.
func (d *Disk) Cut(survive float64, random *rand.Rand) error {
	if err := d.unmount(); err != nil {
		return err
	}
	d.store.mu.Lock()
	d.store.cut(survive, random)
	d.store.mu.Unlock()
	return d.mount()
}

// WriteBack makes all safe that is on the disk at one moment, as a system does now and then.
func (d *Disk) WriteBack() {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.writeBack()
}

// Fail has something be the matter with the disk, in the place of what was, until Heal.
func (d *Disk) Fail(f Fault) { d.store.setFault(&f) }

// Heal ends what is the matter with the disk; what waits for it goes on.
func (d *Disk) Heal() { d.store.setFault(nil) }

// Unmount ends the disk. Nobody may use it.
func (d *Disk) Unmount() error {
	err := d.unmount()
	close(d.calls)
	return err
}
