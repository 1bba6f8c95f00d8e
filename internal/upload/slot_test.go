// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bavard/internal/command"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

func TestRequestsThatAreRefused(t *testing.T) {
	b := newBench(t)
	const purpose = "urn:xmpp:http:upload:purpose:0"
	for _, c := range []struct{ attrs, purpose, condition string }{
		{"size='1'", "", "bad-request"},
		{"filename='a'", "", "bad-request"},
		{"filename='a' size='0'", "", "bad-request"},
		{"filename='a' size='-1'", "", "bad-request"},
		{"filename='a' size='1e3'", "", "bad-request"},
		{"filename='a' size='99999999999999999999999'", "", "bad-request"},
		{"filename='a' size='8388609'", "", "not-acceptable"},
		{"filename='a' size='1' content-type='jpeg'", "", "not-acceptable"},
		{"filename='a' size='1' content-type='" + strings.Repeat("x", 200) + "/y'", "", "not-acceptable"},
		{"filename='a' size='1'", "<message xmlns='" + purpose + "'/><profile xmlns='" + purpose + "'/>", "bad-request"},
		{"filename='a' size='1'", "<ephemeral xmlns='" + purpose + "'/>", "bad-request"},
		{"filename='a' size='1'", "<ephemeral xmlns='" + purpose + "' expire-before='2001-01-01T00:00:00Z'/>", "bad-request"},
		{"filename='a' size='1'", "<forever xmlns='" + purpose + "'/>", "feature-not-implemented"},
	} {
		e := b.ask(request(c.attrs, c.purpose)).Child("jabber:client", "error")
		if e.Child("urn:ietf:params:xml:ns:xmpp-stanzas", c.condition) == nil || e.Child("urn:ietf:params:xml:ns:xmpp-stanzas", "text") == nil {
			t.Errorf("%s %s: %s", c.attrs, c.purpose, xmlstream.AppendElement(nil, e, ""))
		}
	}
	e := b.ask(request("filename='a' size='8388609'", "")).Child("jabber:client", "error")
	if got := e.Child("urn:xmpp:http:upload:0", "file-too-large").Child("urn:xmpp:http:upload:0", "max-file-size").Text(); got != "8388608" {
		t.Errorf("the largest is %q", got)
	}
	if n := b.Stats(); n.SlotsRefused != 14 || n.Slots != 0 {
		t.Errorf("%+v", n)
	}
}

func TestEphemeralEndsAreBounded(t *testing.T) {
	b := newBench(t)
	put, _ := b.slot("a", 5, "", "<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2999-01-01T00:00:00Z'/>")
	l, ok := b.open(strings.Split(put, "/")[2], "a")
	if !ok || !l.expires.Equal(b.o.Now().Add(b.o.Limits.Ephemeral)) {
		t.Errorf("%+v, %v", l, ok)
	}
}

func FuzzSlot(f *testing.F) {
	s, err := New(Options{Dir: f.TempDir(), Key: make([]byte, 32), View: none{}, Free: func() (uint64, error) { return 0, nil }})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	f.Add(uint64(1), uint64(2), int64(3), "image/jpeg", "ann@example.org", "a.jpg")
	f.Fuzz(func(t *testing.T, size, owner uint64, expires int64, typ, account, name string) {
		l := &slot{
			id: state.UploadID{1}, until: time.Unix(1e9, 0), account: account, owner: owner >> 1, size: size >> 1, typ: typ, name: name,
			purpose: command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL,
		}
		if expires = max(0, expires) >> 10; expires > 0 {
			l.expires = time.UnixMilli(expires)
		}
		sealed := s.seal(l)
		got, ok := s.open(sealed, name)
		if len(sealed) > sealedMost {
			return
		}
		if !ok || *got != *l {
			t.Fatalf("%+v came back as %+v, %v", l, got, ok)
		}
		if _, ok := s.open(sealed, name+"x"); ok {
			t.Fatal("it opens for another name")
		}
		if _, ok := s.open(account, name); ok {
			t.Fatal("something else opens")
		}
	})
}

// none is a view without anything.
type none struct{ View }

func (none) Uploads(state.UploadID, int) ([]state.Upload, error) { return nil, nil }
func (none) UploadsDue(_, _ time.Time) (bool, error)             { return false, nil }

// FuzzName: whatever a file is called, its address is one address, with the name in it, and
// its headers are headers.
func FuzzName(f *testing.F) {
	for _, name := range []string{
		"a.jpg", "../../etc/passwd", `C:\a.exe`, "très cool.jpg", "..", ".", "", "a\r\nSet-Cookie: x", "\u202egpj.exe", "a\x00b", "%2e%2e", "日本語.png",
		strings.Repeat("ä", 300) + ".jpeg", "a;b=\"c\"", "\xff\xfe", "CON", " . ", "a?b#c",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, given string) {
		name := cleanName(given)
		if name == "" || len(name) > state.UploadName || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\\x00\r\n") || strings.Trim(name, ".") == "" {
			t.Fatalf("%q became %q", given, name)
		}
		if again := cleanName(name); again != name {
			t.Fatalf("%q became %q and then %q", given, name, again)
		}
		u, err := url.Parse(address("https://example.org/", "AAAA", name))
		if err != nil || path.Clean(u.Path) != u.Path {
			t.Fatalf("%q: %v, %v", name, u, err)
		}
		first, got, ok := split(u.Path)
		if !ok || first != "AAAA" || got != name || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q came back as %q", name, got)
		}
		h := http.Header{}
		shown(h, &state.Upload{Name: name, Type: "text/plain"}, nil)
		_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
		if err != nil || params["filename"] != name {
			t.Fatalf("%q is saved as %q, %v", name, params["filename"], err)
		}
	})
}

func FuzzType(f *testing.F) {
	for _, typ := range []string{"image/jpeg", "text/plain; charset=utf-8", "text/html\r\nX: y", "a/b;c=\"d\ne\"", "IMAGE/PNG ; a=b"} {
		f.Add(typ)
	}
	f.Fuzz(func(t *testing.T, given string) {
		typ, ok := cleanType(given)
		if !ok {
			return
		}
		if strings.ContainsAny(typ, "\r\n\x00") || len(typ) > state.UploadType {
			t.Fatalf("%q", typ)
		}
		if again, ok := cleanType(typ); !ok || again != typ {
			t.Fatalf("%q became %q and then %q", given, typ, again)
		}
	})
}
