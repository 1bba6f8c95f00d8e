// SPDX-License-Identifier: Apache-2.0

package datadir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/internal/datadir"
)

func TestOnlyOneProcessHasTheDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = datadir.Open(path)
	var inUse *datadir.InUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Fatalf("second Open: %v, want InUseError of this process", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = datadir.Open(path)
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	d.Close()
}

func TestDirectoryIsReadableByItsOwnerOnly(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, %v; want 0700", info.Mode(), err)
	}
}

func TestDirectoryOfOtherThingsIsRefused(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path); err == nil {
		t.Fatal("a readable directory with other files was taken over")
	}
}

func TestAddressesLiveAsLongAsTheServer(t *testing.T) {
	path := t.TempDir()
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := datadir.Addresses{C2S: "127.0.0.1:40001", HTTP: "127.0.0.1:40002"}
	if err := d.WriteAddresses(want); err != nil {
		t.Fatal(err)
	}
	if got, err := datadir.ReadAddresses(path); err != nil || got != want {
		t.Fatalf("read %+v, %v; want %+v", got, err, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.ReadAddresses(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("after Close: %v, want not exist", err)
	}
}

// What a server that is starting does is known while it holds the directory, and is not ready.
func TestStarting(t *testing.T) {
	path := t.TempDir()
	none := func(when string) {
		t.Helper()
		if s, err := datadir.ReadStarting(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %+v, %v", when, s, err)
		}
	}
	none("before")
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := datadir.Starting{PID: 7, Since: time.Unix(1000, 0).UTC(), Said: "it waits", At: time.Unix(1001, 0).UTC()}
	for _, said := range []string{"", want.Said} {
		s := want
		s.Said = said
		if err := d.SetStarting(s); err != nil {
			t.Fatal(err)
		}
		if got, err := datadir.ReadStarting(path); err != nil || got != s {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := d.Started(); err != nil {
		t.Fatal(err)
	}
	none("when it is ready")
	if err := d.SetStarting(want); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(path, "starting.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	none("after its end")
	if err := os.WriteFile(filepath.Join(path, "starting.json"), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	none("after it was killed")
}

// A command run as root must not leave files that the server cannot read.
func TestDirectoryOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away")
		return
	}
	path := t.TempDir()
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(path, "lock"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path); err == nil || !strings.Contains(err.Error(), "sudo -u nobody") {
		t.Fatalf("got %v, want a hint to become nobody", err)
	}
}

func TestFree(t *testing.T) {
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.Free(); err != nil || n == 0 {
		t.Fatalf("%d bytes free, %v", n, err)
	}
}

// What is being restored is nobody's until it is whole.
func TestRestoring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d, err := datadir.OpenEmpty(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil { // cut short
		t.Fatal(err)
	}
	if _, err := datadir.Open(path); !errors.Is(err, datadir.ErrRestoring) {
		t.Errorf("half restored, it opens: %v", err)
	}
	if _, err := datadir.OpenEmpty(path); err == nil {
		t.Error("restored over what was half restored")
	}
	if err := os.Remove(filepath.Join(path, "restoring")); err != nil {
		t.Fatal(err)
	}
	if d, err = datadir.OpenEmpty(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Restored(3), d.Close()); err != nil {
		t.Fatal(err)
	}
	if d, err = datadir.Open(path); err != nil {
		t.Fatal(err)
	}
	if epoch, err := d.Epoch(); err != nil || epoch != 3 {
		t.Error(epoch, err)
	}
	if err := os.WriteFile(filepath.Join(path, "epoch"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Epoch(); err == nil {
		t.Error("an epoch that is none was taken")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
