// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// beside gives the options of a node of a cell whose journal is the server.
func (s *server) beside(t testing.TB, name, dir string) Options {
	opts := s.options(t)
	opts.Name, opts.Dir, opts.SpoolDir = name, filepath.Join(dir, "journal"), filepath.Join(dir, "spool")
	opts.Peers = &Peers{Members: map[string]string{"a": "a.example:1", "b": "b.example:1", "c": "c.example:1"}}
	opts.aliveFor = int64(patience.Seconds()) // what runs is never taken for gone here, however busy the machine is
	return opts
}

// cellElsewhere opens nodes of a cell, each in a directory of its own, which it gives.
func (s *server) cellElsewhere(t testing.TB, names ...string) (nodes map[string]Journal, dirs map[string]string) {
	nodes, dirs = map[string]Journal{}, map[string]string{}
	for _, name := range names {
		dirs[name] = t.TempDir()
		nodes[name] = open(t, s.beside(t, name, dirs[name]))
	}
	return nodes, dirs
}

// reachedBy are the others that a node knows to run.
func reachedBy(j Journal) []string {
	var all []string
	for _, o := range j.Stats().Others {
		if o.Reached {
			all = append(all, o.Name)
		}
	}
	return all
}

// TestCellElsewhere: several nodes on an etcd that none of them runs read the same, know who of them runs, and drop no
// history that one of them needs.
func TestCellElsewhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	nodes, _ := s.cellElsewhere(t, "a", "b")
	if all := nodes["a"].Stats().Others; len(all) != 2 || !all[1].Absent {
		t.Errorf("c, which has not begun: %+v", all)
	}
	nodes["c"] = open(t, s.beside(t, "c", t.TempDir()))
	tails := map[string]Tailer{}
	for name, j := range nodes {
		tails[name] = tail(t, j, 0)
	}
	var last uint64
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		last = slices.Max(commit(t, nodes[name], numbered(5)...))
	}
	want := read(t, tails["a"], 15)
	for _, name := range []string{"b", "c"} {
		same(t, read(t, tails[name], 15), want)
	}
	until(t, "a knows that the others run", func() bool { return slices.Equal(reachedBy(nodes["a"]), []string{"b", "c"}) })
	m := nodes["a"].(Membership)
	if !m.Voter("c") || m.Voter("x") {
		t.Error("it is not known who is in the cell")
	}
	nodes["a"].Release(last)
	nodes["b"].Release(last)
	j := nodes["a"].(*etcdJournal)
	own := nodeState{last, last}
	until(t, "b has said how far it is", func() bool {
		states, err := j.states(t.Context())
		return err == nil && states["b"].released == last
	})
	if cell, err := j.agreed(t.Context(), own); err != nil || cell.released != 0 {
		t.Errorf("c has released nothing, and may be left with nothing: %+v, %v", cell, err)
	}
	nodes["c"].Release(last)
	until(t, "all have said how far they are", func() bool {
		cell, err := j.agreed(t.Context(), own)
		return err == nil && cell.released == last
	})
	closeJournal(t, nodes["b"])
	until(t, "a knows that b has ended", func() bool { return slices.Equal(reachedBy(nodes["a"]), []string{"c"}) })
}

// TestPlaceElsewhere: a data directory takes the place of one that is lost, once nobody runs in it; the lost one does not
// come back, and none takes the place of one that runs.
func TestPlaceElsewhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	nodes, dirs := s.cellElsewhere(t, "a", "b")
	want := numbered(3)
	commit(t, nodes["b"], want...)
	ctx := testContext(t)
	second := s.beside(t, "b", t.TempDir())
	short, cancel := context.WithTimeout(ctx, 3*probeTimeout)
	defer cancel()
	if j, err := OpenEtcd(short, second); err == nil {
		closeJournal(t, j)
		t.Fatal("b was opened twice")
	}
	closeJournal(t, nodes["b"])
	b := open(t, second)
	commit(t, b, numbered(2)...)
	if n := len(read(t, tail(t, b, 0), 5)); n != 5 {
		t.Errorf("%d commands", n)
	}
	if _, err := OpenEtcd(ctx, s.beside(t, "b", dirs["b"])); !errors.Is(err, ErrOwner) {
		t.Errorf("what was replaced: %v", err)
	}
	closeJournal(t, b)
	if b, err := OpenEtcd(ctx, second); err != nil {
		t.Errorf("what took its place: %v", err)
	} else {
		closeJournal(t, b)
	}
}

// TestClaimCutShort: a first start that ends between its steps is gone on with.
func TestClaimCutShort(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	nodes, _ := s.cellElsewhere(t, "a")
	closeJournal(t, nodes["a"])
	opts := s.beside(t, "a", t.TempDir())
	j, err := newEtcdJournal(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(opts.Dir, 0o700), os.MkdirAll(opts.SpoolDir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.beginElsewhere(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.name(); err != nil { // the directory has one, and nobody was told
		t.Fatal(err)
	}
	open(t, opts)
}

// TestRemoveElsewhere: a node that is taken out ends, does not start again until that is permitted, and a frozen one finds
// out when it goes on.
func TestRemoveElsewhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	nodes, dirs := s.cellElsewhere(t, "a", "b", "c")
	ctx := testContext(t)
	of := func(node string) Membership { return nodes[node].(Membership) }
	if err := of("a").Remove(ctx, "a"); !errors.Is(err, ErrNode) {
		t.Errorf("itself: %v", err)
	}
	if err := errors.Join(of("a").Remove(ctx, "c"), of("b").Remove(ctx, "c")); err != nil {
		t.Fatal(err)
	}
	endsRemoved(t, nodes["c"])
	if of("a").Voter("c") {
		t.Error("c is still one of the cell")
	}
	commit(t, nodes["a"], numbered(3)...)
	again := s.beside(t, "c", t.TempDir())
	for _, opts := range []Options{s.beside(t, "c", dirs["c"]), again} {
		if _, err := OpenEtcd(ctx, opts); !errors.Is(err, ErrRemoved) {
			t.Errorf("c starts again: %v", err)
		}
	}
	if err := of("a").Permit(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	c := open(t, again)
	if n := len(read(t, tail(t, c, 0), 3)); n != 3 {
		t.Errorf("%d commands", n)
	}
}

// TestAloneBecomesNode: the data directory of a server alone becomes that of a node, whatever that one is called, and leaves no
// place behind under which nobody runs.
func TestAloneBecomesNode(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	dir := t.TempDir()
	alone := s.beside(t, "a", dir)
	alone.Peers = nil
	j := open(t, alone)
	want := numbered(3)
	commit(t, j, want...)
	closeJournal(t, j)
	b := open(t, s.beside(t, "b", dir))
	if m := b.(Membership); m.Voter("a") || !m.Voter("b") {
		t.Error("the name that it had alone is still one of the cell's")
	}
	a := open(t, s.beside(t, "a", t.TempDir()))
	for _, j := range []Journal{a, b} {
		if n := len(read(t, tail(t, j, 0), len(want))); n != len(want) {
			t.Errorf("%d commands", n)
		}
	}
}
