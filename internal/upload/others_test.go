// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

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

// TestFilesGoOnAllNodes: what one node sweeps, because its time is over or its owner gone, goes on
// all, and on one that was away once it is back.
func TestFilesGoOnAllNodes(t *testing.T) {
	c := newTrio(t)
	get := c.nodes[0].upload("a.txt", "text/plain", "12345", "")
	c.nodes[1].upload("b.txt", "text/plain", "12345", "<permanent xmlns='urn:xmpp:http:upload:purpose:0'/>")
	c.holds(2, 2, 2)
	c.stop(2)
	for _, n := range c.nodes {
		n.pass(c.nodes[0].o.Limits.Messages + time.Hour)
	}
	c.nodes[1].want(c.nodes[1].get(get), http.StatusNotFound)
	c.nodes[1].sweepOnce()
	c.holds(1, 1, 2)
	if out, err := c.apply(0, &command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: ann}}}); err != nil || out.Err != nil {
		t.Fatal(out, err)
	}
	c.nodes[0].sweepOnce()
	c.holds(0, 0, 2)
	c.back(2)
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
