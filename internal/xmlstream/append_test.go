// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"strings"
	"testing"
)

func TestAppendElement(t *testing.T) {
	const client, streams = "jabber:client", "http://etherx.jabber.org/streams"
	msg := New(client, "message", "to", "a'b<>&\"\t\r\n@example.org").Add(
		NewText(client, "body", "1 < 2 > 0 & 'x' \"y\"\r\n]]>"), New("urn:x", "x").Add(New("urn:x", "y"), New("", "z")))
	features := New(streams, "features").Add(New("urn:ietf:params:xml:ns:xmpp-bind", "bind"), New(streams, "inner"))
	odd := &Element{Name: Name{"urn:p", "a"}, Attr: []Attr{
		{Name{"urn:q", "b"}, "1"}, {Name{XMLNamespace, "lang"}, "en"}, {Name{"urn:q", "c"}, "2"}, {Name{"http://www.w3.org/2000/xmlns/", "d"}, "3"},
	}}
	for _, c := range []struct {
		e         *Element
		def, want string
	}{
		{msg, client, "<message to='a&apos;b&lt;&gt;&amp;\"&#x9;&#xD;&#xA;@example.org'><body>1 &lt; 2 &gt; 0 &amp; 'x' \"y\"&#xD;\n]]&gt;</body><x xmlns='urn:x'><y/><z xmlns=''/></x></message>"},
		{New(client, "iq"), "", "<iq xmlns='jabber:client'/>"},
		{New("", "a"), "", "<a/>"},
		{New("", "a"), client, "<a xmlns=''/>"},
		{features, client, "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><stream:inner/></stream:features>"},
		{features, "", "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><stream:inner/></stream:features>"},
		{New(streams, "stream"), streams, "<stream/>"},
		{odd, client, "<a xmlns='urn:p' xmlns:ns0='urn:q' ns0:b='1' xml:lang='en' xmlns:ns2='urn:q' ns2:c='2'/>"},
		{NewText(client, "body", "\x00\xff\ufffe\ufffd\xed\xa0\x80é", "a", "\x01\xc3"), client, "<body a='\ufffd\ufffd'>\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdé</body>"},
	} {
		if got := string(AppendElement([]byte("|"), c.e, c.def)); got != "|"+c.want {
			t.Errorf("in %q:\n got %s\nwant |%s", c.def, got, c.want)
		}
	}
	if got := string(AppendChildren(nil, features, client)); got != "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><stream:inner/>" {
		t.Error(got)
	}
}

func TestAppendWithoutAllocation(t *testing.T) {
	e, err := ParseElement([]byte(chat), AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 2*len(chat))
	if n := testing.AllocsPerRun(100, func() { buf = AppendElement(buf[:0], e, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if string(buf) != chat {
		t.Errorf("%s", buf)
	}
}

func BenchmarkRead(b *testing.B) {
	in := header + strings.Repeat(chat, 64)
	b.SetBytes(int64(len(chat)))
	b.ReportAllocs()
	src := strings.NewReader("")
	r := NewReader(src, AfterAuth)
	n := 0
	for b.Loop() {
		if n%64 == 0 {
			src.Reset(in)
			r.Reset(src)
			if _, err := r.ReadOpen(); err != nil {
				b.Fatal(err)
			}
		}
		n++
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseElement(b *testing.B) {
	in := []byte(chat)
	b.SetBytes(int64(len(chat)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseElement(in, AfterAuth); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendElement(b *testing.B) {
	e, err := ParseElement([]byte(chat), AfterAuth)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(chat)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendElement(buf[:0], e, "jabber:client")
	}
}
