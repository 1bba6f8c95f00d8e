// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// refuses feeds a stream with this content at once and byte by byte; it must
// end with the condition both times.
func refuses(t *testing.T, content, want string) {
	t.Helper()
	for _, slow := range []bool{false, true} {
		var r io.Reader = strings.NewReader(header + content + footer)
		if slow {
			r = iotest.OneByteReader(r)
		}
		if _, _, err := readStream(r, BeforeAuth); condition(err) != want {
			t.Errorf("%.60q (byte by byte: %v): %v, want %s", content, slow, err, want)
		}
	}
}

// Threat 1: entities, document types, processing instructions and comments
// (RFC 6120 §11.1).
func TestThreatRestrictedXML(t *testing.T) {
	for _, c := range []string{
		"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", "<a><!DOCTYPE b></a>",
		"<!ENTITY a 'b'>", "<!-- a -->", "<a><!-- a --></a>", "<a><!", "<a><!x></a>", "<a><![INCLUDE[b]]></a>",
		"<?php a?>", "<a><?b c?></a>", "<?xml version='1.0'?>", "<a><?xml version='1.0'?></a>",
		"<a>&b;</a>", "<a>&nbsp;</a>", "<a b='&c;'/>", "<a>&LT;</a>", "<a>&averyveryverylongentityname;</a>",
	} {
		refuses(t, c, RestrictedXML)
	}
	for _, c := range []string{"<!DOCTYPE a>", "<!-- a -->", "<?a b?>", "<?xmlx version='1.0'?>"} {
		if _, err := NewReader(strings.NewReader(c+header), BeforeAuth).ReadOpen(); condition(err) != RestrictedXML {
			t.Errorf("%q before the stream: %v", c, err)
		}
	}
	// It is refused before its end has come.
	for _, c := range []string{"<!", "<!D", "<!-", "<a><!-", "<?x", "<a><?"} {
		src := io.MultiReader(strings.NewReader(header+c+"-"), readerFunc(func([]byte) (int, error) {
			t.Errorf("%q: more is awaited", c)
			return 0, io.EOF
		}))
		_, _, _ = readStream(src, BeforeAuth)
	}
}

// Threat 3: giant stanzas, deep nesting, many attributes or namespaces, long
// names, many nodes.
func TestThreatLimits(t *testing.T) {
	var many, spaces strings.Builder
	for i := range BeforeAuth.MaxAttrs + 1 {
		fmt.Fprintf(&many, " a%d=''", i)
		fmt.Fprintf(&spaces, " xmlns:a%d='u'", i)
	}
	depth := BeforeAuth.MaxDepth
	nested := strings.Repeat("<a>", depth-1) + "<a/>" + strings.Repeat("</a>", depth-1)
	for _, c := range []struct{ content, want string }{
		{nested, "EOF"},
		{"<a>" + nested + "</a>", PolicyViolation},
		{strings.Repeat("<a>", depth+1), PolicyViolation},
		{"<a" + many.String() + "/>", PolicyViolation},
		{"<a" + spaces.String() + "/>", PolicyViolation},
		{"<a>" + strings.Repeat("b", BeforeAuth.MaxBytes-7) + "</a>", "EOF"},
		{"<a>" + strings.Repeat("b", BeforeAuth.MaxBytes-6) + "</a>", PolicyViolation},
		{"<a>" + strings.Repeat("b", BeforeAuth.MaxBytes*3) + "</a>", PolicyViolation},
		{"<a>" + strings.Repeat("b<![CDATA[c]]>", BeforeAuth.MaxBytes/10) + "</a>", PolicyViolation},
		{"<a b='" + strings.Repeat("b", BeforeAuth.MaxBytes) + "'/>", PolicyViolation},
		{"<a " + strings.Repeat(" ", BeforeAuth.MaxBytes) + "/>", PolicyViolation},
		{"<a>" + strings.Repeat("<b/>", BeforeAuth.MaxNodes-1) + "</a>", "EOF"},
		{"<a>" + strings.Repeat("<b/>", BeforeAuth.MaxNodes) + "</a>", PolicyViolation},
		{"<a>" + strings.Repeat("<b/>c", BeforeAuth.MaxNodes/2) + "</a>", PolicyViolation},
		{"<" + strings.Repeat("a", BeforeAuth.MaxName+1) + "/>", PolicyViolation},
		{"<a " + strings.Repeat("a", BeforeAuth.MaxName+1) + "=''/>", PolicyViolation},
		{"<a" + strings.TrimSuffix(spaces.String(), " xmlns:a32='u'") + "/>", PolicyViolation},
		{strings.Repeat("<a"+spaces.String()[:10*len(" xmlns:a0='u'")]+">", 4), PolicyViolation},
		{strings.Repeat("<a/>", 10*BeforeAuth.MaxNodes), "EOF"}, // limits are per element
		{strings.Repeat(" ", 10*BeforeAuth.MaxBytes) + "<a/>", "EOF"},
	} {
		refuses(t, c.content, c.want)
	}
	long := "<stream:stream a='" + strings.Repeat("b", BeforeAuth.MaxBytes)
	if _, err := NewReader(strings.NewReader(long), BeforeAuth).ReadOpen(); condition(err) != PolicyViolation {
		t.Errorf("long stream header: %v", err)
	}
}

// Threat 5: smuggling by invalid UTF-8, excluded characters, odd namespaces.
func TestThreatSmuggling(t *testing.T) {
	for _, c := range []string{
		"<a>\xff</a>", "<a>\xc0\x80</a>", "<a>\xed\xa0\x80</a>", "<a>\xf4\x90\x80\x80</a>", "<a>\xe2\x82</a>", "<a b='\xff'/>",
		"<a\xff/>", "<a>\x80</a>", "<a><![CDATA[\xff]]></a>", "<a b\xff=''/>",
	} {
		refuses(t, c, UnsupportedEncoding)
	}
	for _, c := range []string{
		"<a>\x00</a>", "<a>\x08</a>", "<a>\x1f</a>", "<a>\ufffe</a>", "<a>\uffff</a>", "<a b='\x01'/>", "<a><![CDATA[\x00]]></a>",
		"<a>&#0;</a>", "<a>&#x8;</a>", "<a>&#xD800;</a>", "<a>&#xFFFE;</a>", "<a>&#x110000;</a>", "<a>&#99999999999;</a>",
		"<a>&#;</a>", "<a>&#x;</a>", "<a>&#xg;</a>", "<a>&#a;</a>", "<a>&#-1;</a>", "<a>&#X41;</a>", "<a>&</a>", "<a>& b</a>", "<a>&;</a>", "<a>&amp</a>", "<a b='&'/>",
		"<a>]]></a>", "<a>&amp;]]></a>", "<a b='<'/>", "<a b=\"<\"/>", "<a <b/>", "<a b='1'c='2'/>", "<a b/>", "<a b=/>", "<a b=c/>", "<a b=''' />", "<a / >", "<a/ >", "< a/>", "<>", "</>", "<a></ a>",
		"<a></b>", "<a></a b='c'>", "<a></a/>", "<a:b:c/>", "<:a/>", "<a:/>", "<-a/>", "<1/>", "<a b:='c'/>", "<a ='c'/>", "<a\u00d7/>", "<a \u037e=''/>",
		"<a b='1' b='2'/>", "<a xmlns='u' xmlns='v'/>", "<a xmlns:p='u' xmlns:p='v'/>", "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "<a xml:lang='en' xml:lang='de'/>",
		"<a xmlns:xml='u'/>", "<a xmlns:xmlns='u'/>", "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
		"<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", "<a xmlns='http://www.w3.org/2000/xmlns/'/>", "<a xmlns:p=''/>", "<a xmlns:p='ht&#116;p://www.w3.org/2000/xmlns/'/>",
		"<p:a xmlns:p='u' xmlns:q='u'></q:a>", "<stream:a></a>", "<a></stream:a>", "</a>", "</stream>",
	} {
		refuses(t, c, NotWellFormed)
	}
	for _, c := range []string{"<p:a/>", "<a p:b=''/>", "<a><b xmlns:p='u'/><p:c/></a>", "<xmlns:a/>"} {
		refuses(t, c, BadNamespacePrefix)
	}
	for _, c := range []string{"a", "<a/>b", "&amp;", "<![CDATA[a]]>", "\ufeff", "\x00"} {
		refuses(t, c, BadFormat)
	}
	refuses(t, "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='x'><\u00e9 \u00e9\u00b7='&#x9;'/></a>", "EOF")
}

func TestDeclaration(t *testing.T) {
	for in, want := range map[string]string{
		"<?xml version='1.0'?>": "",
		"<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>": "",
		"<?xml version='1.0' encoding='utf-8'?>\n":                   "",
		"\n<?xml version='1.0'?>":                                    "",
		"<?xml version='1.0' encoding='ISO-8859-1'?>":                UnsupportedEncoding,
		"<?xml version='1.1'?>":                                      NotWellFormed,
		"<?xml ?>":                                                   NotWellFormed,
		"<?xml encoding='UTF-8'?>":                                   NotWellFormed,
		"<?xml encoding='UTF-8' version='1.0'?>":                     NotWellFormed,
		"<?xml version='1.0' version='1.0'?>":                        NotWellFormed,
		"<?xml version='1.0' standalone='maybe'?>":                   NotWellFormed,
		"<?xml version='1.0' a='b'?>":                                NotWellFormed,
		"<?xml version='1.0'encoding='UTF-8'?>":                      NotWellFormed,
		"<?xml version='1.0?>":                                       NotWellFormed,
		"<?xml" + strings.Repeat(" ", 200):                           NotWellFormed,
		"<?xml version='1.0'?><?xml version='1.0'?>":                 RestrictedXML,
		"</a>":          NotWellFormed,
		"a":             NotWellFormed,
		"\ufeff":        NotWellFormed,
		"\xff\xfe<\x00": UnsupportedEncoding,
		"\xfe\xff\x00<": UnsupportedEncoding,
	} {
		in += "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"
		if _, err := NewReader(iotest.OneByteReader(strings.NewReader(in)), BeforeAuth).ReadOpen(); condition(err) != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}
