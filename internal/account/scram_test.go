// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/state"
)

// fixed is a Store of one account.
type fixed struct{ account state.Account }

func (f fixed) Do(context.Context, *command.Command) (command.Outcome, error) {
	return command.Outcome{}, errors.New("read-only")
}

func (f fixed) Account(bare string) (state.Account, error) {
	if bare != f.account.JID {
		return state.Account{}, state.ErrNotFound
	}
	return f.account, nil
}

func (f fixed) Invite([]byte) (state.Invite, error) { return state.Invite{}, state.ErrNotFound }

func (f fixed) Client(string, string) (state.Client, error) {
	return state.Client{}, state.ErrNotFound
}
func (f fixed) Link(string) (state.Secret, error)     { return state.Secret{}, state.ErrNotFound }
func (f fixed) Recovery(string) (state.Secret, error) { return state.Secret{}, state.ErrNotFound }

// vector is a conversation of a specification.
type vector struct {
	mech              mechanism
	salt, nonce       string
	c1, s1, c2, s2    string
	username, passwrd string
}

func vectors() map[string]vector {
	return map[string]vector{
		"RFC 5802 §5": {
			mech: scramSHA1, salt: "QSXCR+Q6sek8bf92", nonce: "3rfcNHYJY1ZVvWVs7j",
			c1:       "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			s1:       "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			c2:       "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			s2:       "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
			username: "user", passwrd: "pencil",
		},
		"RFC 7677 §3": {
			mech: scramSHA256, salt: "W22ZaJ0SNY7soEsUEjb6gQ==", nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			c1:       "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			s1:       "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			c2:       "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			s2:       "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
			username: "user", passwrd: "pencil",
		},
	}
}

// exchange prepares the server of a vector.
func (v vector) exchange(t *testing.T) *scram {
	t.Helper()
	salt, err := base64.StdEncoding.DecodeString(v.salt)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := v.mech.derive(v.passwrd, salt, Iterations)
	if err != nil {
		t.Fatal(err)
	}
	cred := &command.Credentials{ScramSha1: keys}
	if v.mech.name == scramSHA256.name {
		cred = &command.Credentials{ScramSha256: keys}
	}
	s := New(Config{Domain: "localhost", Store: fixed{state.Account{JID: v.username + "@localhost", Credentials: cred}}})
	return &scram{service: s, mech: v.mech, nonce: func() string { return v.nonce }}
}

func TestSCRAMVectors(t *testing.T) {
	for name, v := range vectors() {
		t.Run(name, func(t *testing.T) {
			x := v.exchange(t)
			out, done, err := x.Next(t.Context(), []byte(v.c1))
			if err != nil || done || string(out) != v.s1 {
				t.Fatalf("first: %q, %v, %v; want %q", out, done, err, v.s1)
			}
			if x.Proof().Account.JID != "" {
				t.Error("an account before the proof")
			}
			out, done, err = x.Next(t.Context(), []byte(v.c2))
			if err != nil || !done || string(out) != v.s2 {
				t.Fatalf("final: %q, %v, %v; want %q", out, done, err, v.s2)
			}
			if got := x.Proof().Account.JID; got != v.username+"@localhost" {
				t.Errorf("account %q", got)
			}
			if _, _, err := x.Next(t.Context(), []byte(v.c2)); err == nil {
				t.Error("a third message was taken")
			}
		})
	}
}

func TestSCRAMRefuses(t *testing.T) {
	v := vectors()["RFC 5802 §5"]
	const nonce = "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
	for _, c := range []struct {
		name, c1, c2 string
		want         Condition // of c1 if c2 is "", else of c2
	}{
		{"wrong proof", v.c1, "c=biws,r=" + nonce + ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", NotAuthorized},
		{"short proof", v.c1, "c=biws,r=" + nonce + ",p=AAAA", NotAuthorized},
		{"empty proof", v.c1, "c=biws,r=" + nonce + ",p=", NotAuthorized},
		{"no proof", v.c1, "c=biws,r=" + nonce, MalformedRequest},
		{"proof not base64", v.c1, "c=biws,r=" + nonce + ",p=!", MalformedRequest},
		{"other nonce", v.c1, "c=biws,r=" + nonce + "x,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", NotAuthorized},
		{"the client's nonce alone", v.c1, "c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", NotAuthorized},
		{"other binding", v.c1, "c=eSws,r=" + nonce + ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", NotAuthorized},
		{"mandatory extension in the end", v.c1, "c=biws,r=" + nonce + ",m=1,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", MalformedRequest},
		{"attributes swapped", v.c1, "r=" + nonce + ",c=biws,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", MalformedRequest},
		{"empty final", v.c1, "", MalformedRequest},
		{"empty first", "", "", MalformedRequest},
		{"channel binding", "p=tls-unique,,n=user,r=abc", "", MalformedRequest},
		{"unknown flag", "x,,n=user,r=abc", "", MalformedRequest},
		{"no header", "n=user,r=abc", "", MalformedRequest},
		{"mandatory extension", "n,,m=ext,n=user,r=abc", "", MalformedRequest},
		{"no user", "n,,r=abc", "", MalformedRequest},
		{"empty user", "n,,n=,r=abc", "", MalformedRequest},
		{"no nonce", "n,,n=user", "", MalformedRequest},
		{"empty nonce", "n,,n=user,r=", "", MalformedRequest},
		{"control in nonce", "n,,n=user,r=a\x01b", "", MalformedRequest},
		{"bad escape", "n,,n=us=4Aer,r=abc", "", MalformedRequest},
		{"escape cut", "n,,n=user=2,r=abc", "", MalformedRequest},
		{"bad authzid", "n,user,n=user,r=abc", "", MalformedRequest},
		{"not UTF-8", "n,,n=us\xffer,r=abc", "", MalformedRequest},
		{"bad extension", "n,,n=user,r=abc,zz", "", MalformedRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := v.exchange(t)
			_, _, err := x.Next(t.Context(), []byte(c.c1))
			if c.want != MalformedRequest || c.c1 == v.c1 {
				if err != nil {
					t.Fatal("first:", err)
				}
				_, _, err = x.Next(t.Context(), []byte(c.c2))
			}
			var f *Failure
			if !errors.As(err, &f) || f.Condition != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if x.Proof().Account.JID != "" {
				t.Error("authenticated")
			}
		})
	}
}

// answer plays the client: the final message for a server-first message.
func answer(t testing.TB, m mechanism, password, gs2, bare, serverFirst string) string {
	t.Helper()
	nonce, salt, iterations := splitServerFirst(t, serverFirst)
	prepared, err := preparePassword(password)
	if err != nil {
		t.Fatal(err)
	}
	proof := clientProof(t, m, prepared, salt, iterations, func(without string) string {
		return bare + "," + serverFirst + "," + without
	}, "c="+base64.StdEncoding.EncodeToString([]byte(gs2))+",r="+nonce)
	return proof
}

// login runs an exchange with this GS2 header and gives what the client read.
func login(t testing.TB, s *Service, m mechanism, gs2, username, password string) (string, state.Account, error) {
	t.Helper()
	x, err := s.Begin(Attempt{Mechanism: m.name, Offer: NewOffer(false, nil)})
	if err != nil {
		t.Fatal("no mechanism ", m.name, err)
	}
	bare := "n=" + username + ",r=clientnonce"
	first, _, err := x.Next(t.Context(), []byte(gs2+bare))
	if err != nil {
		return "", state.Account{}, err
	}
	_, _, err = x.Next(t.Context(), []byte(answer(t, m, password, gs2, bare, string(first))))
	return string(first), x.Proof().Account, err
}

func TestSCRAMHeaders(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	for _, c := range []struct {
		gs2  string
		want Condition
	}{
		{"n,,", ""},
		{"y,,", ""}, // the client could bind; no -PLUS was offered to it
		{"n,a=juliet@localhost,", ""},
		{"y,a=juliet@localhost,", ""},
		{"n,a=romeo@localhost,", InvalidAuthzid},
		{"n,a=juliet@localhost/balcony,", InvalidAuthzid},
		{"n,a=@,", InvalidAuthzid},
	} {
		for _, m := range []mechanism{scramSHA1, scramSHA256} {
			_, acc, err := login(t, s, m, c.gs2, "juliet", "r0m30myr0m30")
			var f *Failure
			switch {
			case c.want == "" && (err != nil || acc.JID != "juliet@localhost"):
				t.Errorf("%s %q: %v, account %q", m.name, c.gs2, err, acc.JID)
			case c.want != "" && (!errors.As(err, &f) || f.Condition != c.want || acc.JID != ""):
				t.Errorf("%s %q: %v, account %q; want %s", m.name, c.gs2, err, acc.JID, c.want)
			}
		}
	}
}

func FuzzSCRAM(f *testing.F) {
	for _, v := range vectors() {
		f.Add([]byte(v.c1), []byte(v.c2), false)
	}
	f.Add([]byte("y,a==2C=3D,n==2C,r=abc,x=y"), []byte("c=eSxhPT0yQz0zRCw=,r=abc,z=1,p=AA=="), false)
	f.Add([]byte("p=tls-exporter,,n=user,r=abc"), []byte("c=cD10bHMtZXhwb3J0ZXIsLGV4cG9ydGVk,r=abcfixed,p=AA=="), true)
	bindings := []Binding{{"tls-exporter", []byte("exported")}, {"tls-server-end-point", []byte("hashed")}}
	cred, err := Derive("correct horse")
	if err != nil {
		f.Fatal(err)
	}
	s := New(Config{Domain: "localhost", Store: fixed{state.Account{JID: "user@localhost", Credentials: cred}}})
	offer := NewOffer(true, bindings)
	f.Fuzz(func(t *testing.T, c1, c2 []byte, plus bool) {
		x := &scram{service: s, mech: scramSHA256, plus: plus, offer: offer, nonce: func() string { return "fixed" }}
		m, err := parseClientFirst(c1)
		if err == nil {
			if m.gs2+m.bare != string(c1) || m.username == "" || m.nonce == "" || strings.HasPrefix(m.gs2, "p") != (m.bindingType != "") {
				t.Errorf("%q was read as %+v", c1, m)
			}
		}
		if _, _, err := x.Next(t.Context(), c1); err != nil {
			return
		}
		if plus != (m.bindingType != "") || m.gs2[0] == 'y' {
			t.Errorf("%q went on, -PLUS: %v", c1, plus)
		}
		if _, done, err := x.Next(t.Context(), c2); done || err == nil {
			t.Errorf("%q, %q authenticated", c1, c2)
		}
	})
}
