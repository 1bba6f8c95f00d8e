// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"bavard/internal/charter"
)

// testCell is a cell of three nodes on this machine.
type testCell struct {
	dir   string
	files *testFiles
	nodes map[string]string          // addresses by name
	named map[string]*charter.Member // with certificates of their own; nil: all have that of files
}

func newTestCell(t testing.TB) *testCell {
	c := &testCell{dir: t.TempDir(), files: newTestFiles(t), nodes: map[string]string{}}
	for _, name := range []string{"a", "b", "c"} {
		c.nodes[name] = freePort(t)
	}
	return c
}

// options of a node, on top of opts.
func (c *testCell) options(t testing.TB, name string, opts Options) Options {
	opts.Name = name
	opts.Dir, opts.SpoolDir = filepath.Join(c.dir, name, "journal"), filepath.Join(c.dir, name, "spool")
	opts.Log = testLog(t).With("node", name)
	if opts.MinFree == 0 {
		opts.MinFree = 1
	}
	opts.Peers = &Peers{Members: c.nodes, CA: c.files.ca, Certificate: c.files.cert, Key: c.files.key, Begin: true}
	if m := c.named[name]; m != nil {
		opts.Peers.CA, opts.Peers.Certificate, opts.Peers.Key, opts.Peers.ServerName = m.CA(), m.Certificate(), m.Key(), charter.ServerName
	}
	return opts
}

// open opens nodes at the same time: one alone waits for a second one.
func (c *testCell) open(t testing.TB, opts Options, names ...string) map[string]Journal {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out, errs := map[string]Journal{}, []error{}
	for _, name := range names {
		opts := c.options(t, name, opts)
		wg.Go(func() {
			j, err := OpenEtcd(testContext(t), opts)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				return
			}
			out[name] = j
			t.Cleanup(func() { closeJournal(t, j) })
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return out
}

// cellEngine is node a of a cell; the views of the two others are always current.
func cellEngine(t *testing.T, opts Options) *engine {
	c := newTestCell(t)
	first := sync.OnceFunc(func() {
		for _, j := range c.open(t, opts, "b", "c") {
			follow(t, j)
		}
	})
	var fault func(Attempt) Fate
	return &engine{
		name: "cell",
		open: func(t *testing.T) Journal {
			first()
			opts := opts
			if f := fault; f != nil {
				opts.wrapStore = func(s store) store { return &faultyStore{store: s, writer: "a", fault: f} }
			}
			return c.open(t, opts, "a")["a"]
		},
		inject: func(f func(Attempt) Fate) { fault = f },
		rival: func(t *testing.T, j Journal) {
			s := &etcdStore{client: j.(*etcdJournal).client, key: batchPrefix + "a"}
			a := newAppender(s, "a", j.Incarnation()+1, testLog(t))
			if err := a.open(testContext(t)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.stop)
		},
	}
}

// follow does what a view does that is never behind.
func follow(t testing.TB, j Journal) {
	tl := tail(t, j, 0)
	go func() {
		for {
			b, err := tl.Next(context.Background())
			if err != nil {
				return
			}
			j.Release(b.Revision)
		}
	}()
}

// TestCellHasOneOrder: what the nodes append at the same time all of them read in
// the same order, each where it was settled.
func TestCellHasOneOrder(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b", "c")
	const each = 200
	recorders := map[string]*recorder{}
	for name, j := range nodes {
		recorders[name] = newRecorder(t)
		go func() {
			for i := range each {
				cmd := fmt.Sprintf("%s %d", name, i)
				if err := j.Submit(testContext(t), []byte(cmd), recorders[name].settled(cmd)); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	at := map[string]result{}
	for _, r := range recorders {
		for _, s := range r.wait(each) {
			if s.err != nil {
				t.Fatal(s.err)
			}
			at[s.cmd] = s.result
		}
	}
	want := read(t, tail(t, nodes["a"], 0), 3*each)
	for _, got := range want {
		if at[got.cmd] != got.result {
			t.Fatalf("%q is at %+v and was settled at %+v", got.cmd, got.result, at[got.cmd])
		}
	}
	same(t, read(t, tail(t, nodes["b"], 0), 3*each), want)
	same(t, read(t, tail(t, nodes["c"], 0), 3*each), want)
}

// TestCellWithoutOne: two of three go on, one alone does not; whoever comes back
// has all of it.
func TestCellWithoutOne(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b", "c")
	commit(t, nodes["a"], "all")
	closeJournal(t, nodes["c"])
	commit(t, nodes["a"], "without c")
	commit(t, nodes["b"], "so does b")
	closeJournal(t, nodes["b"])
	r := newRecorder(t)
	r.submit(nodes["a"], "alone")
	ctx, cancel := context.WithTimeout(t.Context(), 3*readTimeout)
	defer cancel()
	if revision, err := nodes["a"].Latest(ctx); err == nil {
		t.Errorf("one alone says that %d is the newest revision", revision)
	}
	if s := nodes["a"].Stats(); s.HasLeader {
		t.Error("one alone has a leader")
	}
	c.open(t, Options{UnsafeNoFsync: true}, "b")
	if o := r.wait(1)[0]; o.err != nil {
		t.Fatal(o.err)
	}
	back := c.open(t, Options{UnsafeNoFsync: true}, "c")["c"]
	var got []string
	for _, n := range read(t, tail(t, back, 0), 4) {
		got = append(got, n.cmd)
	}
	if s := strings.Join(got, ", "); s != "all, without c, so does b, alone" {
		t.Errorf("c reads: %s", s)
	}
}

// TestCellKeepsHistoryForAll: what a node that is away has not read stays, until it
// is too much; then what two have goes.
func TestCellKeepsHistoryForAll(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	opts := Options{UnsafeNoFsync: true, Window: 8 << 20}
	nodes := c.open(t, opts, "a", "b", "c")
	revision := commit(t, nodes["c"], "first")[0]
	follow(t, nodes["a"])
	follow(t, nodes["b"])
	closeJournal(t, nodes["c"])
	big := strings.Repeat("x", MaxCommand)
	write := func(bytes int) {
		for range bytes / MaxCommand {
			commit(t, nodes["a"], big)
		}
	}
	write(compactBytes + MaxCommand)
	oldest := func() error { return nodes["a"].(*etcdJournal).readable(testContext(t), revision) }
	until(t, "a knows how far b is", func() bool {
		s, err := nodes["a"].(*etcdJournal).agreed(testContext(t), nodeState{revision, revision})
		return err == nil && s.spooled >= revision
	})
	if err := oldest(); err != nil {
		t.Fatalf("history that c needs: %v", err)
	}
	write(8 << 20)
	until(t, "the window is bounded", func() bool {
		return errors.Is(oldest(), ErrCompacted) && nodes["a"].Stats().WindowBytes <= 8<<20
	})
	back := c.open(t, opts, "c")["c"]
	if _, err := back.Tail(testContext(t), revision); !errors.Is(err, ErrCompacted) {
		t.Errorf("c, which has been away for too long: %v", err)
	}
}

// TestCellMakesRoomOnEachNode: a node whose database is at its quota makes room
// even when others appended what filled it, and then all go on.
func TestCellMakesRoomOnEachNode(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true, Window: 2 << 20}, "a", "c")
	for name, j := range c.open(t, Options{UnsafeNoFsync: true, Window: 2 << 20, Quota: 6 << 20}, "b") {
		nodes[name] = j
	}
	// No view runs yet, so nothing can be dropped. One command after the other: small
	// batches are quick on a busy machine.
	const size = 64 << 10
	until(t, "b is at its quota", func() bool {
		if nodes["a"].Stats().Queued == 0 {
			err := nodes["a"].Submit(t.Context(), bytes.Repeat([]byte("x"), size), func(_ uint64, _ uint32, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if err != nil && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
		}
		own, _ := nodes["b"].(*etcdJournal).host.atQuota()
		return own
	})
	for _, j := range nodes {
		follow(t, j)
	}
	until(t, "all take commands", func() bool {
		for _, j := range nodes {
			if j.Stats().Full != "" || j.Stats().Queued > 0 {
				return false
			}
			if _, others := j.(*etcdJournal).host.atQuota(); len(others) > 0 {
				return false
			}
		}
		return true
	})
	for _, j := range nodes {
		commit(t, j, "goes on")
	}
}

// TestWipedNode: a node without its data does not come back as if it were new.
func TestWipedNode(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b", "c")
	commit(t, nodes["a"], "acknowledged")
	closeJournal(t, nodes["c"])
	opts := c.options(t, "c", Options{UnsafeNoFsync: true})
	opts.Peers.Begin = false
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatalf("with its data: %v", err)
	}
	closeJournal(t, j)
	if err := os.RemoveAll(opts.Dir); err != nil {
		t.Fatal(err)
	}
	refused(t, opts, ErrWiped)
}

// refused: a journal with these options does not open, for this reason.
func refused(t *testing.T, opts Options, want error) {
	t.Helper()
	j, err := OpenEtcd(testContext(t), opts)
	if err == nil {
		closeJournal(t, j)
	}
	if !errors.Is(err, want) {
		t.Errorf("open: %v, want %v", err, want)
	}
}

// TestNodeThatForgot: a node whose log ends before what its database or its view
// has does not start, so that it cannot vote.
func TestNodeThatForgot(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	nodes := c.open(t, Options{UnsafeNoFsync: true}, "a", "b", "c")
	last := commit(t, nodes["a"], numbered(20)...)[19]
	until(t, "c has it", func() bool {
		resp, err := nodes["c"].(*etcdJournal).client.Get(testContext(t), batchPrefix+"a", clientv3.WithSerializable())
		return err == nil && len(resp.Kvs) == 1 && uint64(resp.Kvs[0].ModRevision) == last
	})
	closeJournal(t, nodes["c"])
	opts := c.options(t, "c", Options{UnsafeNoFsync: true, Durable: last + 10})
	refused(t, opts, ErrBehind)
	opts.Durable = last
	j, err := OpenEtcd(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)

	cutLog(t, opts.etcdDir())
	refused(t, opts, ErrBehind)
}

// cutLog takes the newest entry of etcd's log away, as a disk may that lied about
// what it had synced.
func cutLog(t *testing.T, etcdDir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(etcdDir, "member", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no log in %s: %v", etcdDir, err)
	}
	path := files[len(files)-1]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := readMemberLog(etcdDir)
	if err != nil {
		t.Fatal(err)
	}
	const record = 8 // records are padded to that
	for end := len(strings.TrimRight(string(text), "\x00")) / record * record; end > 0; end -= record {
		clear(text[end:])
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := readMemberLog(etcdDir); err == nil && l.last < whole.last {
			return
		}
	}
	t.Fatal("the log cannot be cut")
}

// TestStrangerAtThePeers: without a certificate of the cell nobody gets a word in.
func TestStrangerAtThePeers(t *testing.T) {
	t.Parallel()
	c := newTestCell(t)
	c.open(t, Options{UnsafeNoFsync: true}, "a", "b")
	other := newTestFiles(t)
	pair, err := tls.LoadX509KeyPair(other.cert, other.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another authority's": {pair}} {
		conn, err := tls.Dial("tcp", c.nodes["a"], &tls.Config{InsecureSkipVerify: true, Certificates: certificates})
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write([]byte("GET /version HTTP/1.1\r\nHost: a\r\n\r\n"))
		if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Errorf("with certificate %s it is answered", name)
		}
		_ = conn.Close()
	}
}

func TestPeersAreChecked(t *testing.T) {
	good := Peers{
		Members: map[string]string{"a": "127.0.0.1:1", "b": "b.example:2"}, CA: "ca", Certificate: "cert", Key: "key",
	}
	if err := good.check("a", false); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Peers){
		"one node":         func(p *Peers) { p.Members = map[string]string{"a": "127.0.0.1:1"} },
		"not among them":   func(p *Peers) { p.Members = map[string]string{"b": "127.0.0.1:1", "c": "127.0.0.1:2"} },
		"a bad name":       func(p *Peers) { p.Members = map[string]string{"a": "127.0.0.1:1", "b/c": "127.0.0.1:2"} },
		"no port":          func(p *Peers) { p.Members = map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1"} },
		"the same address": func(p *Peers) { p.Members = map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:1"} },
		"a name to listen": func(p *Peers) { p.Members = map[string]string{"a": "a.example:1", "b": "127.0.0.1:1"} },
		"no authority":     func(p *Peers) { p.CA = "" },
		"no certificate":   func(p *Peers) { p.Certificate = "" },
	} {
		p := good
		change(&p)
		if err := p.check("a", false); err == nil {
			t.Errorf("accepted: %s", name)
		}
	}
}

func TestNodeState(t *testing.T) {
	want := nodeState{1 << 40, 3}
	text := want.encode()
	if got, err := decodeNodeState(text); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range text {
		bad := append([]byte(nil), text...)
		bad[i] ^= 1
		if got, err := decodeNodeState(bad); err == nil {
			t.Errorf("with byte %d changed: %+v", i, got)
		}
	}
	if _, err := decodeNodeState(text[:len(text)-1]); err == nil {
		t.Error("a short one is read")
	}
}
