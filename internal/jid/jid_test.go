// SPDX-License-Identifier: Apache-2.0

package jid

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, local, domain, resource string }{
		{"example.org", "", "example.org", ""},
		{"juliet@example.org", "juliet", "example.org", ""},
		{"Juliet@EXAMPLE.org./Balcony", "juliet", "example.org", "Balcony"},
		{"juliet@example.org/a@b/c", "juliet", "example.org", "a@b/c"},
		{"example.org/foo bar", "", "example.org", "foo bar"},
		{"a@[::1]/r", "a", "[::1]", "r"},
		{"a@[0:0::1]", "a", "[::1]", ""},
		{"a@127.0.0.1", "a", "127.0.0.1", ""},
		{"a@localhost", "a", "localhost", ""},
		{"JÜRGEN@bücher.example", "jürgen", "bücher.example", ""},
		{"a@xn--bcher-kva.example", "a", "bücher.example", ""},
		{"a@BÜCHER.example", "a", "bücher.example", ""},
		{"a@b.example/Zoë 😀", "a", "b.example", "Zoë 😀"},
		{"a@b.example/no\u00a0break", "a", "b.example", "no break"},
	} {
		j, err := Parse(c.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.in, err)
			continue
		}
		if j.Local() != c.local || j.Domain() != c.domain || j.Resource() != c.resource {
			t.Errorf("Parse(%q) = %q %q %q", c.in, j.Local(), j.Domain(), j.Resource())
		}
		again, err := Parse(j.String())
		if err != nil || again != j {
			t.Errorf("Parse(%q) again: %v, %v", j, again, err)
		}
		made, err := Make(c.local, c.domain, c.resource)
		if err != nil || made != j {
			t.Errorf("Make gives %v, %v; want %v", made, err, j)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a", MaxPart+1)
	for _, in := range []string{
		"", "@", "/", "@example.org", "a@", "a@/r", "a@example.org/", "/r", "a b@example.org", "a\"@example.org",
		"a@b@example.org", "a@exam ple.org", "a@-x.example", "a@x..example", "a@.", "a@_x.example", "a@[::1", "a@[1.2.3.4]", "a@[::1%lo]",
		"a\x00@example.org", "a@example.org/\x07", "a@example.org/\x7f", "a\xff@example.org", "a@example.org/\xff", "a@b\xff.example",
		long + "@example.org", "a@example.org/" + long, "a@" + strings.Repeat("a.", 127) + "aa", "a@" + strings.Repeat("a", 64) + ".example",
		"\u200da@example.org", "a@xn--a.example", "♥@example.org", "a@example.org/\u200b", "a@example.org/\ufdd0",
	} {
		j, err := Parse(in)
		if err == nil {
			t.Errorf("Parse(%q) = %q, want an error", in, j)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Part == "" || e.Reason == "" || !j.IsZero() {
			t.Errorf("Parse(%q): %#v", in, err)
		}
	}
}

func TestParts(t *testing.T) {
	j, err := Parse("juliet@example.org/balcony")
	if err != nil {
		t.Fatal(err)
	}
	if j.IsBare() || j.IsZero() || !(JID{}).IsZero() || !(JID{}).IsBare() || (JID{}).Bare() != (JID{}) || (JID{}).Domain() != "" {
		t.Error("IsBare or IsZero")
	}
	bare, err := ParseBare("juliet@example.org")
	if err != nil || j.Bare() != bare || !bare.IsBare() {
		t.Errorf("Bare() = %v, want %v, %v", j.Bare(), bare, err)
	}
	if _, err := ParseBare("juliet@example.org/balcony"); err == nil {
		t.Error("ParseBare takes a full address")
	}
	full, err := bare.WithResource("balcony")
	if err != nil || full != j {
		t.Errorf("WithResource = %v, %v", full, err)
	}
	if back, err := full.WithResource(""); err != nil || back != bare {
		t.Errorf("WithResource(\"\") = %v, %v", back, err)
	}
	if d := j.DomainJID(); d.String() != "example.org" || d.Local() != "" || !d.IsBare() {
		t.Errorf("DomainJID = %v", d)
	}
	if _, err := (JID{}).WithResource("x"); err == nil {
		t.Error("the zero JID takes a resource")
	}
	if _, err := bare.WithResource("\x00"); err == nil {
		t.Error("WithResource takes NUL")
	}
}

func TestASCIIWithoutAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse("juliet@example.org/balcony.1234") }); n != 0 {
		t.Errorf("%v allocations for an address in normal form", n)
	}
}

func FuzzParseJID(f *testing.F) {
	for _, s := range []string{"a@b/c", "Juliet@EXAMPLE.org./x", "ß@bücher.example", "a@[::1]", "ＡＢ@xn--bcher-kva.example/ﬁ", "אב@example.org/אב 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := Parse(s)
		if err != nil {
			if !j.IsZero() {
				t.Fatal("an address beside an error")
			}
			return
		}
		for _, part := range []string{j.Local(), j.Domain(), j.Resource()} {
			if len(part) > MaxPart {
				t.Fatalf("part of %d bytes", len(part))
			}
		}
		again, err := Parse(j.String())
		if err != nil || again != j {
			t.Fatalf("%q normalises to %q and that to %q, %v", s, j, again, err)
		}
		made, err := Make(j.Local(), j.Domain(), j.Resource())
		if err != nil || made != j {
			t.Fatalf("Make of the parts of %q: %q, %v", j, made, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"juliet@example.org/balcony.1234", "jürgen@bücher.example/Zoë"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
