// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// heldBy returns the bytes of heap that each Reader holds after it has read
// content and waits for more.
func heldBy(t *testing.T, content string, lim Limits, slow bool) int {
	t.Helper()
	const n = 32
	readers := make([]*Reader, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	runtime.ReadMemStats(&before)
	for i := range readers {
		// The source's memory is the connection's, and given back here.
		var src io.Reader = io.MultiReader(strings.NewReader(content), &timeoutOnce{})
		if slow {
			src = iotest.OneByteReader(src)
		}
		readers[i] = NewReader(src, lim)
		_, err := readers[i].ReadOpen()
		for err == nil {
			_, err = readers[i].Read()
		}
		if err != iotest.ErrTimeout {
			t.Fatalf("%.40q...: %v", content, err)
		}
		readers[i].src = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(readers)
	runtime.KeepAlive(content)
	return int(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / n
}

// Threat 2: whatever has been sent, a connection that has not authenticated
// holds at most 16 KiB.
func TestThreatMemoryBeforeAuth(t *testing.T) {
	lim := BeforeAuth
	var attrs, spaces strings.Builder
	for i := range lim.MaxAttrs - 2 {
		fmt.Fprintf(&attrs, " a%d=''", i)
		fmt.Fprintf(&spaces, " xmlns:a%d='%0200d'", i, i)
	}
	for name, content := range map[string]func(n int) string{
		"open tag":      func(n int) string { return "<a b='" + pad(n) },
		"open text":     func(n int) string { return "<a>" + pad(n) },
		"whole text":    func(n int) string { return "<a>" + pad(n) + "<b>" },
		"escaped text":  func(n int) string { return "<a>&amp;" + pad(n) + "<b>" },
		"CDATA":         func(n int) string { return "<a><![CDATA[" + pad(n/2) + "]]>" + pad(n/2) + "<b" },
		"value":         func(n int) string { return "<a b='" + pad(n) + "'>" },
		"escaped value": func(n int) string { return "<a b='&#9;" + pad(n) + "'>" },
		"elements":      func(n int) string { return "<a>" + strings.Repeat("<b/>", n) },
		"elements, tag": func(n int) string { return "<a>" + strings.Repeat("<b/>", n/200) + "<b c='" + pad(n) },
		"elements, text": func(n int) string {
			return "<a>" + strings.Repeat("<b/>", n/200) + pad(n) + "<b"
		},
		"texts":      func(n int) string { return "<a>" + strings.Repeat("c<b/>", n) },
		"long texts": func(n int) string { return "<a>" + strings.Repeat(pad(n/15)+"<b/>", 15) },
		"attributes": func(n int) string {
			return "<a" + attrs.String() + ">" + strings.Repeat("<b c='' d='' e='' f='' g='' h='' i=''/>", n)
		},
		"namespaces":     func(n int) string { return "<a" + spaces.String() + ">" + pad(n) },
		"depth":          func(n int) string { return strings.Repeat("<a>", n) },
		"after a large":  func(n int) string { return "<a>" + pad(n) + "</a>" },
		"names":          func(n int) string { return "<a>" + strings.Repeat("<"+pad(lim.MaxName)+"/>", n) },
		"attribute each": func(n int) string { return "<a>" + strings.Repeat("<b c='"+pad(n/20)+"'/>", 20) },
	} {
		most := content(largest(lim, content))
		for _, slow := range []bool{false, true} {
			if slow && testing.Short() {
				break
			}
			if n := heldBy(t, header+most, lim, slow); n > 16<<10 {
				t.Errorf("%s (byte by byte: %v): %d bytes held", name, slow, n)
			} else if testing.Verbose() {
				t.Logf("%s (byte by byte: %v): %d bytes held of %d sent", name, slow, n, len(most))
			}
		}
	}
}

func pad(n int) string { return strings.Repeat("c", n) }

// largest finds a large n for which content is within the limits.
func largest(lim Limits, content func(n int) string) int {
	n := 0
	for step := 1 << 13; step > 0; step /= 2 {
		_, _, err := readStream(strings.NewReader(header+content(n+step)), lim)
		if condition(err) != PolicyViolation {
			n += step
		}
	}
	return n
}

// A connection that is idle after authentication holds little, whatever it has
// sent before.
func TestIdleMemory(t *testing.T) {
	for name, content := range map[string]string{
		"nothing":  "",
		"chat":     chat,
		"large":    "<a>" + strings.Repeat("c", 200<<10) + "</a>",
		"many":     "<a>" + strings.Repeat("<b/>", 4000) + "</a>",
		"deep":     strings.Repeat("<a>", 60) + strings.Repeat("</a>", 60),
		"escaped":  "<a b='&#9;" + strings.Repeat("c", 100<<10) + "'>&amp;" + strings.Repeat("c", 100<<10) + "</a>",
		"followed": "<a>" + strings.Repeat("c", 200<<10) + "</a><b",
	} {
		if n := heldBy(t, header+content, AfterAuth, false); n > 4<<10 {
			t.Errorf("%s: %d bytes held", name, n)
		} else if testing.Verbose() {
			t.Logf("%s: %d bytes held", name, n)
		}
	}
}

// Threat 3: an element that trickles in costs work in proportion to its bytes.
func TestThreatTrickle(t *testing.T) {
	for _, content := range []string{
		"<a b='" + strings.Repeat("c", 100<<10) + "'/>", "<a>" + strings.Repeat("c", 100<<10) + "</a>", "<a><![CDATA[" + strings.Repeat("]", 100<<10) + "]]></a>",
		"<a>" + strings.Repeat("b<![CDATA[c]]>", 10<<10) + "</a>", "<a>" + strings.Repeat("&amp;", 30<<10) + "</a>",
	} {
		if _, all, err := readStream(iotest.OneByteReader(strings.NewReader(header+content+footer)), AfterAuth); err != io.EOF || len(all) != 1 {
			t.Errorf("%.20q...: %v", content, err)
		}
	}
}
