// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func seeds(f *testing.F) {
	for _, s := range []string{
		chat, "<a/>", "<a b='c'>d</a> <e/>", "<p:a xmlns:p='u' p:b='&lt;'/>", "<a><![CDATA[b]]>c</a>", "<a xmlns='&#x9;'>\r\n</a>",
		"<stream:error><a xmlns=''/></stream:error>", "<stream:a xmlns:stream='u'/>", "<xml:a xml:b=''/>", "<a>&#xD;&amp;]]&gt;</a>", "<a>&b;</a>", "<!--",
		"<a xmlns:ns0='u' xmlns:ns1='v' ns1:b='' ns0:b=''/>", "</stream:stream>", "<a b='\xff'/>",
	} {
		f.Add([]byte(s))
	}
}

// FuzzReader: what is read does not depend on how the bytes arrive.
func FuzzReader(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, lim := range []Limits{BeforeAuth, {MaxBytes: 160, MaxDepth: 3, MaxAttrs: 4, MaxNodes: 8, MaxName: 16}} {
			s := header + string(in) + footer
			open, all, err := readStream(strings.NewReader(s), lim)
			open1, all1, err1 := readStream(iotest.OneByteReader(strings.NewReader(s)), lim)
			if !reflect.DeepEqual(open, open1) || !reflect.DeepEqual(all, all1) || err.Error() != err1.Error() {
				t.Fatalf("%q: at once %d elements and %v, byte by byte %d and %v", in, len(all), err, len(all1), err1)
			}
		}
	})
}

// FuzzRoundTrip: what has been read is written so that it reads the same.
func FuzzRoundTrip(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if e, err := ParseElement(in, AfterAuth); err == nil {
			roundTrip(t, e, "")
		}
		_, all, _ := readStream(bytes.NewReader(append([]byte(header), in...)), AfterAuth)
		for _, e := range all {
			roundTrip(t, e, "")
			roundTrip(t, e, "jabber:client")
		}
	})
}

// roundTrip writes e for a stream or, when defaultNS is "", for a WebSocket
// message and reads it back.
func roundTrip(t *testing.T, e *Element, defaultNS string) {
	t.Helper()
	out := AppendElement(nil, e, defaultNS)
	lim := Limits{MaxBytes: 16 << 20, MaxAttrs: 3 * AfterAuth.MaxAttrs, MaxNodes: 3 * AfterAuth.MaxNodes}
	var back *Element
	var err error
	if defaultNS == "" {
		back, err = ParseElement(out, lim)
	} else {
		var all []*Element
		_, all, err = readStream(strings.NewReader(header+string(out)+footer), lim)
		if len(all) == 1 {
			back = all[0]
		}
	}
	var syntax *SyntaxError
	if errors.As(err, &syntax) || !reflect.DeepEqual(e, back) {
		t.Fatalf("%q reads back as %q, %v", out, AppendElement(nil, back, defaultNS), err)
	}
}
