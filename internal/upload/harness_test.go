// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/view"
	"bavard/internal/xmlstream"
)

const (
	domain = "example.org"
	ann    = "ann@" + domain
)

// bench is a service over a real view, and a web server before it.
type bench struct {
	*Service
	t    *testing.T
	o    Options
	view *view.View
	web  *httptest.Server

	mu       sync.Mutex
	now      time.Time
	free     uint64
	missing  int
	revision uint64
	before   func(*command.Command) error // what happens to a command before it is applied
}

func newBench(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Now().Truncate(time.Second), free: 1 << 40, missing: -1}
	var err error
	if b.view, err = view.Open(t.TempDir(), view.Options{Domain: domain}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.view.Close() })
	b.do(&command.Command{Request: &command.Command_CellInit{CellInit: &command.CellInit{Domain: domain, ArchiveKey: make([]byte, 16)}}})
	for _, name := range []string{"ann", "bob"} {
		b.do(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{
			Jid: name + "@" + domain, Credentials: &command.Credentials{ScramSha1: &command.ScramKeys{Iterations: 4096, Salt: []byte("salt")}},
		}}})
	}
	b.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.service().ServeHTTP(w, r) }))
	t.Cleanup(b.web.Close)
	b.o = Options{
		Domain: "upload." + domain, Dir: filepath.Join(t.TempDir(), "uploads"), Node: "a", Key: make([]byte, 32), View: b.view,
		Do:      func(_ context.Context, c *command.Command) (command.Outcome, error) { return b.apply(c) },
		Base:    func() string { return b.web.URL },
		Free:    func() (uint64, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.free, nil },
		Missing: func(n int) { b.mu.Lock(); defer b.mu.Unlock(); b.missing = n },
		Now:     func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now },
		Limits:  Limits{File: 8 << 20, Account: 64 << 20, AccountFiles: 1000, Messages: 30 * 24 * time.Hour, Ephemeral: 7 * 24 * time.Hour},
	}
	for _, c := range change {
		c(&b.o)
	}
	b.start()
	t.Cleanup(func() { b.service().Close() })
	return b
}

func (b *bench) service() *Service {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Service
}

func (b *bench) start() {
	b.t.Helper()
	s, err := New(b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.Service = s
	b.mu.Unlock()
}

// restart is another process on the same directory.
func (b *bench) restart() {
	b.t.Helper()
	b.service().Close()
	b.mu.Lock()
	b.missing = -1
	b.mu.Unlock()
	b.start()
	b.until("the files are looked through", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.missing >= 0 })
}

// apply has a command decided upon by the view.
func (b *bench) apply(c *command.Command) (command.Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		if err := b.before(c); err != nil {
			return command.Outcome{}, err
		}
	}
	c.TimeMs = b.now.UnixMilli()
	raw, err := proto.Marshal(c)
	if err != nil {
		return command.Outcome{}, err
	}
	b.revision++
	r, err := b.view.Apply(view.Batch{Revision: b.revision, Commands: [][]byte{raw}})
	if err != nil {
		return command.Outcome{}, err
	}
	if s := b.Service; s != nil {
		b.mu.Unlock()
		s.Offer(r.Events)
		b.mu.Lock()
	}
	return r.Outcomes[0], nil
}

func (b *bench) do(c *command.Command) {
	b.t.Helper()
	if out, err := b.apply(c); err != nil || out.Err != nil {
		b.t.Fatalf("%v, %v", err, out.Err)
	}
}

// pass lets time go by.
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// until waits for a condition.
func (b *bench) until(what string, holds func() bool) {
	b.t.Helper()
	end := time.Now().Add(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain until %s", what)
		}
		<-tick.C
	}
}

// ask sends a stanza's children to the component and gives the answer.
func (b *bench) ask(iq string) *xmlstream.Element {
	b.t.Helper()
	table, err := route.NewTable(domain, b.Feature())
	if err != nil {
		b.t.Fatal(err)
	}
	el, err := xmlstream.ParseElement([]byte(iq), xmlstream.AfterAuth)
	if err != nil {
		b.t.Fatal(err)
	}
	from, err := jid.Parse(ann + "/phone")
	if err != nil {
		b.t.Fatal(err)
	}
	effects := table.Decide(from, el)
	if len(effects) == 1 {
		if r, ok := effects[0].(route.Read); ok {
			effects = r.Do(b.t.Context())
		}
	}
	if len(effects) != 1 {
		return nil
	}
	return effects[0].(route.Reply).Stanza
}

func request(attrs, purpose string) string {
	return "<iq xmlns='jabber:client' type='get' id='1' to='upload." + domain + "'><request xmlns='urn:xmpp:http:upload:0' " + attrs + ">" + purpose + "</request></iq>"
}

// slot asks for one and gives the paths of its two addresses.
func (b *bench) slot(name string, size int, typ, purpose string) (put, get string) {
	b.t.Helper()
	attrs := fmt.Sprintf("filename='%s' size='%d'", name, size)
	if typ != "" {
		attrs += " content-type='" + typ + "'"
	}
	st := b.ask(request(attrs, purpose)).First()
	if !st.Is("urn:xmpp:http:upload:0", "slot") {
		b.t.Fatalf("no slot: %s", xmlstream.AppendElement(nil, st, ""))
	}
	paths := []string{}
	for _, e := range st.Elements() {
		path, ok := strings.CutPrefix(e.Get("url"), b.web.URL)
		if !ok {
			b.t.Fatalf("address %q", e.Get("url"))
		}
		paths = append(paths, path)
	}
	return paths[0], paths[1]
}

// answerOf is a response, read.
type answerOf struct {
	*http.Response
	body string
}

func (b *bench) http(method, path string, body io.Reader, headers ...string) answerOf {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.web.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answerOf{resp, string(text)}
}

func (b *bench) put(path, typ, content string) answerOf {
	b.t.Helper()
	return b.http(http.MethodPut, path, strings.NewReader(content), "Content-Type", typ)
}

func (b *bench) get(path string, headers ...string) answerOf {
	b.t.Helper()
	return b.http(http.MethodGet, path, nil, headers...)
}

// upload puts a file there and gives the path to get it.
func (b *bench) upload(name, typ, content, purpose string) string {
	b.t.Helper()
	put, get := b.slot(name, len(content), typ, purpose)
	if r := b.put(put, typ, content); r.StatusCode != http.StatusCreated {
		b.t.Fatalf("put: %s: %s", r.Status, r.body)
	}
	return get
}

func (b *bench) want(r answerOf, code int) {
	b.t.Helper()
	if r.StatusCode != code {
		b.t.Errorf("%s %s: %s %q, want %d", r.Request.Method, r.Request.URL.Path, r.Status, r.body, code)
	}
}

// holdsFiles waits until the directory has so many files, those that are arriving
// included.
func (b *bench) holdsFiles(n int) {
	b.t.Helper()
	var got []string
	b.until(fmt.Sprintf("there are %d files", n), func() bool {
		got = nil
		_ = filepath.WalkDir(b.o.Dir, func(p string, d os.DirEntry, _ error) error {
			if d != nil && !d.IsDir() {
				got = append(got, p)
			}
			return nil
		})
		return len(got) == n
	})
}

func randomBytes(n int) string {
	buf := make([]byte, n)
	_, _ = rand.Read(buf)
	return string(buf)
}
