// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSole: by what is on the disk one can tell that there is no other copy.
func TestSole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if sole, err := Sole(dir); sole || err != nil {
		t.Errorf("without a journal: %v, %v", sole, err)
	}
	j, err := OpenEtcd(t.Context(), Options{Name: "a", Dir: dir, SpoolDir: filepath.Join(dir, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if sole, err := Sole(dir); !sole || err != nil {
		t.Errorf("alone: %v, %v", sole, err)
	}
	db := filepath.Join(dir, "etcd", "member", "snap", "db")
	if err := os.Truncate(db, 100); err != nil {
		t.Fatal(err)
	}
	if sole, err := Sole(dir); sole || err != nil {
		t.Errorf("damaged: %v, %v", sole, err)
	}
}

// endsRemoved waits until a node notices that it was taken out.
func endsRemoved(t *testing.T, node Journal) {
	t.Helper()
	select {
	case <-node.(Membership).Removed():
	case <-testContext(t).Done():
		t.Fatal("it does not notice that it was taken out")
	}
	closeJournal(t, node)
}

// TestRemove: a node that is taken out ends, does not start again, and is let in again only when that is
// permitted, without its data; the others go on, and do not lose their majority by it.
func TestRemove(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	want := numbered(5)
	commit(t, nodes["c"], want...)
	of := func(node string) Membership { return nodes[node].(Membership) }
	ctx := testContext(t)
	for _, node := range []string{"a", "x"} {
		if err := of("a").Remove(ctx, node); !errors.Is(err, ErrNode) {
			t.Errorf("remove %s: %v", node, err)
		}
	}
	if !of("a").Voter("c") || !of("a").Member("c") || of("a").Member("x") {
		t.Fatal("c is none of the cell")
	}
	var err error
	until(t, "a reaches the others", func() bool {
		err = of("a").Remove(ctx, "c")
		return !errors.Is(err, ErrNoMajority)
	})
	if err = errors.Join(err, of("b").Remove(ctx, "c")); err != nil {
		t.Fatal(err)
	}
	endsRemoved(t, nodes["c"])
	if of("a").Voter("c") || of("b").Voter("c") || of("a").Member("c") || of("b").Member("c") {
		t.Error("c is still one of the cell")
	}
	if _, err := OpenEtcd(ctx, c.options(t, "c", opts)); !errors.Is(err, ErrRemoved) {
		t.Errorf("c starts again: %v", err)
	}
	if err := os.RemoveAll(c.options(t, "c", opts).Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := c.rejoins(t, opts, askOf(nodes["b"])); !errors.Is(err, ErrRemoved) {
		t.Errorf("c was let in again: %v", err)
	}
	if err := of("a").Permit(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	back, err := c.rejoins(t, opts, askOf(nodes["b"]))
	if err != nil {
		t.Fatal(err)
	}
	hasAll(t, nodes, back, want...)
}

// TestAnotherAddress: a node that is started at another address is found there by the others, also before
// these are told.
func TestAnotherAddress(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	commit(t, nodes["c"], "before")
	closeJournal(t, nodes["c"])
	moved := *c
	moved.nodes = maps.Clone(c.nodes)
	moved.nodes["c"] = freePort(t)
	back := moved.open(t, opts, "c")["c"]
	commit(t, back, "moved")
	// a has nobody but c now, and dials it.
	closeJournal(t, nodes["b"])
	commit(t, nodes["a"], "without b")
	for _, m := range nodes["a"].(*etcdJournal).host.(*embedded).etcd.Server.Cluster().Members() {
		if m.Name == "c" && hostOf(m) != moved.nodes["c"] {
			t.Errorf("c is sought at %v", m.PeerURLs)
		}
	}
	moved.open(t, opts, "b")
	closeJournal(t, nodes["a"])
	commit(t, moved.open(t, opts, "a")["a"], "all told")
	var got []string
	for _, n := range read(t, tail(t, back, 0), 4) {
		got = append(got, n.cmd)
	}
	if s := strings.Join(got, ", "); s != "before, moved, without b, all told" {
		t.Errorf("c reads: %s", s)
	}
}
