// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	n.start()
	c.applying.Unlock()
	c.reach(i, true)
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
	if w.c.down[i] || w.c.down[w.from] {
		return nil, nil, errDown
	}
	cut := w.c.cut
	return w.c.nodes[i].service(), func(r io.Reader) io.Reader {
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

// TestFileIsOnTwoNodes: who was told 201 loses nothing with the node that said so; and soon
// all nodes have it.
func TestFileIsOnTwoNodes(t *testing.T) {
	c := newTrio(t)
	c.stop(2)
	content := randomBytes(large)
	get := c.nodes[0].upload("a.jpg", "image/jpeg", content, "")
	c.stop(0)
	c.nodes[0].wipe()
	c.nodes[1].is(get, content)
	c.back(2)
	r := c.nodes[2].get(get, "Range", "bytes=1000-1999")
	if r.StatusCode != http.StatusPartialContent || r.body != content[1000:2000] {
		t.Errorf("a part: %s, %d bytes", r.Status, len(r.body))
	}
	c.back(0)
	c.holds(1, 1, 1)
	c.nodes[0].is(get, content)
	u, err := c.nodes[0].view.Uploads(state.UploadID{}, 10)
	if err != nil || len(u) != 1 || fmt.Sprint(u[0].Holders) != "[a b]" {
		t.Errorf("%+v, %v", u, err)
	}
	if n := c.nodes[0].lacks(); n != 0 {
		t.Errorf("%d are missing", n)
	}
}

// TestNoSecondNode: it is not 201, nothing is left of it, and the same slot is good later.
func TestNoSecondNode(t *testing.T) {
	c := newTrio(t)
	a := c.nodes[0]
	put, get := a.slot("a.txt", 5, "text/plain", "")
	refused := func() {
		t.Helper()
		r := a.put(put, "text/plain", "12345")
		a.want(r, http.StatusServiceUnavailable)
		if r.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to try again")
		}
		a.want(a.get(get), http.StatusNotFound)
		c.holds(0, 0, 0)
	}
	c.reach(1, false)
	c.reach(2, false)
	refused()
	c.reach(1, true)
	c.reach(2, true)
	for _, b := range c.nodes[1:] {
		b.leaves(0)
	}
	refused()
	c.nodes[2].leaves(1 << 40)
	a.want(a.put(put, "text/plain", "12345"), http.StatusCreated)
	c.holds(1, 0, 1)
	if n := a.Stats(); n.Unreplicated != 2 || n.Replicated != 1 || n.Stored != 1 {
		t.Errorf("%+v", n)
	}

	// The node without room hands on what it gets, and keeps nothing.
	b := c.nodes[1]
	b.is(get, "12345")
	if r := b.get(get, "Range", "bytes=2-3"); r.StatusCode != http.StatusPartialContent || r.body != "34" {
		t.Errorf("a part: %s %q", r.Status, r.body)
	}
	c.holds(1, 0, 1)
	b.leaves(1 << 40)
	b.is(get, "12345")
	c.holds(1, 1, 1)
}

// TestCutBetweenNodes: what breaks off between nodes is put to the next one, and leaves nothing.
func TestCutBetweenNodes(t *testing.T) {
	c := newTrio(t)
	cuts := 0 // guarded by c.mu
	c.between(func(r io.Reader) io.Reader {
		if cuts++; cuts == 1 {
			return io.MultiReader(io.LimitReader(r, large/2), brokenReader{})
		}
		return r
	})
	content := randomBytes(large)
	get := c.nodes[0].upload("a.jpg", "image/jpeg", content, "")
	c.holds(1, 1, 1)
	for _, n := range c.nodes {
		n.is(get, content)
	}
	c.between(func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, large/2), bytes.NewReader(make([]byte, large-large/2)))
	})
	put, _ := c.nodes[0].slot("b.jpg", large, "image/jpeg", "")
	c.nodes[0].want(c.nodes[0].put(put, "image/jpeg", content), http.StatusServiceUnavailable)
	c.holds(1, 1, 1)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestRemovedFilesDoNotComeBack: neither from a node that was away, nor by one that
// was just getting it.
func TestRemovedFilesDoNotComeBack(t *testing.T) {
	c := newTrio(t)
	get := c.nodes[0].upload("a.txt", "text/plain", "12345", "")
	c.holds(1, 1, 1)
	c.stop(2)
	id := idIn(t, get)
	remove := func(node *bench, id string) {
		t.Helper()
		if e := node.ask("<iq xmlns='jabber:client' type='set' id='1' to='upload." + domain + "'><remove xmlns='urn:bavard:files:0' id='" + id + "'/></iq>"); e.Get("type") != "result" {
			t.Fatalf("it is not removed: %+v", e)
		}
	}
	remove(c.nodes[1], id)
	c.holds(0, 0, 1)
	c.back(2)
	c.holds(0, 0, 0)
	for _, n := range c.nodes {
		n.want(n.get(get), http.StatusNotFound)
	}

	c.reach(2, false)
	second := c.nodes[0].upload("b.txt", "text/plain", "12345", "")
	c.holds(1, 1, 0)
	begun, goOn := make(chan struct{}), make(chan struct{})
	c.between(func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, 2), readerOnce(func() { close(begun); <-goOn }), r)
	})
	c.reach(2, true)
	got := make(chan answerOf, 1)
	go func() { got <- c.nodes[2].get(second) }()
	<-begun
	remove(c.nodes[0], idIn(t, second))
	c.holds(0, 0, 1) // on its way
	close(goOn)
	c.nodes[2].want(<-got, http.StatusNotFound)
	c.holds(0, 0, 0)
}

// readerOnce has nothing to read, and does something instead.
type readerOnce func()

func (r readerOnce) Read([]byte) (int, error) { r(); return 0, io.EOF }

func idIn(t *testing.T, get string) string {
	t.Helper()
	return strings.Split(get, "/")[2]
}

// TestLostFilesComeAgain: at its start a node gets what it lacks, a file that was cut short
// included; what no node has is told of, and what a node has damaged is not taken from it.
func TestLostFilesComeAgain(t *testing.T) {
	c := newTrio(t)
	var all []string
	for i := range 5 {
		all = append(all, c.nodes[i%3].upload(fmt.Sprint(i), "text/plain", fmt.Sprintf("%05d", i), ""))
	}
	c.holds(5, 5, 5)
	c.stop(1)
	c.nodes[1].wipe()
	c.back(1)
	c.holds(5, 5, 5)
	c.stop(1)
	if err := os.Truncate(c.nodes[1].fileOf(all[0]), 3); err != nil {
		t.Fatal(err)
	}
	c.back(1)
	for i, get := range all {
		c.nodes[1].is(get, fmt.Sprintf("%05d", i))
	}

	c.stop(0)
	for _, n := range c.nodes {
		if err := os.Remove(n.fileOf(all[0])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(c.nodes[0].fileOf(all[1])), os.WriteFile(c.nodes[1].fileOf(all[1]), []byte("wrong"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.back(0)
	if n := c.nodes[0].lacks(); n != 1 {
		t.Errorf("%d are missing", n)
	}
	c.nodes[0].is(all[1], "00001")
	c.nodes[0].want(c.nodes[0].get(all[0]), http.StatusNotFound)
	c.reach(2, false)
	r := c.nodes[0].get(all[0]) // which may have it
	c.nodes[0].want(r, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
}

// TestFileIsFetchedOnce: whoever wants it at the same time waits for the same.
func TestFileIsFetchedOnce(t *testing.T) {
	c := newTrio(t)
	c.reach(2, false)
	content := randomBytes(large)
	get := c.nodes[0].upload("a.jpg", "image/jpeg", content, "")
	c.nodes[2].until("it knows of it", func() bool { u, err := c.nodes[2].view.AllUploads(); return err == nil && u.Files == 1 })
	goOn := make(chan struct{})
	c.mu.Lock()
	before := c.gets
	c.mu.Unlock()
	c.between(func(r io.Reader) io.Reader {
		return io.MultiReader(io.LimitReader(r, 2), readerOnce(func() { <-goOn }), r)
	})
	c.reach(2, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { c.nodes[2].is(get, content) })
	}
	c.nodes[2].until("all wait", func() bool { return c.nodes[2].Stats().Downloading == 8 })
	close(goOn)
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.gets - before; n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
}

// TestUnrecordedFilesGo: a file that was kept for a node that did not have it recorded goes
// after an hour, and not before; recorded late, it is there.
func TestUnrecordedFilesGo(t *testing.T) {
	c := newTrio(t)
	a := c.nodes[0]
	var late *command.Command
	c.applying.Lock()
	a.before = func(cmd *command.Command) error {
		if cmd.GetUploadStore() != nil {
			late = proto.CloneOf(cmd)
			return errors.New("nobody knows")
		}
		return nil
	}
	c.applying.Unlock()
	put, get := a.slot("a.txt", 5, "text/plain", "")
	a.want(a.put(put, "text/plain", "12345"), http.StatusServiceUnavailable)
	c.holds(1, 1, 0)
	a.want(c.nodes[1].get(get), http.StatusNotFound)
	c.nodes[1].tidy(false)
	c.stop(1)
	c.back(1)
	c.holds(1, 1, 0)
	age(t, c.nodes[1])
	c.nodes[1].tidy(false)
	c.holds(1, 0, 0)
	c.stop(0)
	c.back(0)
	c.holds(0, 0, 0)

	a.want(a.put(put, "text/plain", "12345"), http.StatusServiceUnavailable)
	c.holds(1, 1, 0)
	c.applying.Lock()
	a.before = nil
	c.applying.Unlock()
	if out, err := c.apply(2, late); err != nil || out.Err != nil {
		t.Fatal(out, err)
	}
	c.holds(1, 1, 1)
	for _, n := range c.nodes {
		n.is(get, "12345")
		age(t, n)
		n.tidy(false)
		n.is(get, "12345")
	}
	a.want(a.put(put, "text/plain", "12345"), http.StatusCreated)
	c.reach(0, false)
	a.want(a.put(put, "text/plain", "12345"), http.StatusServiceUnavailable) // it is not known to be on two
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

// TestTwoContentsForOneSlot: whichever is recorded first, all nodes have that and nothing else.
func TestTwoContentsForOneSlot(t *testing.T) {
	c := newTrio(t)
	for range 10 {
		put, get := c.nodes[0].slot("a.txt", 5, "text/plain", "")
		var wg sync.WaitGroup
		codes := make([]int, 3)
		contents := []string{"aaaaa", "bbbbb", "aaaaa"}
		for i, n := range c.nodes {
			wg.Go(func() { codes[i] = n.put(put, "text/plain", contents[i]).StatusCode })
		}
		wg.Wait()
		want := ""
		for i, code := range codes {
			switch {
			case code == http.StatusCreated && want != "" && want != contents[i]:
				t.Fatalf("both are stored: %v", codes)
			case code == http.StatusCreated:
				want = contents[i]
			case code != http.StatusConflict && code != http.StatusServiceUnavailable:
				t.Errorf("%v", codes)
			}
		}
		if want == "" {
			t.Fatalf("none is stored: %v", codes)
		}
		for _, n := range c.nodes {
			n.is(get, want)
		}
	}
}
