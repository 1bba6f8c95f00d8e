// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/account/accounttest"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// service makes a Service over a store in memory.
func service(t testing.TB) (*Service, *accounttest.Store) {
	t.Helper()
	store := accounttest.New()
	return New(Config{Domain: "localhost", Store: store, Secret: []byte("a secret of thirty-two bytes....")}), store
}

func create(t testing.TB, s *Service, local, password string) {
	t.Helper()
	if _, err := s.Create(t.Context(), local, password, ""); err != nil {
		t.Fatal(err)
	}
}

func splitServerFirst(t testing.TB, s string) (nonce string, salt []byte, iterations int) {
	t.Helper()
	parts := strings.Split(s, ",")
	if len(parts) != 4 { // with h (XEP-0474)
		t.Fatalf("server-first-message %q", s)
	}
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(parts[1], "s="))
	if err != nil {
		t.Fatal(err)
	}
	iterations, err = strconv.Atoi(strings.TrimPrefix(parts[2], "i="))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(parts[0], "r="), salt, iterations
}

// clientProof follows RFC 5802 §3 from the client's side.
func clientProof(t testing.TB, m mechanism, prepared string, salt []byte, iterations int, authMessage func(string) string, without string) string {
	t.Helper()
	salted, err := pbkdf2.Key(m.hash, prepared, salt, iterations, m.hash().Size())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key []byte, data string) []byte {
		mac := hmac.New(m.hash, key)
		mac.Write([]byte(data))
		return mac.Sum(nil)
	}
	clientKey := sign(salted, "Client Key")
	h := m.hash()
	h.Write(clientKey)
	proof := sign(h.Sum(nil), authMessage(without))
	subtle.XORBytes(proof, proof, clientKey)
	return without + ",p=" + base64.StdEncoding.EncodeToString(proof)
}

func wantStanza(t *testing.T, err error, want stanza.Condition) {
	t.Helper()
	var e *stanza.Error
	if !errors.As(err, &e) || e.Condition != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func wantFailure(t *testing.T, err error, want Condition) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || f.Condition != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestUnknownUserLooksKnown(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	for _, m := range []mechanism{scramSHA1, scramSHA256} {
		known, _, errKnown := login(t, s, m, "n,,", "juliet", "wrong password")
		first, _, errUnknown := login(t, s, m, "n,,", "nobody", "wrong password")
		again, _, _ := login(t, s, m, "n,,", "NOBODY", "wrong password")
		other, _, _ := login(t, s, m, "n,,", "someone", "wrong password")
		wantFailure(t, errKnown, NotAuthorized)
		wantFailure(t, errUnknown, NotAuthorized)
		if errKnown.Error() != errUnknown.Error() {
			t.Errorf("told apart: %v, %v", errKnown, errUnknown)
		}
		if len(known) != len(first) {
			t.Errorf("told apart: %q, %q", known, first)
		}
		salt := func(s string) string { return strings.Split(s, ",")[1] }
		if salt(first) != salt(again) {
			t.Errorf("the salt of an unknown user changes: %q, %q", salt(first), salt(again))
		}
		if salt(first) == salt(other) {
			t.Error("unknown users share a salt")
		}
	}
	// Another process with the same secret gives the same answer.
	a, _ := service(t)
	x, _, _ := login(t, a, scramSHA1, "n,,", "nobody", "wrong password")
	y, _, _ := login(t, s, scramSHA1, "n,,", "nobody", "wrong password")
	if strings.Split(x, ",")[1] != strings.Split(y, ",")[1] {
		t.Error("the salt of an unknown user differs between nodes")
	}
}

func TestPlain(t *testing.T) {
	s, store := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	for _, c := range []struct {
		message string
		want    Condition
	}{
		{"\x00juliet\x00r0m30myr0m30", ""},
		{"juliet@localhost\x00juliet\x00r0m30myr0m30", ""},
		{"\x00Juliet\x00r0m30myr0m30", ""},
		{"romeo@localhost\x00juliet\x00r0m30myr0m30", InvalidAuthzid},
		{"\x00juliet\x00wrong password", NotAuthorized},
		{"\x00romeo\x00r0m30myr0m30", NotAuthorized},
		{"\x00juliet@localhost\x00r0m30myr0m30", NotAuthorized},
		{"\x00juliet\x00", MalformedRequest},
		{"\x00\x00r0m30myr0m30", MalformedRequest},
		{"juliet\x00r0m30myr0m30", MalformedRequest},
		{"\x00juliet\x00r0m30\x00myr0m30", MalformedRequest},
		{"\x00juliet\x00\xff\xff", MalformedRequest},
		{"\x00juliet\x00" + strings.Repeat("x", 2000), NotAuthorized},
		{"", MalformedRequest},
	} {
		x, _ := s.Begin(Attempt{Mechanism: "PLAIN", Offer: NewOffer(true, nil)})
		_, done, err := x.Next(t.Context(), []byte(c.message))
		if c.want != "" {
			wantFailure(t, err, c.want)
			continue
		}
		if err != nil || !done || x.Proof().Account.JID != "juliet@localhost" {
			t.Errorf("%q: %v, %v, %q", c.message, done, err, x.Proof().Account.JID)
		}
	}
	store.Fail(errors.New("disk on fire"))
	x, _ := s.Begin(Attempt{Mechanism: "PLAIN", Offer: NewOffer(true, nil)})
	_, _, err := x.Next(t.Context(), []byte("\x00juliet\x00r0m30myr0m30"))
	wantFailure(t, err, TemporaryAuthFailure)
}

func TestPasswords(t *testing.T) {
	s, _ := service(t)
	for _, c := range []struct{ name, password string }{
		{"short", "1234567"},
		{"short in characters", "éééé"},
		{"empty", ""},
		{"long", strings.Repeat("x", 1025)},
		{"control character", "pass\x07word"},
		{"changed by SASLprep", "ﬁnancial report"},
		{"not UTF-8", "password\xff"},
	} {
		_, err := s.Create(t.Context(), "juliet", c.password, "")
		wantStanza(t, err, stanza.NotAcceptable)
	}
	for i, p := range []string{"r0m30myr0m30", "пароль пароль", "correct horse 🐎", "x y", strings.Repeat("x", 1024)} {
		if len(p) < MinPassword { // the operator's rule is the same
			continue
		}
		user := "user" + strconv.Itoa(i)
		create(t, s, user, p)
		if _, err := s.Verify(t.Context(), user, p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	// A no-break space is a space to both profiles; an accent may be composed.
	create(t, s, "composed", "caf\u00e9 cr\u00e8me")
	if _, err := s.Verify(t.Context(), "composed", "cafe\u0301\u00a0cre\u0300me"); err != nil {
		t.Error(err)
	}
}

func TestChangePassword(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	if err := s.ChangePassword(t.Context(), "juliet@localhost", "another one"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Verify(t.Context(), "juliet", "r0m30myr0m30")
	wantFailure(t, err, NotAuthorized)
	if _, err := s.Verify(t.Context(), "juliet", "another one"); err != nil {
		t.Error(err)
	}
	wantStanza(t, s.ChangePassword(t.Context(), "juliet@localhost", "short"), stanza.NotAcceptable)
	wantStanza(t, s.ChangePassword(t.Context(), "nobody@localhost", "long enough"), stanza.ItemNotFound)
}

func TestSaltsDiffer(t *testing.T) {
	a, err := Derive("r0m30myr0m30")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Derive("r0m30myr0m30")
	if err != nil {
		t.Fatal(err)
	}
	if string(a.ScramSha1.Salt) == string(b.ScramSha1.Salt) || string(a.ScramSha1.Salt) == string(a.ScramSha256.Salt) {
		t.Error("a salt was used twice")
	}
	if len(a.ScramSha1.Salt) != 16 || a.ScramSha1.Iterations != 4096 || len(a.ScramSha256.StoredKey) != 32 {
		t.Errorf("keys %v", a)
	}
}

func TestMixedScripts(t *testing.T) {
	for name, want := range map[string]bool{
		"alice": false, "r2-d2": false, "42": false, "zoë": false, "łukasz": false, "алиса": false, "ολγα": false, "山田太郎": false,
		"さくらサクラ": false, "東京tokyo": false, "김철수": false, "سارة": false, "शिव": false,
		"аlice": true, "αlice": true, "алиcа": true, "paypаl": true,
	} {
		if mixed(name) != want {
			t.Errorf("mixed(%q) = %v", name, !want)
		}
	}
}

func TestRegister(t *testing.T) {
	s, _ := service(t)
	ctx := t.Context()
	token, _, err := s.NewInvite(ctx, Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, local, password, nick string
		want                        stanza.Condition
	}{
		{"reserved", "Admin", "r0m30myr0m30", "", stanza.Conflict},
		{"reserved", "postmaster", "r0m30myr0m30", "", stanza.Conflict},
		{"mixed scripts", "\u0430lice", "r0m30myr0m30", "", stanza.NotAcceptable},
		{"mixed scripts", "\u03bfscar", "r0m30myr0m30", "", stanza.NotAcceptable},
		{"empty", "", "r0m30myr0m30", "", stanza.NotAcceptable},
		{"not a local part", "a b", "r0m30myr0m30", "", stanza.NotAcceptable},
		{"an address", "juliet@localhost", "r0m30myr0m30", "", stanza.NotAcceptable},
		{"long", strings.Repeat("x", 65), "r0m30myr0m30", "", stanza.NotAcceptable},
		{"password", "juliet", "short", "", stanza.NotAcceptable},
		{"name", "juliet", "r0m30myr0m30", "a\u202eb", stanza.NotAcceptable},
		{"long name", "juliet", "r0m30myr0m30", strings.Repeat("x", 81), stanza.NotAcceptable},
	} {
		_, err := s.Register(ctx, token, c.local, c.password, c.nick)
		wantStanza(t, err, c.want)
	}
	j, err := s.Register(ctx, token, "Juliet", "r0m30myr0m30", " Juliet Capulet ")
	if err != nil || j.String() != "juliet@localhost" {
		t.Fatal(j, err)
	}
	acc, err := s.Verify(ctx, "juliet", "r0m30myr0m30")
	if err != nil || acc.Name != "Juliet Capulet" {
		t.Error(acc.Name, err)
	}
	_, err = s.Register(ctx, token, "romeo", "r0m30myr0m30", "")
	wantStanza(t, err, stanza.NotAllowed) // used up
	if _, err := s.Create(ctx, "admin", "r0m30myr0m30", ""); err != nil {
		t.Error("the operator may use a reserved name:", err)
	}
	_, err = s.Create(ctx, "juliet", "r0m30myr0m30", "")
	wantStanza(t, err, stanza.Conflict)
}

func TestInvites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := service(t)
		ctx := context.Background()
		token, expires, err := s.NewInvite(ctx, Invitation{Inviter: "romeo@localhost", Circle: "verona", Uses: 2, TTL: time.Hour})
		if err != nil || len(token) < 22 || !expires.Equal(time.Now().Add(time.Hour)) {
			t.Fatal(token, expires, err)
		}
		if strings.ContainsFunc(token, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
		}) {
			t.Errorf("token %q is not alphanumeric", token)
		}
		inv, err := s.CheckInvite(token)
		if err != nil || inv.Uses != 2 || inv.Inviter != "romeo@localhost" || inv.Circle != "verona" {
			t.Error(inv, err)
		}
		_, err = s.CheckInvite(token + "x")
		wantStanza(t, err, stanza.ItemNotFound)
		_, err = s.CheckInvite("")
		wantStanza(t, err, stanza.ItemNotFound)
		_, err = s.CheckInvite(strings.Repeat("x", 1000))
		wantStanza(t, err, stanza.ItemNotFound)
		time.Sleep(time.Hour)
		_, err = s.CheckInvite(token)
		wantStanza(t, err, stanza.ItemNotFound)

		_, _, err = s.NewInvite(ctx, Invitation{Uses: 1 << 30})
		wantStanza(t, err, stanza.NotAcceptable)
		_, _, err = s.NewInvite(ctx, Invitation{TTL: -1})
		wantStanza(t, err, stanza.NotAcceptable)
		boom := errors.New("no quorum")
		store.Fail(boom)
		if _, _, err = s.NewInvite(ctx, Invitation{}); !errors.Is(err, boom) {
			t.Error(err)
		}
		if _, err = s.CheckInvite(token); !errors.Is(err, boom) {
			t.Error(err)
		}
	})
}

func TestSignup(t *testing.T) {
	s, store := service(t)
	token, _, err := s.NewInvite(t.Context(), Invitation{Uses: 5})
	if err != nil {
		t.Fatal(err)
	}
	iq := func(typ string, payload *xmlstream.Element) *xmlstream.Element {
		return xmlstream.New(stanza.NSClient, "iq", "type", typ, "id", "1", "to", "localhost").Add(payload)
	}
	preauth := func(token string) *xmlstream.Element {
		return iq("set", xmlstream.New(stanza.NSPARS, "preauth", "token", token))
	}
	form := iq("get", xmlstream.New(stanza.NSRegister, "query"))
	register := func(user, password string) *xmlstream.Element {
		return iq("set", xmlstream.New(stanza.NSRegister, "query").Add(
			xmlstream.NewText(stanza.NSRegister, "username", user),
			xmlstream.NewText(stanza.NSRegister, "password", password)))
	}
	g := s.Signup(netip.Prefix{})
	ask := func(want stanza.Condition, e *xmlstream.Element) {
		t.Helper()
		r := g.Handle(t.Context(), e)
		if want == "" {
			if r.Get("type") != "result" || r.Get("from") != "localhost" || r.Get("id") != "1" {
				t.Errorf("got %v, want a result", r)
			}
			return
		}
		if r.Child(stanza.NSClient, "error").Child(stanza.NSStanzaError, string(want)) == nil {
			t.Errorf("got %v, want %s", r, want)
		}
	}
	ask(stanza.NotAllowed, form)
	ask(stanza.NotAllowed, register("juliet", "r0m30myr0m30"))
	ask(stanza.ItemNotFound, preauth("guess"))
	ask(stanza.ItemNotFound, preauth(""))
	if g.Admitted() {
		t.Fatal("admitted without a token")
	}
	ask("", preauth(token))
	ask("", form)
	ask("", iq("get", xmlstream.New(stanza.NSRegister, "query")).Set("to", "LocalHost"))
	ask(stanza.NotAcceptable, register("", "r0m30myr0m30"))
	ask(stanza.NotAcceptable, register("juliet", ""))
	ask(stanza.UnexpectedRequest, iq("set", xmlstream.New(stanza.NSRegister, "query").Add(xmlstream.New(stanza.NSRegister, "remove"))))
	ask(stanza.NotAuthorized, register("juliet", "r0m30myr0m30").Set("to", "elsewhere"))
	ask(stanza.BadRequest, preauth(token).Set("type", "get"))
	store.Fail(errors.New("no quorum"))
	ask(stanza.InternalServerError, register("juliet", "r0m30myr0m30"))
	if g.Cause() == nil {
		t.Error("the cause was lost")
	}
	store.Fail(nil)
	ask("", register("juliet", "r0m30myr0m30"))
	if g.Made().String() != "juliet@localhost" || g.Cause() != nil {
		t.Error(g.Made(), g.Cause())
	}
	ask(stanza.NotAcceptable, register("romeo", "r0m30myr0m30"))
	if g.Handle(t.Context(), iq("get", xmlstream.New(stanza.NSPing, "ping"))) != nil {
		t.Error("answered what is not registration")
	}
	if g.Handle(t.Context(), iq("result", xmlstream.New(stanza.NSRegister, "query"))) != nil {
		t.Error("answered a result")
	}
	if g.Handle(t.Context(), iq("get", nil)) != nil {
		t.Error("answered an empty IQ")
	}
}

func TestHashingIsBounded(t *testing.T) {
	s := New(Config{Domain: "localhost", Store: accounttest.New(), Hashers: 1})
	release, err := s.hash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, "juliet", "r0m30myr0m30"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	if _, err := s.Create(t.Context(), "juliet", "r0m30myr0m30", ""); err != nil {
		t.Error(err)
	}
}

func BenchmarkDerive(b *testing.B) {
	for b.Loop() {
		if _, err := Derive("r0m30myr0m30"); err != nil {
			b.Fatal(err)
		}
	}
}
