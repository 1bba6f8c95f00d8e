// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

const large = 3<<20 + 17

func TestPutAndGet(t *testing.T) {
	b := newBench(t)
	content := randomBytes(large)
	put, get := b.slot("très cool.jpg", len(content), "image/jpeg", "")
	if put == get || !strings.HasSuffix(get, "/tr%C3%A8s%20cool.jpg") || !strings.HasSuffix(put, "/tr%C3%A8s%20cool.jpg") {
		t.Errorf("addresses %q, %q", put, get)
	}
	b.want(b.get(get), http.StatusNotFound)
	b.want(b.put(put, "image/jpeg", content), http.StatusCreated)
	r := b.get(get)
	b.want(r, http.StatusOK)
	if r.body != content || r.Header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("%d bytes of %s came back", len(r.body), r.Header.Get("Content-Type"))
	}
	b.holdsFiles(1)
	b.restart()
	if r := b.get(get); r.body != content {
		t.Error("after a restart another content came back")
	}
	b.holdsFiles(1)
	if n := b.Stats(); n.Sent != uint64(len(content)) {
		t.Errorf("%+v", n)
	}
}

func TestPutIsHeldToItsSlot(t *testing.T) {
	b := newBench(t)
	put, get := b.slot("a.txt", 5, "text/plain; charset=utf-8", "")
	b.want(b.put(put, "text/plain;charset=UTF-8", "1234"), http.StatusBadRequest)
	b.want(b.put(put, "text/plain;charset=UTF-8", "123456"), http.StatusRequestEntityTooLarge)
	b.want(b.put(put, "text/html", "12345"), http.StatusUnsupportedMediaType)
	b.want(b.put(put, "", "12345"), http.StatusUnsupportedMediaType)
	b.want(b.http(http.MethodPut, put, io.MultiReader(strings.NewReader("12345")), "Content-Type", "text/plain; charset=utf-8"), http.StatusLengthRequired)
	b.want(b.http(http.MethodPut, put, strings.NewReader("12345"), "Content-Type", "text/plain; charset=utf-8", "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType)
	b.want(b.http(http.MethodPut, put, strings.NewReader("12345"), "Content-Type", "text/plain; charset=utf-8", "Content-Range", "bytes 0-4/5"), http.StatusBadRequest)
	b.want(b.put(strings.Replace(put, "a.txt", "b.txt", 1), "text/plain; charset=utf-8", "12345"), http.StatusNotFound)
	b.want(b.put(get, "text/plain; charset=utf-8", "12345"), http.StatusNotFound) // who may read may not write
	forged := []byte(put)
	forged[len(Path)+30] ^= 1
	b.want(b.put(string(forged), "text/plain; charset=utf-8", "12345"), http.StatusNotFound)
	b.want(b.http(http.MethodPost, put, strings.NewReader("12345")), http.StatusMethodNotAllowed)
	b.want(b.http(http.MethodDelete, get, nil), http.StatusMethodNotAllowed)
	b.holdsFiles(0)
	b.want(b.put(put, "text/plain; charset=utf-8", "12345"), http.StatusCreated)
	b.want(b.get(get), http.StatusOK)
}

func TestSlotsGetOld(t *testing.T) {
	b := newBench(t)
	put, _ := b.slot("a.txt", 5, "text/plain", "")
	b.pass(slotTime + time.Second)
	b.want(b.put(put, "text/plain", "12345"), http.StatusGone)
	put, _ = b.slot("a.txt", 5, "text/plain", "")
	b.do(&command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: ann}}})
	b.want(b.put(put, "text/plain", "12345"), http.StatusForbidden)
	b.do(&command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: ann}}})
	b.want(b.put(put, "text/plain", "12345"), http.StatusForbidden)
	b.do(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: ann}}})
	b.want(b.put(put, "text/plain", "12345"), http.StatusForbidden) // it is somebody else's
	b.holdsFiles(0)
}

// A client that did not get the answer puts the file once more.
func TestPutAgain(t *testing.T) {
	b := newBench(t)
	put, get := b.slot("a.txt", 5, "", "")
	b.want(b.put(put, "text/plain", "12345"), http.StatusCreated)
	b.want(b.put(put, "text/plain", "12345"), http.StatusCreated)
	b.want(b.put(put, "text/plain", "54321"), http.StatusConflict)
	b.want(b.put(put, "text/html", "12345"), http.StatusConflict)
	b.restart()
	b.pass(time.Hour)
	b.want(b.put(put, "text/plain", "12345"), http.StatusCreated)
	b.want(b.put(put, "text/plain", "54321"), http.StatusConflict)
	if r := b.get(get); r.body != "12345" {
		t.Errorf("the file is %q", r.body)
	}
	b.holdsFiles(1)
}

// raw is a PUT that a test writes by hand.
func (b *bench) raw(path string, length int, sent string) net.Conn {
	b.t.Helper()
	u, err := url.Parse(b.web.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nContent-Type: image/jpeg\r\n\r\n%s", path, u.Host, length, sent)
	return conn
}

func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode
}

func TestTruncatedPutLeavesNothing(t *testing.T) {
	b := newBench(t)
	put, get := b.slot("a.jpg", large, "image/jpeg", "")
	conn := b.raw(put, large, randomBytes(large/2))
	b.holdsFiles(1) // it is arriving
	_ = conn.Close()
	b.holdsFiles(0)
	b.until("it is counted", func() bool { n := b.Stats(); return n.Interrupted == 1 && n.Uploading == 0 })
	b.want(b.get(get), http.StatusNotFound)
	content := randomBytes(large)
	b.want(b.put(put, "image/jpeg", content), http.StatusCreated) // the slot is still good
}

func TestSlowPutIsCutOff(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Idle = 50 * time.Millisecond })
	put, _ := b.slot("a.jpg", 100, "image/jpeg", "")
	conn := b.raw(put, 100, "some")
	if code := status(t, conn); code != http.StatusRequestTimeout {
		t.Errorf("status %d", code)
	}
	b.holdsFiles(0)
}

// A device that lost its connection begins anew before the server knows.
func TestPutTakesThePlaceOfAnOlderOne(t *testing.T) {
	b := newBench(t)
	put, get := b.slot("a.jpg", large, "image/jpeg", "")
	conn := b.raw(put, large, "some")
	b.until("it arrives", func() bool { return b.Stats().Uploading == 1 })
	content := randomBytes(large)
	b.want(b.put(put, "image/jpeg", content), http.StatusCreated)
	if code := status(t, conn); code != http.StatusRequestTimeout {
		t.Errorf("the older one got %d", code)
	}
	if r := b.get(get); r.body != content {
		t.Error("another content")
	}
	b.holdsFiles(1)
}

// Many at once, the same ones among them: each is whole, and no more than a few of one
// account are taken at a time; the others wait.
func TestConcurrentPuts(t *testing.T) {
	b := newBench(t)
	type file struct{ put, get, content string }
	var all []file
	for i := range 12 {
		put, get := b.slot(fmt.Sprint(i), 300_000+i, "image/jpeg", "")
		all = append(all, file{put, get, randomBytes(300_000 + i)})
	}
	var wg sync.WaitGroup
	for _, f := range all {
		for range 2 {
			wg.Go(func() {
				r, err := http.NewRequest(http.MethodPut, b.web.URL+f.put, strings.NewReader(f.content))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "image/jpeg")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					return // the other one took its place
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusRequestTimeout && resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s", resp.Status)
				}
			})
		}
	}
	wg.Wait()
	for _, f := range all {
		if r := b.get(f.get); r.body != f.content {
			t.Errorf("%s: %s, %d bytes", f.get, r.Status, len(r.body))
		}
	}
	b.holdsFiles(len(all))
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.Service.promised; n != 0 || len(b.accounts) != 0 || b.waiting != 0 {
		t.Errorf("%d bytes are promised, %v, %d wait", n, b.accounts, b.waiting)
	}
}

func TestQuota(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Limits.Account, o.Limits.AccountFiles = 10, 3 })
	b.upload("a", "text/plain", "123456", "")
	late, _ := b.slot("b", 4, "", "")
	b.upload("c", "text/plain", "1234", "")
	b.want(b.put(late, "text/plain", "1234"), http.StatusInsufficientStorage)
	e := b.ask(request("filename='d' size='1'", "")).Child("jabber:client", "error")
	retry := e.Child("urn:xmpp:http:upload:0", "retry").Get("stamp")
	at, err := time.Parse(time.RFC3339, retry)
	if e.Get("type") != "wait" || err != nil || at.Sub(b.o.Now().Add(b.o.Limits.Messages)).Abs() > 2*time.Second {
		t.Errorf("type %s, try again at %q, %v", e.Get("type"), retry, err)
	}
	b.holdsFiles(2)
}

func TestFullDisk(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Limits.MinFree = 1000 })
	set := func(n uint64) { b.mu.Lock(); defer b.mu.Unlock(); b.free = n }
	put, _ := b.slot("a", large, "", "")
	set(1000 + large - 1)
	if e := b.ask(request("filename='d' size='"+fmt.Sprint(large)+"'", "")).Child("jabber:client", "error"); e.Get("type") != "wait" || e.Child("urn:xmpp:http:upload:0", "retry") == nil {
		t.Error("a slot without room")
	}
	b.want(b.put(put, "image/jpeg", randomBytes(large)), http.StatusInsufficientStorage)
	if b.Full() == nil {
		t.Error("nobody is warned")
	}
	// It fills up while a file comes.
	set(1 << 30)
	put, _ = b.slot("a", 8<<20, "image/jpeg", "")
	conn := b.raw(put, 8<<20, randomBytes(1<<20))
	b.holdsFiles(1)
	set(500)
	go func() { _, _ = conn.Write([]byte(randomBytes(7 << 20))) }()
	if code := status(t, conn); code != http.StatusInsufficientStorage {
		t.Errorf("status %d", code)
	}
	b.holdsFiles(0)
	set(1 << 40)
	if err := b.Full(); err != nil {
		t.Error(err)
	}
	b.upload("a", "text/plain", "12345", "")
}

// What the journal does not take leaves nothing; what it may have taken is settled by the
// next start.
func TestJournalInTheWay(t *testing.T) {
	b := newBench(t)
	put, get := b.slot("a", 5, "text/plain", "")
	b.mu.Lock()
	b.before = func(c *command.Command) error {
		c.GetUploadStore().AccountId++
		return nil
	}
	b.mu.Unlock()
	b.want(b.put(put, "text/plain", "12345"), http.StatusForbidden)
	b.holdsFiles(0)
	b.mu.Lock()
	b.before = func(*command.Command) error { return errors.New("nobody knows") }
	b.mu.Unlock()
	r := b.put(put, "text/plain", "12345")
	b.want(r, http.StatusServiceUnavailable)
	if r.Header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	b.holdsFiles(1)
	b.want(b.get(get), http.StatusNotFound)
	b.mu.Lock()
	b.before = nil
	b.mu.Unlock()
	b.restart()
	b.holdsFiles(0)
	b.want(b.put(put, "text/plain", "12345"), http.StatusCreated)
	b.holdsFiles(1)
}

// What a kill or a power cut left behind goes; what lacks its file is told of.
func TestStartLooksThroughFiles(t *testing.T) {
	b := newBench(t)
	get := b.upload("a", "text/plain", "12345", "")
	short := b.upload("b", "text/plain", "12345", "")
	kept := b.upload("c", "text/plain", "12345", "")
	id := func(get string) state.UploadID {
		id, ok := idOf(strings.Split(get, "/")[2])
		if !ok {
			t.Fatal("no id")
		}
		return id
	}
	path := func(get string) string { return b.files.path(id(get)) }
	orphan := filepath.Join(b.o.Dir, "ab", "ab"+strings.Repeat("0", 30))
	for _, name := range []string{filepath.Join(b.o.Dir, arrivingName, "123"), orphan, filepath.Join(b.o.Dir, "ab", "readme")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(path(get)), os.Truncate(path(short), 3)); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path(kept), b.files.unrecorded(id(kept), sha256.Sum256([]byte("12345")), true)); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if b.missing != 2 {
		t.Errorf("%d are missing", b.missing)
	}
	if _, err := os.Stat(orphan); err == nil {
		t.Error("a file without a record is left")
	}
	b.holdsFiles(3) // one is cut short, one is somebody else's
	b.want(b.get(get), http.StatusNotFound)
	b.want(b.get(kept), http.StatusOK)
}

func TestFilesGoWhenTheirTimeIsOver(t *testing.T) {
	b := newBench(t)
	b.upload("a", "text/plain", "12345", "")
	lasting := b.upload("b", "text/plain", "12345", "<permanent xmlns='urn:xmpp:http:upload:purpose:0'/>")
	face := b.upload("f", "text/plain", "12345", "<profile xmlns='urn:xmpp:http:upload:purpose:0'/>")
	end := b.o.Now().Add(time.Hour)
	brief := b.upload("c", "text/plain", "12345", "<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='"+end.UTC().Format(time.RFC3339)+"'/>")
	r := b.get(brief)
	if cache := r.Header.Get("Cache-Control"); !strings.Contains(cache, "max-age=3600") {
		t.Errorf("%s", cache)
	}
	b.holdsFiles(4)
	b.pass(time.Hour)
	b.want(b.get(brief), http.StatusNotFound) // at once, swept or not
	b.until("it is swept", func() bool { b.sweepOnce(); n, _ := b.view.AllUploads(); return n.Files == 3 })
	b.holdsFiles(3)
	b.pass(b.o.Limits.Messages)
	b.until("they are swept", func() bool { b.sweepOnce(); n, _ := b.view.AllUploads(); return n.Files == 2 })
	b.holdsFiles(2)
	b.want(b.get(lasting), http.StatusOK)
	b.want(b.get(face), http.StatusOK)
	b.do(&command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: ann}}})
	b.want(b.get(lasting), http.StatusNotFound)
	b.until("all is swept", func() bool { b.sweepOnce(); n, _ := b.view.AllUploads(); return n.Files == 0 })
	b.holdsFiles(0)
}
