// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// trio is a cell of three nodes, each with its own view and its own directory.
type trio struct {
	t     *testing.T
	nodes []*bench

	applying sync.Mutex // one order of commands for all
	missed   [3][]*command.Command
	away     [3]bool // applies nothing and answers nothing

	mu   sync.Mutex
	down [3]bool                   // answers no other node
	gets int                       // files that nodes have asked each other for
	cut  func(io.Reader) io.Reader // what becomes of a file between nodes
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{t: t}
	for i, name := range []string{"a", "b", "c"} {
		c.nodes = append(c.nodes, newBench(t, func(o *Options) {
			o.Node, o.Others = name, &wire{c, i}
			o.Current = func(context.Context) error { c.applying.Lock(); defer c.applying.Unlock(); return nil }
			o.Do = func(_ context.Context, cmd *command.Command) (command.Outcome, error) { return c.apply(i, cmd) }
		}))
		c.nodes[i].at(c.nodes[0].o.Now())
	}
	return c
}

// at sets the clock.
func (b *bench) at(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = now
}

// lacks is how many files are missing.
func (b *bench) lacks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missing
}

// leaves sets how much room there is.
func (b *bench) leaves(free uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = free
}

// between has something done to files on their way.
func (c *trio) between(cut func(io.Reader) io.Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// apply has a command of one node decided upon by all.
func (c *trio) apply(by int, cmd *command.Command) (out command.Outcome, err error) {
	c.applying.Lock()
	defer c.applying.Unlock()
	if before := c.nodes[by].before; before != nil {
		if err := before(cmd); err != nil {
			return out, err
		}
	}
	for i, n := range c.nodes {
		own := proto.CloneOf(cmd)
		if c.away[i] {
			c.missed[i] = append(c.missed[i], own)
			continue
		}
		of, failed := n.apply(own)
		if i == by {
			out = of
		}
		err = errors.Join(err, failed)
	}
	return out, err
}

// stop is a node that is killed; back has it start again, with what it missed.
func (c *trio) stop(i int) {
	c.applying.Lock()
	defer c.applying.Unlock()
	c.away[i] = true
	c.reach(i, false)
	c.nodes[i].service().Close()
}

func (c *trio) back(i int) {
	c.t.Helper()
	c.applying.Lock()
	n := c.nodes[i]
	n.mu.Lock()
	n.Service, n.missing = nil, -1
	n.mu.Unlock()
	for _, cmd := range c.missed[i] {
		n.do(cmd)
	}
	c.missed[i], c.away[i] = nil, false
	c.reach(i, true) // before it looks for what it lacks
	n.start()
	c.applying.Unlock()
	n.until("the files are looked through", func() bool { return n.lacks() >= 0 })
}

func (c *trio) reach(i int, can bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[i] = !can
}

// holds waits until a node has so many files.
func (c *trio) holds(want ...int) {
	c.t.Helper()
	for i, n := range want {
		c.nodes[i].holdsFiles(n)
	}
}

// wire is the way from one node to the others.
type wire struct {
	c    *trio
	from int
}

var errDown = errors.New("the node is down")

func (w *wire) Names() []string {
	names := []string{"a", "b", "c"}
	return slices.Delete(names, w.from, w.from+1)
}

func (w *wire) to(node string) (*Service, func(io.Reader) io.Reader, error) {
	i := int(node[0] - 'a')
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	s := w.c.nodes[i].service()
	if w.c.down[i] || w.c.down[w.from] || s == nil {
		return nil, nil, errDown
	}
	cut := w.c.cut
	return s, func(r io.Reader) io.Reader {
		if cut == nil {
			return r
		}
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return cut(r)
	}, nil
}

func (w *wire) Send(_ context.Context, node string, id state.UploadID, size int64, sum [32]byte, open func() (io.ReadCloser, error)) error {
	s, cut, err := w.to(node)
	if err != nil {
		return err
	}
	file, err := open()
	if err != nil {
		return err
	}
	defer file.Close()
	return s.Take(id, size, sum, cut(file))
}

func (w *wire) Get(_ context.Context, node string, id state.UploadID, sum [32]byte, from int64) (io.ReadCloser, error) {
	s, cut, err := w.to(node)
	if err != nil {
		return nil, err
	}
	w.c.mu.Lock()
	w.c.gets++
	w.c.mu.Unlock()
	file, err := s.Open(id, sum)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{cut(file), file}, nil
}

// is gets a file from a node and compares it.
func (b *bench) is(path, want string) {
	b.t.Helper()
	if r := b.get(path); r.StatusCode != http.StatusOK || r.body != want {
		b.t.Errorf("node %s: %s, %d bytes, want %d others", b.o.Node, r.Status, len(r.body), len(want))
	}
}

// fileOf is where a node has a file.
func (b *bench) fileOf(get string) string {
	b.t.Helper()
	id, ok := idOf(strings.Split(get, "/")[2])
	if !ok {
		b.t.Fatal("no id")
	}
	return b.files.path(id)
}

// wipe loses a node's files.
func (b *bench) wipe() {
	b.t.Helper()
	if err := os.RemoveAll(b.o.Dir); err != nil {
		b.t.Fatal(err)
	}
}

// age makes all files old.
func age(t *testing.T, b *bench) {
	t.Helper()
	old := time.Now().Add(-unrecordedTime - time.Minute)
	if err := filepath.WalkDir(b.o.Dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(p, old, old)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
