// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"
	footer = "</stream:stream>"
)

// chat is a message as Conversations sends it.
const chat = `<message to='juliet@example.org' type='chat' id='5f3b4d4c-6d59-4d2f-8f6e-3c9b4a3d1e2f' from='romeo@example.org/phone.x7Fq'>` +
	`<body>Wherefore art thou? I have been waiting since half past nine.</body><request xmlns='urn:xmpp:receipts'/>` +
	`<markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='5f3b4d4c-6d59-4d2f-8f6e-3c9b4a3d1e2f'/>` +
	`<active xmlns='http://jabber.org/protocol/chatstates'/></message>`

// stream opens a stream on r and reads all its children.
func readStream(r io.Reader, lim Limits) (open *Element, children []*Element, err error) {
	rd := NewReader(r, lim)
	if open, err = rd.ReadOpen(); err != nil {
		return nil, nil, err
	}
	for {
		e, err := rd.Read()
		if err != nil {
			return open, children, err
		}
		children = append(children, e)
	}
}

// condition gives the stream error condition of err, or its text.
func condition(err error) string {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		return syntax.Condition
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReadStream(t *testing.T) {
	in := header + "\n \t" + chat + "<r xmlns='urn:xmpp:sm:3'/>" + footer
	for name, r := range map[string]io.Reader{
		"at once":       strings.NewReader(in),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(in)),
		"half by half":  iotest.HalfReader(strings.NewReader(in)),
		"data with EOF": iotest.DataErrReader(strings.NewReader(in)),
	} {
		open, got, err := readStream(r, BeforeAuth)
		if err != io.EOF {
			t.Fatalf("%s: %v, want io.EOF", name, err)
		}
		wantOpen := New("http://etherx.jabber.org/streams", "stream", "to", "example.org", "version", "1.0")
		want := []*Element{
			New("jabber:client", "message", "to", "juliet@example.org", "type", "chat",
				"id", "5f3b4d4c-6d59-4d2f-8f6e-3c9b4a3d1e2f", "from", "romeo@example.org/phone.x7Fq").Add(
				NewText("jabber:client", "body", "Wherefore art thou? I have been waiting since half past nine."),
				New("urn:xmpp:receipts", "request"),
				New("urn:xmpp:chat-markers:0", "markable"),
				New("urn:xmpp:sid:0", "origin-id", "id", "5f3b4d4c-6d59-4d2f-8f6e-3c9b4a3d1e2f"),
				New("http://jabber.org/protocol/chatstates", "active")),
			New("urn:xmpp:sm:3", "r"),
		}
		if !reflect.DeepEqual(open, wantOpen) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s", name, AppendElement(nil, got[0], ""))
		}
	}
}

// An element is returned when its '>' is there: nothing more may be awaited.
func TestReadDoesNotWait(t *testing.T) {
	pr, pw := io.Pipe()
	r := NewReader(pr, BeforeAuth)
	go func() {
		for _, part := range []string{header, chat, "<r xmlns='urn:xmpp:sm:3'/>", "<a></a >"} {
			if _, err := io.WriteString(pw, part); err != nil {
				return
			}
		}
	}()
	defer pr.Close()
	if _, err := r.ReadOpen(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
		if n := r.Buffered(); n != 0 {
			t.Errorf("%d bytes buffered", n)
		}
	}
}

func TestEndOfInput(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{header + footer, io.EOF},
		{header + "</stream:stream\n>", io.EOF},
		{header, io.ErrUnexpectedEOF},
		{header + " ", io.ErrUnexpectedEOF},
		{header + "<message><body>cut", io.ErrUnexpectedEOF},
		{header + "<message><body>cut</body>", io.ErrUnexpectedEOF},
		{header + "<mess", io.ErrUnexpectedEOF},
		{header + "</stream:strea", io.ErrUnexpectedEOF},
		{"", io.ErrUnexpectedEOF},
		{"<?xml version='1.0'?>", io.ErrUnexpectedEOF},
		{"<stream/>", io.EOF},
	} {
		if _, _, err := readStream(strings.NewReader(c.in), BeforeAuth); err != c.want {
			t.Errorf("%q: %v, want %v", c.in, err, c.want)
		}
	}
}

// A timeout of the source loses nothing.
func TestReadAfterTimeout(t *testing.T) {
	in := header + chat + footer
	for cut := range in {
		src := io.MultiReader(strings.NewReader(in[:cut]), &timeoutOnce{}, strings.NewReader(in[cut:]))
		r := NewReader(iotest.OneByteReader(src), BeforeAuth)
		read, timeouts, children := r.ReadOpen, 0, 0
		for {
			e, err := read()
			if err == iotest.ErrTimeout {
				timeouts++
				continue
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if read = r.Read; e.Name.Local == "message" && len(e.Children) == 5 {
				children++
			}
		}
		if timeouts != 1 || children != 1 {
			t.Fatalf("cut at %d: %d timeouts, %d messages", cut, timeouts, children)
		}
	}
}

type timeoutOnce struct{ done bool }

func (r *timeoutOnce) Read([]byte) (int, error) {
	if r.done {
		return 0, io.EOF
	}
	r.done = true
	return 0, iotest.ErrTimeout
}

func TestSourceWithoutProgress(t *testing.T) {
	r := NewReader(readerFunc(func([]byte) (int, error) { return 0, nil }), BeforeAuth)
	if _, err := r.ReadOpen(); err != io.ErrNoProgress {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReset(t *testing.T) {
	r := NewReader(strings.NewReader(header+"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><injected/>"), BeforeAuth)
	if _, err := r.ReadOpen(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(); err != nil {
		t.Fatal(err)
	}
	if r.Buffered() != len("<injected/>") {
		t.Errorf("Buffered() = %d", r.Buffered())
	}
	r.Reset(strings.NewReader(header + "<auth/>"))
	if r.Buffered() != 0 {
		t.Errorf("Buffered() = %d after Reset", r.Buffered())
	}
	if _, err := r.Read(); err == nil {
		t.Error("Read before ReadOpen")
	}
	if _, err := r.ReadOpen(); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Read(); err != nil || e.Name.Local != "auth" {
		t.Errorf("%v, %v: what was injected survives", e, err)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"a&lt;&gt;&amp;&apos;&quot;b":                  "a<>&'\"b",
		"&#65;&#x41;&#x1F600;&#13;&#xa;":               "AA\U0001f600\r\n",
		"&#00000065;":                                  "A",
		"a\r\nb\rc\n\r":                                "a\nb\nc\n\n",
		"a<![CDATA[<b>&amp;]]]>c<![CDATA[]]>":          "a<b>&amp;]c",
		"<![CDATA[]]]]><![CDATA[>]]>":                  "]]>",
		"<![CDATA[\r\n]]>":                             "\n",
		"a]] >":                                        "a]] >",
		"\u00e9\u20ac\U0001f600\ue000\ufffd\U0010ffff": "\u00e9\u20ac\U0001f600\ue000\ufffd\U0010ffff",
	} {
		e, err := ParseElement([]byte("<a>"+in+"</a>"), AfterAuth)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if e.Text() != want || len(e.Children) != 1 {
			t.Errorf("%q reads %q", in, e.Text())
		}
	}
	e, err := ParseElement([]byte("<a b='x\t\r\n\r\ny&#9;&#xA;&quot;' c=\"'\" d = '>'/>"), AfterAuth)
	if err != nil || e.Get("b") != "x   y\t\n\"" || e.Get("c") != "'" || e.Get("d") != ">" {
		t.Errorf("%q, %v", AppendElement(nil, e, ""), err)
	}
}

func TestNamespaces(t *testing.T) {
	in := `<p:a xmlns:p='urn:p' xmlns='urn:d' p:x='1' x='2' xml:lang='en'><b xmlns=''><p:c xmlns:p='urn:q' p:y='3'/></b><d/><xml:e/><stream xmlns='urn:s'/></p:a>`
	got, err := ParseElement([]byte(in), AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	want := &Element{
		Name: Name{"urn:p", "a"},
		Attr: []Attr{{Name{"urn:p", "x"}, "1"}, {Name{"", "x"}, "2"}, {Name{XMLNamespace, "lang"}, "en"}},
	}
	want.Add(
		New("", "b").Add(&Element{Name: Name{"urn:q", "c"}, Attr: []Attr{{Name{"urn:q", "y"}, "3"}}}),
		New("urn:d", "d"), New(XMLNamespace, "e"), New("urn:s", "stream"))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s", AppendElement(nil, got, ""))
	}
}

// Adding to an element does not write into its neighbours, though they share
// memory.
func TestElementsAreIndependent(t *testing.T) {
	e, err := ParseElement([]byte("<a x='1'><b y='2'><c/></b><d z='3'><e/></d></a>"), AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Child("", "b")
	b.Set("more", "4").Add(New("", "f"))
	e.Set("more", "5").Add(New("", "g"))
	if got := string(AppendElement(nil, e, "")); got != "<a x='1' more='5'><b y='2' more='4'><c/><f/></b><d z='3'><e/></d><g/></a>" {
		t.Error(got)
	}
}

func TestParseElement(t *testing.T) {
	for in, want := range map[string]string{
		"":                          NotWellFormed,
		" <a/>":                     NotWellFormed,
		"<a/> \n":                   "",
		"<a/>x":                     NotWellFormed,
		"<a/><b/>":                  NotWellFormed,
		"<a>":                       NotWellFormed,
		"</a>":                      NotWellFormed,
		"<?xml version='1.0'?><a/>": RestrictedXML,
		"<![CDATA[a]]>":             BadFormat,
		"<a><b></a></b>":            NotWellFormed,
		"<stream:a/>":               BadNamespacePrefix,
	} {
		if _, err := ParseElement([]byte(in), AfterAuth); condition(err) != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}
