// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// askOf is Peers.Rejoin of node c, which asks j without a network.
func askOf(j Journal) func(context.Context, Rejoining) (map[string]string, error) {
	return func(ctx context.Context, ask Rejoining) (map[string]string, error) {
		return j.(Readmitter).Readmit(ctx, "c", ask.Owner, ask.Address)
	}
}

// rejoins opens node c, which asks: it may take a while until the others are sure that
// its old member is gone.
func (c *testCell) rejoins(t *testing.T, opts Options, ask func(context.Context, Rejoining) (map[string]string, error)) (Journal, error) {
	t.Helper()
	opts = c.options(t, "c", opts)
	opts.Peers.Begin = false
	opts.Peers.Rejoin = func(ctx context.Context, r Rejoining) (members map[string]string, err error) {
		until(t, "the others let c in", func() bool {
			members, err = ask(ctx, r)
			return !errors.Is(err, ErrActive) && !errors.Is(err, ErrBusy)
		})
		return members, err
	}
	j, err := OpenEtcd(testContext(t), opts)
	if err == nil {
		t.Cleanup(func() { closeJournal(t, j) })
	}
	return j, err
}

// member c of the cell as j has it.
func memberC(t *testing.T, j Journal) (id uint64, learner bool) {
	t.Helper()
	resp, err := j.(*etcdJournal).client.MemberList(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Members) != 3 {
		t.Fatalf("the cell has %d members", len(resp.Members))
	}
	for _, m := range resp.Members {
		if m.Name == "c" {
			id, learner = m.ID, m.IsLearner
		}
	}
	return id, learner
}

// withoutC opens the cell, has something said by node c, and takes c's data away.
func (c *testCell) withoutC(t *testing.T, opts Options) (nodes map[string]Journal, want []string) {
	t.Helper()
	nodes, want = c.open(t, opts, "a", "b", "c"), numbered(20)
	commit(t, nodes["c"], want...)
	closeJournal(t, nodes["c"])
	if err := os.RemoveAll(c.options(t, "c", opts).Dir); err != nil {
		t.Fatal(err)
	}
	return nodes, want
}

// hasAll: a journal has these commands, in order, and takes more although node b is stopped,
// so that it counts.
func hasAll(t *testing.T, nodes map[string]Journal, back Journal, want ...string) {
	t.Helper()
	closeJournal(t, nodes["b"])
	commit(t, back, "last")
	want = append(want, "last")
	got := read(t, tail(t, back, 0), len(want))
	for i, n := range got {
		if n.cmd != want[i] {
			t.Errorf("command %d is %q, want %q", i, n.cmd, want[i])
		}
	}
	same(t, read(t, tail(t, nodes["a"], 0), len(want)), got)
}

// TestWipedNodeRejoins: a node without its data becomes another member, has all that
// the others have, and a vote. What it was is forgotten by the cell.
func TestWipedNodeRejoins(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes, want := c.withoutC(t, opts)
	old, _ := memberC(t, nodes["a"])
	back, err := c.rejoins(t, opts, askOf(nodes["a"]))
	if err != nil {
		t.Fatal(err)
	}
	if id, learner := memberC(t, nodes["a"]); id == old || id == 0 || learner {
		t.Errorf("c is member %x, it was %x; learner: %t", id, old, learner)
	}
	if m, err := readMarker(c.options(t, "c", opts).Dir); m != nil || err != nil {
		t.Errorf("the marker is %v, %v", m, err)
	}
	hasAll(t, nodes, back, want...)
}

// TestRejoinedNodeKnowsWhoIsThere: a node that was sent all at once what the others have knows
// afterwards when one of them is gone.
func TestRejoinedNodeKnowsWhoIsThere(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes, _ := c.withoutC(t, opts)
	commit(t, nodes["a"], numbered(snapshotCount+catchUpEntries)...)
	back, err := c.rejoins(t, opts, askOf(nodes["a"]))
	if err != nil {
		t.Fatal(err)
	}
	if snapshots, err := filepath.Glob(filepath.Join(c.options(t, "c", opts).Dir, "etcd", "member", "snap", "*.snap")); len(snapshots) == 0 {
		t.Fatalf("it was sent no snapshot: %v", err)
	}
	reaches := func(name string, want bool) {
		t.Helper()
		until(t, fmt.Sprintf("c is connected to %s: %t", name, want), func() bool {
			return slices.ContainsFunc(back.Stats().Others, func(o Other) bool { return o.Name == name && o.Reached == want })
		})
	}
	reaches("a", true)
	reaches("b", true)
	closeJournal(t, nodes["a"])
	reaches("a", false)
	reaches("b", true)
}

// TestNodeThatForgotRejoins: so does one whose log was cut; what else was on that disk
// goes.
func TestNodeThatForgotRejoins(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	want := numbered(20)
	last := commit(t, nodes["c"], want...)[19]
	closeJournal(t, nodes["c"])
	own := c.options(t, "c", opts)
	kept := filepath.Join(own.SpoolDir, "of before")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	behind := opts
	behind.Durable = last + 10
	asked := 0
	back, err := c.rejoins(t, behind, func(ctx context.Context, r Rejoining) (map[string]string, error) {
		asked++
		if _, err := os.Stat(kept); !r.Behind || err != nil {
			t.Errorf("before it is let in: behind %t, what it has: %v", r.Behind, err)
		}
		return askOf(nodes["a"])(ctx, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err == nil || asked == 0 {
		t.Errorf("the spool of before is kept, %v; asked %d times", err, asked)
	}
	hasAll(t, nodes, back, want...)
}

// TestRejoinIsCut: cut short at each step, by an end of either side, taking part anew
// goes on at the next start, and is done once.
func TestRejoinIsCut(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut short")
	for _, at := range []string{"asking", "lost", "answered", "admitted", "learner", "promoted"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			c := newTestCell(t)
			opts := Options{UnsafeNoFsync: true}
			nodes, want := c.withoutC(t, opts)
			first := opts
			first.rejoinStep = func(step string) error {
				if step == at {
					return cut
				}
				return nil
			}
			_, err := c.rejoins(t, first, func(ctx context.Context, r Rejoining) (map[string]string, error) {
				members, err := askOf(nodes["a"])(ctx, r)
				if err == nil && at == "lost" {
					err = cut // the others have done it, and their answer is lost
				}
				return members, err
			})
			if !errors.Is(err, cut) {
				t.Fatalf("it was to be cut short: %v", err)
			}
			back, err := c.rejoins(t, opts, askOf(nodes["b"]))
			if err != nil {
				t.Fatal(err)
			}
			if id, learner := memberC(t, nodes["a"]); id == 0 || learner {
				t.Errorf("c is member %x; learner: %t", id, learner)
			}
			hasAll(t, nodes, back, want...)
		})
	}
}

// losing is an etcd that does not answer the first change of each kind, as one does whose leader dropped it.
type losing struct {
	clientv3.Cluster
	removals, additions int
}

func (l *losing) MemberRemove(ctx context.Context, id uint64) (*clientv3.MemberRemoveResponse, error) {
	if l.removals++; l.removals == 1 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return l.Cluster.MemberRemove(ctx, id)
}

func (l *losing) MemberAddAsLearner(ctx context.Context, at []string) (*clientv3.MemberAddResponse, error) {
	if l.additions++; l.additions == 1 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return l.Cluster.MemberAddAsLearner(ctx, at)
}

// TestChangesAreLost: a change of who is a member that nobody answers is asked for again.
func TestChangesAreLost(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes, want := c.withoutC(t, opts)
	client := nodes["a"].(*etcdJournal).client
	lost := &losing{Cluster: client.Cluster}
	client.Cluster = lost
	back, err := c.rejoins(t, opts, askOf(nodes["a"]))
	if err != nil {
		t.Fatal(err)
	}
	if lost.removals < 2 || lost.additions < 2 {
		t.Errorf("%d removals and %d additions were asked for", lost.removals, lost.additions)
	}
	hasAll(t, nodes, back, want...)
}

// TestReadmitRefuses: nobody is replaced who runs, or says that it is elsewhere, and not
// two at once.
func TestReadmitRefuses(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	a := nodes["a"].(Readmitter)
	until(t, "a is connected to c", func() bool {
		for _, o := range nodes["a"].Stats().Others {
			if o.Name == "c" && o.Reached {
				return true
			}
		}
		return false
	})
	before, _ := memberC(t, nodes["a"])
	if _, err := a.Readmit(testContext(t), "c", "fresh", c.nodes["c"]); !errors.Is(err, ErrActive) {
		t.Errorf("a node that runs: %v", err)
	}
	for what, ask := range map[string][3]string{
		"another address": {"c", "fresh", "127.0.0.1:1"}, "itself": {"a", "fresh", c.nodes["a"]},
		"a stranger": {"d", "fresh", ""}, "no directory": {"c", "", c.nodes["c"]},
	} {
		if _, err := a.Readmit(testContext(t), ask[0], ask[1], ask[2]); err == nil {
			t.Errorf("it is let in: %s", what)
		}
	}
	nodes["a"].(*etcdJournal).readmitting.Lock()
	if _, err := a.Readmit(testContext(t), "c", "fresh", c.nodes["c"]); !errors.Is(err, ErrBusy) {
		t.Errorf("two at once: %v", err)
	}
	nodes["a"].(*etcdJournal).readmitting.Unlock()
	if after, _ := memberC(t, nodes["a"]); after != before {
		t.Errorf("c is member %x now and was %x", after, before)
	}
	// One that has been let in and does not come stays a learner: no other may go then.
	closeJournal(t, nodes["c"])
	until(t, "c is let in", func() bool {
		_, err := a.Readmit(testContext(t), "c", "fresh", c.nodes["c"])
		if err != nil && !errors.Is(err, ErrActive) {
			t.Fatal(err)
		}
		return err == nil
	})
	if _, err := a.Readmit(testContext(t), "b", "fresh", c.nodes["b"]); !errors.Is(err, ErrBusy) {
		t.Errorf("while c is a learner b: %v", err)
	}
	commit(t, nodes["b"], "goes on")
	for _, o := range nodes["b"].Stats().Others {
		if o.Learner != (o.Name == "c") {
			t.Errorf("%+v", o)
		}
	}
}

// TestRejoinWithoutMajority: of two that forgot at once, one all and one the end of it, none
// is let in, no second cell comes about, and what each still has is kept.
func TestRejoinWithoutMajority(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	last := commit(t, nodes["a"], numbered(20)...)[19]
	a := nodes["a"].(*etcdJournal)
	until(t, "a has it", func() bool {
		resp, err := a.client.Get(testContext(t), batchPrefix+"a", clientv3.WithSerializable())
		return err == nil && len(resp.Kvs) == 1 && uint64(resp.Kvs[0].ModRevision) == last
	})
	closeJournal(t, nodes["b"])
	closeJournal(t, nodes["c"])
	own := c.options(t, "b", opts)
	if err := os.RemoveAll(own.Dir); err != nil {
		t.Fatal(err)
	}
	behind := opts
	behind.Durable = last + 10
	for range 2 { // again is no better
		if _, err := c.rejoins(t, behind, askOf(nodes["a"])); !errors.Is(err, ErrNoMajority) {
			t.Fatalf("without a majority: %v", err)
		}
	}
	own.Peers.Begin = false
	own.Peers.Rejoin = func(ctx context.Context, ask Rejoining) (map[string]string, error) {
		return a.Readmit(ctx, "b", ask.Owner, ask.Address)
	}
	refused(t, own, ErrNoMajority)
	closeJournal(t, a)
	for name, revision := range map[string]uint64{"a": last, "c": 0} {
		kept := c.options(t, name, opts)
		l, err := readMemberLog(kept.etcdDir())
		if err != nil || l == nil {
			t.Fatalf("the log of %s: %v, %v", name, l, err)
		}
		if err := l.checkMember(kept.etcdDir(), revision); err != nil {
			t.Error(err)
		}
	}
}

// TestMarkerIsRead: what a later version wrote, or damage, is no reason to go on as if
// there were none.
func TestMarkerIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if m, err := readMarker(dir); m != nil || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	want := marker{Behind: true, Admitted: true}
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	if m, err := readMarker(dir); err != nil || *m != want {
		t.Errorf("%v, %v", m, err)
	}
	for _, text := range []string{"", "{}", `{"format":2}`, `{"format":1`, "\x00"} {
		if err := os.WriteFile(filepath.Join(dir, rejoiningFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readMarker(dir); err == nil {
			t.Errorf("%q is read as %v", text, fmt.Sprint(m))
		}
	}
}

// TestRottenNodeRejoins: so does one whose database has a flipped bit. What it had is kept aside, and
// nothing of it is touched before it is let in.
func TestRottenNodeRejoins(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b", "c")
	want := append(numbered(20), strings.Repeat("large", 10_000))
	commit(t, nodes["c"], want...)
	closeJournal(t, nodes["c"])
	own := c.options(t, "c", opts)
	db := newestOf(t, own.Dir, "snap/db")
	change(t, db, func(b []byte) []byte {
		b[bytes.Index(b, []byte("largelarge"))] ^= 1
		return b
	})
	before, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	has := func(path string) {
		t.Helper()
		if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, before) {
			t.Errorf("what it had is not in %s: %v", path, err)
		}
	}
	back, err := c.rejoins(t, opts, func(ctx context.Context, r Rejoining) (map[string]string, error) {
		has(db)
		return askOf(nodes["a"])(ctx, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	has(filepath.Join(own.Dir+damagedExt, "member", "snap", "db"))
	hasAll(t, nodes, back, want...)
}

// TestCondemnedNodeRejoins: a node that reads damage while it runs has the next start take part anew.
func TestCondemnedNodeRejoins(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true}
	nodes := c.open(t, opts, "a", "b")
	own := c.options(t, "c", opts)
	own.Peers.Rejoin = askOf(nodes["a"])
	j, err := OpenEtcd(testContext(t), own)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := memberC(t, nodes["a"])
	tl := tail(t, j, 0)
	read(t, tl, len(commit(t, j, numbered(20)...)))
	// In truth it would be in this node's database alone.
	if _, err := nodes["a"].(*etcdJournal).client.Put(testContext(t), batchPrefix+"a", "damaged"); err != nil {
		t.Fatal(err)
	}
	var damage *Damage
	for err == nil {
		_, err = tl.Next(testContext(t))
	}
	if !errors.As(err, &damage) || !errors.Is(err, ErrRotten) {
		t.Errorf("it reads on: %v", err)
	}
	closeJournal(t, j)
	if m, err := readMarker(own.Dir); m == nil || err != nil || m.Admitted {
		t.Fatalf("the marker is %v, %v", m, err)
	}
	if _, err := c.rejoins(t, opts, askOf(nodes["a"])); err != nil {
		t.Fatal(err)
	}
	if id, learner := memberC(t, nodes["a"]); id == old || id == 0 || learner {
		t.Errorf("c is member %x, it was %x; learner: %t", id, old, learner)
	}
}
