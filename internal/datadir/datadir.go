// SPDX-License-Identifier: Apache-2.0

// Package datadir names what a server keeps in its data directory and locks the
// directory, so that one process at a time writes there.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names in a data directory.
const (
	lockName      = "lock"
	addressesName = "addresses.json"
	socketName    = "admin.sock"
	restoringName = "restoring"
	startingName  = "starting.json"
)

// EpochName is the file that says how often what is in a data directory was restored; its content is EpochText.
const EpochName = "epoch"

// EpochText is what stands in the file EpochName.
func EpochText(epoch uint16) string { return strconv.Itoa(int(epoch)) + "\n" }

// Addresses are what the listeners got, as host:port; "" for none. They stand
// in addresses.json while the server runs.
type Addresses struct {
	C2S      string `json:"c2s,omitempty"`
	C2STLS   string `json:"c2s_tls,omitempty"`
	HTTP     string `json:"http,omitempty"`
	HTTPS    string `json:"https,omitempty"`
	Redirect string `json:"redirect,omitempty"`
	Metrics  string `json:"metrics,omitempty"`
	Admin    string `json:"admin,omitempty"` // the admin page
}

// InUseError says that another process holds the directory.
type InUseError struct {
	Path string
	PID  int // 0: not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = "process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("data directory %s: %s is using it: stop that one, or choose another directory with --data", e.Path, who)
}

// Dir is a data directory, locked until Close.
type Dir struct {
	path string
	lock *os.File
}

// ErrRestoring: a backup was to be restored into the directory, which was not done to
// its end.
var ErrRestoring = errors.New("a backup was being restored into it and did not get to the end: empty it, and restore again")

// Open makes the directory if need be, readable by its owner only, and locks
// it. It gives an *InUseError when another process has it, and ErrRestoring.
func Open(path string) (*Dir, error) {
	d, err := open(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.join(restoringName)); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = ErrRestoring
		}
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", d.path, err), d.Close())
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	return d, nil
}

// OpenEmpty is Open for a backup that is restored into the directory, in which there
// must be nothing yet. Until Restored nothing else opens it.
func OpenEmpty(path string) (*Dir, error) {
	d, err := open(path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != "lost+found" && err == nil {
			err = fmt.Errorf("data directory %s: there is something in it: a backup is restored into an empty one", d.path)
		}
	}
	if err == nil {
		err = WriteFile(d.join(restoringName), nil, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Restored says that the directory is whole, and which epoch begins with it. It is on
// the disk when it returns.
func (d *Dir) Restored(epoch uint16) error {
	if err := WriteFile(d.join(EpochName), []byte(EpochText(epoch)), 0o600); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Remove(d.join(restoringName)); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return Sync(d.path)
}

// Epoch is how often what is in the directory was restored from a backup; see
// command.Position.
func (d *Dir) Epoch() (uint16, error) { return Epoch(d.path) }

// Epoch is that of the data directory at path, which may be in use.
func Epoch(path string) (uint16, error) {
	path = filepath.Join(path, EpochName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("data directory: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("data directory: %s is no epoch: %.40q", path, text)
	}
	return uint16(n), nil
}

// open makes and locks the directory.
func open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := prepare(path); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := own(lock, path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory: lock %s: %w", lock.Name(), err)
		}
		text := make([]byte, 32)
		n, _ := lock.ReadAt(text, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
		return nil, &InUseError{Path: path, PID: pid}
	}
	return &Dir{path: path, lock: lock}, nil
}

// prepare makes path with mode 0700, or takes rights of others away from it. It
// refuses a directory that others may read and that holds other things: it may
// have been named by mistake.
func prepare(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(path, lockName)); err != nil && len(entries) > 0 {
		return fmt.Errorf("%s holds other files and others may read it: name an empty directory, or chmod 700 it", path)
	}
	return os.Chmod(path, 0o700)
}

// own refuses a directory that another user's server keeps: files that are
// made there now would be unreadable to it.
func own(lock *os.File, path string) error {
	info, err := lock.Stat()
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	name := strconv.Itoa(int(stat.Uid))
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("data directory %s belongs to %s, and what is made there has to, too: run this as that user (sudo -u %s …)", path, name, name)
}

func (d *Dir) start() error {
	// Who holds the lock, for messages: a disk that is full must not keep a server
	// from starting.
	_ = d.lock.Truncate(0)
	_, _ = d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	for _, name := range []string{d.TLS(), d.Keys()} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	// What a killed server left behind would name listeners that are gone.
	return errors.Join(d.remove(addressesName), d.remove(startingName))
}

// Close removes addresses.json and lets go of the directory.
func (d *Dir) Close() error {
	return errors.Join(d.remove(addressesName), d.remove(startingName), d.lock.Close())
}

// remove removes a file that need not be there.
func (d *Dir) remove(name string) error {
	if err := os.Remove(d.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func (d *Dir) join(name string) string { return filepath.Join(d.path, name) }

// Free is how many bytes may still be written to the directory's disk.
func (d *Dir) Free() (uint64, error) { return free(d.path) }

// FreeForUploads is that of the disk of Uploads, which may be another one.
func (d *Dir) FreeForUploads() (uint64, error) {
	n, err := free(d.Uploads())
	if errors.Is(err, fs.ErrNotExist) {
		return d.Free()
	}
	return n, err
}

func free(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("data directory: free space: %w", err)
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}

// Path is absolute.
func (d *Dir) Path() string { return d.path }

// Journal is the directory of the journal's engine.
func (d *Dir) Journal() string { return d.join("journal") }

// Spool is the directory of what was read from the journal.
func (d *Dir) Spool() string { return d.join("spool") }

// View is the directory of the view's database.
func (d *Dir) View() string { return d.join("view") }

// TLS is the directory of the self-made authority and certificate, and of what
// was obtained by ACME.
func (d *Dir) TLS() string { return d.join("tls") }

// ACMECertificate is the file of a key and its chain in an ACMEDir.
const ACMECertificate = "certificate.pem"

// ACMEDir is where below TLS, at tls, the account and the certificate are of the
// authority with this ACME directory. Another authority's are no use to it.
func ACMEDir(tls, directory string) (string, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("ACME directory %q is no address", directory)
	}
	return filepath.Join(tls, "acme", strings.ReplaceAll(u.Host, ":", "-")), nil
}

// Checkpoint is the directory of a view as it was, while a backup is made of it.
func (d *Dir) Checkpoint() string { return d.join("checkpoint") }

// Uploads is the directory of the files that people have shared.
func (d *Dir) Uploads() string { return d.join("uploads") }

// Keys is the directory of the node's other secrets.
func (d *Dir) Keys() string { return d.join("keys") }

// AdminSocket is the unix socket of the admin interface.
func (d *Dir) AdminSocket() string { return AdminSocket(d.path) }

// AdminSocket is the admin socket of the data directory at path.
func AdminSocket(path string) string { return filepath.Join(path, socketName) }

// WriteAddresses replaces addresses.json, whole or not at all.
func (d *Dir) WriteAddresses(a Addresses) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	if err := WriteFile(d.join(addressesName), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	return nil
}

// ReadAddresses reads what the server in the data directory at path listens on.
// The error is fs.ErrNotExist when none runs.
func ReadAddresses(path string) (Addresses, error) {
	var a Addresses
	text, err := os.ReadFile(filepath.Join(path, addressesName))
	if err != nil {
		return a, fmt.Errorf("addresses: %w", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("addresses: %w", err)
	}
	return a, nil
}

// WriteFile replaces the file at path, whole or not at all, also across a power
// cut.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return Sync(filepath.Dir(path))
}

// Sync has what was made, renamed or removed in a directory on the disk.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
