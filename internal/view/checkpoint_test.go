// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// A checkpoint is a whole view of what was applied when it was asked for, and what
// comes later does not change it.
func TestCheckpoint(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for n := range 100 {
		c.accept(message("ann/x", "bob", fmt.Sprint("m", n)))
		if n == 50 {
			if err := c.v.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	applied, all := c.v.Applied(), c.inArchive(state.Query{Account: at("bob"), Max: 200})
	p, err := c.v.Checkpoint("/copies/one")
	if err != nil || p != applied {
		t.Fatal(p, err)
	}
	c.accept(message("ann/x", "bob", "later"))
	if err := c.v.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.v.Checkpoint("/copies/one"); err == nil {
		t.Error("one was made over another")
	}
	copied := c.openAt("/copies/one", Options{})
	if copied.v.Applied() != applied {
		t.Errorf("applied %v, want %v", copied.v.Applied(), applied)
	}
	if got := copied.inArchive(state.Query{Account: at("bob"), Max: 200}); got != all {
		t.Errorf("it has %s, want %s", got, all)
	}
	copied.scrub()
	if err := copied.v.Close(); err != nil {
		t.Fatal(err)
	}
	// It goes on by itself, in an epoch of its own.
	next := c.openAt("/copies/one", Options{Epoch: 1})
	next.accept(message("ann/x", "bob", "another"))
	if p := next.v.Applied(); p.Epoch != 1 || !applied.Before(p) {
		t.Errorf("applied %v after %v", p, applied)
	}
	next.wantDuplicate(message("ann/x", "bob", "m99"), applied)
	next.scrub()
}

// With LogOut no device comes in without the password or the recovery code.
func TestLogOut(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(withPassword(c, "ann", 1, 7))
	c.accept(linkSet("ann", 2))
	c.accept(recoverySet("ann"))
	if _, err := c.v.Checkpoint("/copy"); err != nil {
		t.Fatal(err)
	}
	if err := LogOut("/copy", Options{FS: c.fs, Domain: domain, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	copied := c.openAt("/copy", Options{Epoch: 1})
	if _, err := copied.v.Client(at("ann"), string(clientNamed(1))); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the device is in: %v", err)
	}
	copied.refused(loginOf("ann", 4, command.ClientAuth_CLIENT_AUTH_LINK, scramKeys(2).StoredKey, 0), stanza.NotAuthorized)
	copied.refused(withToken("ann", 1, 7, 0), stanza.NotAuthorized)
	copied.accept(withPassword(copied, "ann", 2, 0))
	copied.accept(loginOf("ann", 5, command.ClientAuth_CLIENT_AUTH_RECOVERY, scramKeys(9).StoredKey, 0))
	copied.scrub()
}

// openAt opens the view in dir of the same file system.
func (c *cellOf) openAt(dir string, o Options) *cellOf {
	c.t.Helper()
	o.FS, o.Domain = c.fs, domain
	v, err := Open(dir, o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = v.Close() })
	return &cellOf{t: c.t, v: v, fs: c.fs, now: c.now}
}
