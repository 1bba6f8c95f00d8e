// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/xmlstream"
)

const nsFiles = "urn:bavard:files:0"

// list asks for one's files.
func (b *bench) list(attrs string) *xmlstream.Element {
	b.t.Helper()
	return b.ask("<iq xmlns='jabber:client' type='get' id='l' to='upload." + domain + "'><files xmlns='" + nsFiles + "' " + attrs + "/></iq>")
}

func (b *bench) forget(id string) *xmlstream.Element {
	b.t.Helper()
	return b.ask("<iq xmlns='jabber:client' type='set' id='f' to='upload." + domain + "'><remove xmlns='" + nsFiles + "' id='" + id + "'/></iq>")
}

func (b *bench) refusedFor(e *xmlstream.Element, condition string) {
	b.t.Helper()
	if e.Get("type") != "error" || e.Child("jabber:client", "error").Child("urn:ietf:params:xml:ns:xmpp-stanzas", condition) == nil {
		b.t.Errorf("want %s: %s", condition, xmlstream.AppendElement(nil, e, ""))
	}
}

// TestOwnFiles: they are listed and removed; what was removed nobody gets, before a
// restart and after it, and there is room again.
func TestOwnFiles(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Limits.AccountFiles = 3 })
	var urls []string
	for n := range 3 {
		urls = append(urls, b.upload(fmt.Sprintf("%d.txt", n), "text/plain", "hello", ""))
		b.pass(time.Second)
	}
	b.refusedFor(b.ask(request("filename='a' size='1'", "")), "resource-constraint")
	files := b.list("").Child(nsFiles, "files")
	var ids, names []string
	for _, f := range files.Elements() {
		ids, names = append(ids, f.Get("id")), append(names, f.Get("name"))
		if f.Get("size") != "5" || f.Get("type") != "text/plain" || f.Get("purpose") != "message" || f.Get("stamp") == "" || f.Get("until") == "" || !strings.HasSuffix(f.Get("url"), urls[2-len(ids)+1]) {
			t.Errorf("%s", xmlstream.AppendElement(nil, f, ""))
		}
	}
	if strings.Join(names, " ") != "2.txt 1.txt 0.txt" || files.Get("count") != "3" || files.Get("bytes") != "15" || files.Get("max-count") != "3" || files.Get("max-bytes") != "67108864" || files.Get("complete") != "true" {
		t.Errorf("%s", xmlstream.AppendElement(nil, files, ""))
	}
	page := b.list("max='1'").Child(nsFiles, "files")
	if page.First().Get("id") != ids[0] || page.Get("complete") != "" || len(page.Elements()) != 1 {
		t.Errorf("%s", xmlstream.AppendElement(nil, page, ""))
	}
	page = b.list("max='2' before='"+ids[0]+"'").Child(nsFiles, "files")
	if page.First().Get("id") != ids[1] || page.Get("complete") != "true" || len(page.Elements()) != 2 {
		t.Errorf("%s", xmlstream.AppendElement(nil, page, ""))
	}

	if e := b.forget(ids[1]); e.Get("type") != "result" {
		t.Errorf("%s", xmlstream.AppendElement(nil, e, ""))
	}
	b.want(b.get(urls[1]), http.StatusNotFound)
	b.until("the file is gone", func() bool { return !b.service().files.whole(must(t, ids[1]), 5) })
	b.restart()
	b.want(b.get(urls[1]), http.StatusNotFound)
	b.want(b.get(urls[2]), http.StatusOK)
	b.holdsFiles(2)
	b.refusedFor(b.forget(ids[1]), "item-not-found")
	b.upload("again.txt", "text/plain", "hello", "")
}

func must(t *testing.T, text string) [16]byte {
	t.Helper()
	id, ok := idOf(text)
	if !ok {
		t.Fatal(text)
	}
	return id
}

// TestOwnFilesRefused: what makes no sense is refused, and what is not known to be
// removed is not said to be, and stays.
func TestOwnFilesRefused(t *testing.T) {
	b := newBench(t)
	url := b.upload("a.txt", "text/plain", "hello", "")
	id := b.list("").Child(nsFiles, "files").First().Get("id")
	for _, attrs := range []string{"max='0'", "max='-1'", "max='many'", "before='x'", "before=''", "before='" + strings.Repeat("A", len(id)) + "'"} {
		b.refusedFor(b.list(attrs), "bad-request")
	}
	unknown := "B" + strings.Repeat("A", len(id)-1)
	b.refusedFor(b.list("before='"+unknown+"'"), "item-not-found")
	b.refusedFor(b.forget(""), "bad-request")
	b.refusedFor(b.forget(unknown), "item-not-found")
	b.mu.Lock()
	b.before = func(*command.Command) error { return errors.New("no journal") }
	b.mu.Unlock()
	b.refusedFor(b.forget(id), "internal-server-error")
	b.want(b.get(url), http.StatusOK)
}
