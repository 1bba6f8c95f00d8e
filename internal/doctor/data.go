// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// data looks at the data directory and its disk.
func (e *examination) data() {
	const about = "data directory"
	path, err := filepath.Abs(e.Config.Data)
	if err != nil {
		path = e.Config.Data
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := existing(path)
		e.add(OK, about, "", "%s is not there yet: it is made when the server first starts", path)
		e.disk(parent)
		return
	case err != nil:
		e.add(Problem, about, "run this as root or as the server's user", "%v", err)
		return
	case !info.IsDir():
		e.add(Problem, about, "name a directory with data or --data", "%s is a file", path)
		return
	}
	e.owner(path, info)
	e.disk(path)
}

// existing gives the nearest directory above path that is there.
func existing(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}

// owner looks at whose the directory is and who may read it.
func (e *examination) owner(path string, info fs.FileInfo) {
	const about = "data directory"
	uid := ownerOf(info)
	name := userName(uid)
	foreign, err := foreigners(path, uid)
	switch {
	case uid != os.Geteuid() && os.Geteuid() != 0:
		e.add(Unchecked, about, "run this as root or as "+name, "%s belongs to %s: what is in it cannot be seen", path, name)
		return
	case err != nil:
		e.add(Unchecked, about, "", "%s: %v", path, err)
	case len(foreign) > 0:
		e.add(Problem, about, fmt.Sprintf("stop the server, then chown -R %s %s", name, path),
			"%s belongs to %s, but %s does not: the server cannot use it", path, name, foreign[0])
	}
	if info.Mode().Perm()&0o077 != 0 {
		e.add(Problem, about, "chmod 700 "+path, "others than %s may read %s (mode %04o): it holds keys and messages", name, path, info.Mode().Perm())
		return
	}
	if len(foreign) == 0 {
		e.add(OK, about, "", "%s belongs to %s, who alone may read it", path, name)
	}
}

// foreigners gives what in a directory, two levels deep, belongs to others.
func foreigners(path string, uid int) ([]string, error) {
	var all []string
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a file of a running server that has gone
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // the same
		}
		if ownerOf(info) != uid {
			all = append(all, name)
		}
		if rel, err := filepath.Rel(path, name); err == nil && d.IsDir() && filepath.Dir(rel) != "." && rel != "." {
			return filepath.SkipDir
		}
		return nil
	})
	return all, err
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return os.Geteuid()
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(uid)
}

// disk looks at the disk that holds path.
func (e *examination) disk(path string) {
	const about = "disk"
	name, level, hint := fileSystem(path)
	switch level {
	case Unchecked:
		e.add(Unchecked, about, "", "the type of the file system is not known here")
	default:
		e.add(level, about, hint, "%s is on %s", path, name)
	}
	e.space(path)
	e.fsync(path)
}

// space compares what is free with what the server wants to keep free.
func (e *examination) space(path string) {
	const about = "disk"
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		e.add(Unchecked, about, "", "free space: %v", err)
		return
	}
	free := uint64(s.Bavail) * uint64(s.Bsize)
	total := uint64(s.Blocks) * uint64(s.Bsize)
	least := uint64(e.Config.Journal.MinFreeMiB) << 20
	text := fmt.Sprintf("%s of %s are free", bytes(free), bytes(total))
	switch {
	case free < least:
		e.add(Problem, about, "make room, or lower journal.min_free_mib", "%s: under %d MiB (journal.min_free_mib) nothing new is accepted", text, e.Config.Journal.MinFreeMiB)
	case free < 2*least:
		e.add(Warning, about, "make room", "%s; under %d MiB (journal.min_free_mib) nothing new is accepted", text, e.Config.Journal.MinFreeMiB)
	default:
		e.add(OK, about, "", "%s", text)
	}
	if s.Files > 0 && uint64(s.Ffree) < 10_000 {
		e.add(Warning, about, "remove small files that nobody needs", "only %d more files can be made", s.Ffree)
	}
}

// Bounds of what is said of the disk: a message is on disk before it has its
// tick, and the journal's leader is replaced when it is silent for 0.5 s.
const (
	fsyncSlow = 100 * time.Millisecond
	fsyncBad  = 400 * time.Millisecond
	// fsyncFake is faster than any disk that keeps what it says it keeps.
	fsyncFake = 15 * time.Microsecond
)

// fsync measures how long the disk takes to keep 4 KiB.
func (e *examination) fsync(path string) {
	const about = "disk"
	times, err := measure(path)
	if err != nil {
		e.add(Unchecked, about, "run this as root or as the server's user", "how long fsync takes: %v", err)
		return
	}
	e.judgeFsyncs(times)
}

// judgeFsyncs says what these times of fsync, one at least, mean for people.
func (e *examination) judgeFsyncs(times []time.Duration) {
	const about = "disk"
	slices.Sort(times)
	p50, p99 := times[len(times)/2], times[len(times)*99/100]
	text := fmt.Sprintf("fsync takes %s, at worst %s (p50, p99 of %d)", in(p50), in(p99), len(times))
	switch {
	case p99 > fsyncBad:
		e.add(Problem, about, "use a faster disk, and nothing else that writes to it", "%s: people wait for their ticks, and the journal stumbles", text)
	case p99 > fsyncSlow:
		e.add(Warning, about, "look what else writes to it; a solid state disk takes 1 ms to 10 ms", "%s: people wait for their ticks", text)
	case p50 < fsyncFake:
		e.add(Warning, about, "see that no cache answers in the disk's place: after a power cut it would be empty", "%s: that is faster than disks are", text)
	default:
		e.add(OK, about, "", "%s", text)
	}
}

// measure writes and syncs for at most fsyncFor.
func measure(dir string) (times []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".bavard-doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4<<10)
	for end := time.Now().Add(fsyncFor); len(times) < 200 && time.Now().Before(end); {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun))
	}
	return times, nil
}
