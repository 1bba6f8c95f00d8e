// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The example of XEP-0474 §example @0.5.0: a hash over both lists, sorted.
func TestOfferDigest(t *testing.T) {
	o := Offer{
		Mechanisms: []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"},
		Bindings:   []Binding{{Type: "tls-server-end-point"}, {Type: "tls-exporter"}},
	}
	if got, want := o.digest(scramSHA1), "G6k/rBLDqgOhRRaCuuatSDFkJ08="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !slices.Equal(o.Types(), []string{"tls-server-end-point", "tls-exporter"}) || o.Mechanisms[0] != "SCRAM-SHA-1-PLUS" {
		t.Errorf("the offer was reordered: %+v", o)
	}
}

func TestOffer(t *testing.T) {
	bound := []Binding{{"tls-exporter", []byte("x")}}
	for _, c := range []struct {
		plain bool
		bound []Binding
		want  string
	}{
		{false, nil, "SCRAM-SHA-256 SCRAM-SHA-1"},
		{true, nil, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"},
		{true, bound, "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"},
	} {
		o := NewOffer(c.plain, c.bound)
		if got := strings.Join(o.Mechanisms, " "); got != c.want {
			t.Errorf("%v, %v: %s", c.plain, c.bound, got)
		}
		s, _ := service(t)
		for _, m := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "PLAIN-PLUS", "", "-PLUS"} {
			if _, err := s.Begin(Attempt{Mechanism: m, Offer: o}); (err == nil) != slices.Contains(o.Mechanisms, m) {
				t.Errorf("%q of %s: %v", m, c.want, err == nil)
			}
		}
	}
}

// bound runs an exchange of a -PLUS mechanism; data is what the client takes
// for the binding.
func bound(t *testing.T, s *Service, m mechanism, o Offer, gs2, data string) (string, Exchange, error) {
	t.Helper()
	x, err := s.Begin(Attempt{Mechanism: m.name + plusSuffix, Offer: o})
	if err != nil {
		t.Fatal("no mechanism ", m.name+plusSuffix, err)
	}
	const bare = "n=juliet,r=clientnonce"
	first, _, err := x.Next(t.Context(), []byte(gs2+bare))
	if err != nil {
		return "", x, err
	}
	_, _, err = x.Next(t.Context(), []byte(answer(t, m, "r0m30myr0m30", gs2+data, bare, string(first))))
	return string(first), x, err
}

func TestSCRAMPlus(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	o := NewOffer(true, []Binding{{"tls-exporter", []byte("exported")}, {"tls-server-end-point", []byte("hashed, with a comma, \x00 and \xff")}})
	for _, c := range []struct {
		gs2, data string
		want      Condition
	}{
		{"p=tls-exporter,,", "exported", ""},
		{"p=tls-exporter,a=juliet@localhost,", "exported", ""},
		{"p=tls-exporter,a=romeo@localhost,", "exported", InvalidAuthzid},
		{"p=tls-server-end-point,,", "hashed, with a comma, \x00 and \xff", ""},
		{"p=tls-exporter,,", "Exported", NotAuthorized},
		{"p=tls-exporter,,", "exporte", NotAuthorized},
		{"p=tls-exporter,,", "exported!", NotAuthorized},
		{"p=tls-exporter,,", "", NotAuthorized},
		{"p=tls-exporter,,", "hashed, with a comma, \x00 and \xff", NotAuthorized},
		{"p=tls-unique,,", "exported", MalformedRequest},
		{"p=TLS-EXPORTER,,", "exported", MalformedRequest},
		{"p=,,", "", MalformedRequest},
		{"p=tls exporter,,", "exported", MalformedRequest},
		{"p=" + strings.Repeat("x", maxBindingType+1) + ",,", "", MalformedRequest},
		{"p,,", "", MalformedRequest},
		{"n,,", "", MalformedRequest},
		{"y,,", "", MalformedRequest},
	} {
		for _, m := range []mechanism{scramSHA1, scramSHA256} {
			first, x, err := bound(t, s, m, o, c.gs2, c.data)
			var f *Failure
			switch {
			case c.want == "" && (err != nil || x.Proof().Account.JID != "juliet@localhost"):
				t.Errorf("%s %q: %v, account %q", m.name, c.gs2, err, x.Proof().Account.JID)
			case c.want == "" && !strings.HasSuffix(first, ",h="+o.digest(m)):
				t.Errorf("%s: the first message does not tell what was offered: %s", m.name, first)
			case c.want != "" && (!errors.As(err, &f) || f.Condition != c.want || x.Proof().Account.JID != ""):
				t.Errorf("%s %q: %v, account %q; want %s", m.name, c.gs2, err, x.Proof().Account.JID, c.want)
			}
		}
	}
}

// A client that could have bound, and says that it was not offered to, was
// lied to (RFC 5802 §6).
func TestDowngradeIsRefused(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	for _, c := range []struct {
		gs2      string
		bindings []Binding
		want     Condition
	}{
		{"y,,", []Binding{{"tls-exporter", []byte("x")}}, NotAuthorized},
		{"y,a=juliet@localhost,", []Binding{{"tls-exporter", []byte("x")}}, NotAuthorized},
		{"n,,", []Binding{{"tls-exporter", []byte("x")}}, ""},
		{"y,,", nil, ""},
	} {
		x, _ := s.Begin(Attempt{Mechanism: "SCRAM-SHA-256", Offer: NewOffer(true, c.bindings)})
		_, _, err := x.Next(t.Context(), []byte(c.gs2+"n=juliet,r=abc"))
		var f *Failure
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &f) || f.Condition != c.want) {
			t.Errorf("%s with %v: %v, want %q", c.gs2, c.bindings, err, c.want)
		}
	}
}

// What is bound is not taken from the client's second message alone: another
// header there than in the first is refused.
func TestHeaderCannotChange(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	o := NewOffer(false, []Binding{{"tls-exporter", []byte("one")}, {"tls-server-end-point", []byte("two")}})
	x, _ := s.Begin(Attempt{Mechanism: "SCRAM-SHA-256-PLUS", Offer: o})
	const bare = "n=juliet,r=clientnonce"
	first, _, err := x.Next(t.Context(), []byte("p=tls-exporter,,"+bare))
	if err != nil {
		t.Fatal(err)
	}
	final := answer(t, scramSHA256, "r0m30myr0m30", "p=tls-server-end-point,,two", bare, string(first))
	_, _, err = x.Next(t.Context(), []byte(final))
	wantFailure(t, err, NotAuthorized)
	if !strings.HasPrefix(final, "c="+base64.StdEncoding.EncodeToString([]byte("p=tls-server-end-point,,two"))) {
		t.Error("the client did not say what it should")
	}
}
