// SPDX-License-Identifier: Apache-2.0

package account

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"bavard/internal/account/accounttest"
	"bavard/internal/command"
)

const installation = "d4565fa7-4d72-4749-b3d3-740edbf87770"

// withToken makes juliet and a token of a client of hers for a mechanism.
func withToken(t testing.TB, m command.TokenMechanism) (*Service, *accounttest.Store, Agent, string) {
	t.Helper()
	s, store := service(t)
	cred := &command.Credentials{ScramSha256: &command.ScramKeys{Salt: []byte("salt"), Iterations: Iterations}}
	do(t, store, &command.Command{Request: &command.Command_AccountCreate{
		AccountCreate: &command.AccountCreate{Jid: "juliet@localhost", Credentials: cred},
	}})
	acc, err := store.Account("juliet@localhost")
	if err != nil {
		t.Fatal(err)
	}
	agent, _ := NewAgent(installation, "", "")
	client, seed := s.Client(acc, agent), []byte("sixteen bytes...")
	do(t, store, &command.Command{Request: &command.Command_ClientLogin{ClientLogin: &command.ClientLogin{
		Account: acc.JID, Client: []byte(client), Auth: command.ClientAuth_CLIENT_AUTH_PASSWORD,
		Issue: &command.ClientToken{Seed: seed, Mechanism: m, ExpiresMs: time.Now().Add(TokenTime).UnixMilli()},
	}}})
	return s, store, agent, s.token(acc, client, m, seed)
}

func do(t testing.TB, store *accounttest.Store, cmd *command.Command) {
	t.Helper()
	if out, err := store.Do(t.Context(), cmd); err != nil || out.Err != nil {
		t.Fatal(out, err)
	}
}

// TestTokenEnds: a token is good for its time and not longer, which only who shows
// it is told; nor where the account is switched off.
func TestTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store, agent, token := withToken(t, command.TokenMechanism_TOKEN_MECHANISM_NONE)
		show := func(key string) error {
			x, err := s.Begin(Attempt{Mechanism: "HT-SHA-256-NONE", Agent: agent, Shown: Token})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = x.Next(t.Context(), append([]byte("juliet\x00"), (&hashed{}).sum([]byte(key), "Initiator")...))
			return err
		}
		if err := show(token); err != nil {
			t.Error(err)
		}
		do(t, store, &command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: "juliet@localhost"}}})
		wantFailure(t, show(token), AccountDisabled)
		wantFailure(t, show("another"), NotAuthorized)
		do(t, store, &command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: "juliet@localhost", Enable: true}}})
		time.Sleep(TokenTime - time.Millisecond) // of the bubble
		if err := show(token); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		wantFailure(t, show(token), CredentialsExpired)
		wantFailure(t, show("another"), NotAuthorized)
		store.Fail(errors.New("broken"))
		wantFailure(t, show(token), TemporaryAuthFailure)
	})
}

// FuzzHashedToken: of all messages only the account's name with the right hash lets
// one in.
func FuzzHashedToken(f *testing.F) {
	s, _, agent, token := withToken(f, command.TokenMechanism_TOKEN_MECHANISM_EXPR)
	offer := NewOffer(false, []Binding{{"tls-exporter", []byte("exported")}})
	mac := func(who, binding string) string {
		return string((&hashed{binding: []byte(binding)}).sum([]byte(token), who))
	}
	right := mac("Initiator", "exported")
	for _, in := range []string{
		"juliet\x00" + right, "Juliet\x00" + right, "romeo\x00" + right, "\x00" + right, right, "juliet\x00", "juliet\x00\x00" + right,
		"juliet\x00" + mac("Responder", "exported"), "juliet\x00" + mac("Initiator", ""), "\xff\x00" + right, "juliet@localhost\x00" + right,
		strings.Repeat("j", 1024) + "\x00" + right, strings.Repeat("j", 1025) + "\x00" + right, "juliet\x00" + right + "\x00", "",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		x, err := s.Begin(Attempt{Mechanism: "HT-SHA-256-EXPR", Agent: agent, Shown: Token, Offer: offer})
		if err != nil {
			t.Fatal(err)
		}
		out, done, err := x.Next(t.Context(), in)
		var failure *Failure
		switch {
		case done && (err != nil || x.Proof().Account.JID != "juliet@localhost" || string(out) != mac("Responder", "exported")):
			t.Errorf("%q: %v, %q", in, err, out)
		case done && !bytes.HasSuffix(in, []byte("\x00"+right)):
			t.Errorf("%q let somebody in", in)
		case !done && (!errors.As(err, &failure) || out != nil || x.Proof().Account.JID != ""):
			t.Errorf("%q: %v, %q", in, err, out)
		case !done && string(in) == "juliet\x00"+right:
			t.Errorf("refused: %v", err)
		}
	})
}

// FuzzNewAgent: what a client says of itself is a UUID and two short lines that can
// be shown, and is the same when it is read again.
func FuzzNewAgent(f *testing.F) {
	f.Add(installation, "Gajim", "desk")
	f.Add(strings.ToUpper(installation), " \u202eevil\x00\n", strings.Repeat("é", 65))
	f.Add("", strings.Repeat("a", 63)+" b", "\xff\u2028")
	f.Add("d4565fa7-4d72-4749-b3d3-740edbf8777", "", "")
	f.Add("d4565fa7-4d72-4749-b3d3-740edbf877Ķ", "", "")
	f.Fuzz(func(t *testing.T, id, software, device string) {
		a, ok := NewAgent(id, software, device)
		if !ok {
			if a != (Agent{}) || id == "" {
				t.Errorf("%q: %+v", id, a)
			}
			return
		}
		if a.ID != strings.ToLower(id) || a.ID != "" && (len(a.ID) != 36 || strings.Trim(a.ID, "0123456789abcdef-") != "") {
			t.Errorf("%q was taken for an id: %q", id, a.ID)
		}
		for _, s := range []string{a.Software, a.Device} {
			if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxAgentText || strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q is no line to show", s)
			}
		}
		if again, ok := NewAgent(a.ID, a.Software, a.Device); !ok || again != a {
			t.Errorf("%+v becomes %+v", a, again)
		}
	})
}
