// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bavard/internal/route"

	"bavard/internal/xmlstream"
)

func parseXML(t testing.TB, s string) *xmlstream.Element {
	t.Helper()
	e, err := xmlstream.ParseElement([]byte(s), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// exodus is the simple example of XEP-0115 §ver-gen-simple @1.6.0.
const exodus = `<query xmlns='http://jabber.org/protocol/disco#info'>
<identity category='client' name='Exodus 0.9.1' type='pc'/>
<feature var='http://jabber.org/protocol/disco#info'/>
<feature var='http://jabber.org/protocol/disco#items'/>
<feature var='http://jabber.org/protocol/muc'/>
<feature var='http://jabber.org/protocol/caps'/>
</query>`

// psi is that of XEP-0115 §ver-gen-complex @1.6.0.
const psi = `<query xmlns='http://jabber.org/protocol/disco#info'>
<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
<feature var='http://jabber.org/protocol/caps'/>
<feature var='http://jabber.org/protocol/disco#info'/>
<feature var='http://jabber.org/protocol/disco#items'/>
<feature var='http://jabber.org/protocol/muc'/>
<x xmlns='jabber:x:data' type='result'>
<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
<field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>
<field var='os'><value>Mac</value></field>
<field var='os_version'><value>10.5.1</value></field>
<field var='software'><value>Psi</value></field>
<field var='software_version'><value>0.11</value></field>
</x></query>`

func TestCapabilitiesAreVerified(t *testing.T) {
	for _, c := range []struct {
		hash, ver, info string
		want            bool
	}{
		{"sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", exodus, true},
		{"sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", psi, true},
		{"sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", exodus, false},
		{"sha-256", "QgayPKawpkPSDYmwT/WM94uAlu0=", exodus, false},
		{"", "QgayPKawpkPSDYmwT/WM94uAlu0=", exodus, false},
		{"md2", "QgayPKawpkPSDYmwT/WM94uAlu0=", exodus, false},
		// Ill-formed: a feature twice.
		{"sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", strings.Replace(exodus, "</query>", "<feature var='http://jabber.org/protocol/caps'/></query>", 1), false},
	} {
		id := caps{c.hash, "node", c.ver}
		if got := id.verified(parseXML(t, c.info)); got != c.want {
			t.Errorf("%s %s: %v", c.hash, c.ver, got)
		}
	}
}

// What is ill-formed verifies as nothing (XEP-0115 §ver-proc @1.6.0).
func TestIllFormedCapabilities(t *testing.T) {
	form := func(fields string) string {
		return "<query xmlns='http://jabber.org/protocol/disco#info'><x xmlns='jabber:x:data' type='result'>" + fields + "</x></query>"
	}
	formType := "<field var='FORM_TYPE' type='hidden'><value>a</value></field>"
	for _, info := range []string{
		form(formType + formType),
		form("<field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field>"),
		form("<field var='FORM_TYPE' type='hidden'/>"),
		form(formType + "<field var='f'><value>&lt;</value></field>"),
		"<query xmlns='http://jabber.org/protocol/disco#info'><feature var='a&lt;b'/></query>",
		"<query xmlns='http://jabber.org/protocol/disco#info'><identity category='c' type='t'/><identity category='c' type='t'/></query>",
		strings.Replace(form(formType), "</query>", "<x xmlns='jabber:x:data' type='result'>"+formType+"</x></query>", 1),
	} {
		if s, ok := route.CapsString(parseXML(t, info)); ok {
			t.Errorf("%s verifies as %q", info, s)
		}
	}
	// A form without FORM_TYPE does not count, nor does one that is not hidden.
	for _, info := range []string{form("<field var='f'><value>v</value></field>"), form("<field var='FORM_TYPE'><value>v</value></field>")} {
		if s, ok := route.CapsString(parseXML(t, info)); !ok || s != "" {
			t.Errorf("%s verifies as %q, %v", info, s, ok)
		}
	}
}

// Sorting looks at each part by itself: a shorter one comes first.
func TestVerificationSorts(t *testing.T) {
	s, ok := route.CapsString(parseXML(t, `<query xmlns='http://jabber.org/protocol/disco#info'>
<identity category='a-b' type='t'/><identity category='a' type='t'/><feature var='x1'/><feature var='x'/>
<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>f</value></field>
<field var='v1'><value>1</value></field><field var='v'><value>45</value><value>4</value></field></x></query>`))
	if want := "a/t//<a-b/t//<x<x1<f<v<4<45<v1<1<"; !ok || s != want {
		t.Errorf("%q, want %q", s, want)
	}
}

func TestInterestsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("<query xmlns='http://jabber.org/protocol/disco#info'><feature var='+notify'/><feature var='b'/>")
	for i := range 300 {
		fmt.Fprintf(&b, "<feature var='n%d+notify'/><feature var='n%d+notify'/>", i, i)
	}
	got := interests(parseXML(t, b.String()+"</query>"))
	if len(got) != interestMost/2 || !slices.IsSorted(got) || got[0] != "n0" {
		t.Errorf("%d interests: %v", len(got), got)
	}
}

func TestKnownCapabilitiesAreBounded(t *testing.T) {
	var k known
	first := caps{"sha-1", "n", "first"}
	k.put(first, []string{"a"})
	for i := range 10 * capsMost {
		k.put(caps{"sha-1", "n", fmt.Sprint(i)}, nil)
		if i%1000 == 0 {
			if names, ok := k.get(first); !ok || len(names) != 1 {
				t.Fatalf("what is in use is forgotten after %d others", i)
			}
		}
	}
	if n := len(k.young) + len(k.old); n > 2*capsMost {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := k.get(caps{"sha-1", "n", "0"}); ok {
		t.Error("what is not used is never forgotten")
	}
}

func FuzzVerification(f *testing.F) {
	f.Add([]byte(exodus))
	f.Add([]byte(psi))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
		if err != nil {
			return
		}
		_ = interests(e)
		if s, ok := route.CapsString(e); ok && strings.ContainsAny(s, "\x00\x01") {
			t.Errorf("%q", s)
		}
	})
}
