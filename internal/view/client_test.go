// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func clientNamed(n byte) []byte { return bytes.Repeat([]byte{n}, clientSize) }

func seed(n byte) []byte { return bytes.Repeat([]byte{n}, seedSize) }

// loginOf is a login of client n; issue, unless 0, makes a token of that seed.
func loginOf(account string, n byte, auth command.ClientAuth, used []byte, issue byte) *command.Command {
	l := &command.ClientLogin{Account: at(account), Client: clientNamed(n), Software: "App", Device: "Phone", Auth: auth, Used: used, KeepMs: 1000}
	if issue != 0 {
		l.Issue = &command.ClientToken{Seed: seed(issue), ExpiresMs: start.Add(24 * time.Hour).UnixMilli()}
	}
	return &command.Command{Request: &command.Command_ClientLogin{ClientLogin: l}}
}

// withPassword is a login by the password that the account has.
func withPassword(c *cellOf, account string, n, issue byte) *command.Command {
	cmd := loginOf(account, n, command.ClientAuth_CLIENT_AUTH_PASSWORD, nil, issue)
	a, err := c.v.Account(at(account))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.GetClientLogin().Keys = a.Keys
	return cmd
}

func withToken(account string, n, used, issue byte) *command.Command {
	return loginOf(account, n, command.ClientAuth_CLIENT_AUTH_TOKEN, seed(used), issue)
}

func scramKeys(n byte) *command.ScramKeys {
	return &command.ScramKeys{Salt: []byte("salt"), Iterations: 1, StoredKey: bytes.Repeat([]byte{n}, 32), ServerKey: make([]byte, 32)}
}

func linkSet(account string, n byte) *command.Command {
	return &command.Command{Request: &command.Command_LinkSet{LinkSet: &command.LinkSet{
		Account: at(account), Keys: scramKeys(n), ExpiresMs: start.Add(time.Hour).UnixMilli(),
	}}}
}

func recoverySet(account string) *command.Command {
	return &command.Command{Request: &command.Command_RecoverySet{RecoverySet: &command.RecoverySet{Account: at(account), Keys: scramKeys(9)}}}
}

func revokeClient(account string, n byte) *command.Command {
	return &command.Command{Request: &command.Command_ClientRevoke{ClientRevoke: &command.ClientRevoke{Account: at(account), Client: clientNamed(n)}}}
}

// A token stays good until its successor has been used (XEP-0484 §token-rotation
// @0.2.0).
func TestTokens(t *testing.T) {
	c := newCell(t, "ann")
	c.refused(withToken("ann", 1, 1, 0), stanza.NotAuthorized)
	c.accept(withPassword(c, "ann", 1, 1))
	c.accept(withToken("ann", 1, 1, 2))
	c.accept(withToken("ann", 1, 1, 0))
	c.accept(withToken("ann", 1, 1, 3)) // 2 was never used: it is gone
	c.refused(withToken("ann", 1, 2, 0), stanza.NotAuthorized)
	c.accept(withToken("ann", 1, 3, 0))
	c.refused(withToken("ann", 1, 1, 0), stanza.NotAuthorized)
	c.refused(withToken("ann", 2, 3, 0), stanza.NotAuthorized) // another client
	got, err := c.v.Client(at("ann"), string(clientNamed(1)))
	if err != nil || got.Next != nil || !bytes.Equal(got.Current.Seed, seed(3)) || !got.Password || got.Software != "App" {
		t.Fatalf("client %+v, %v", got, err)
	}
	end := withToken("ann", 1, 3, 0)
	end.GetClientLogin().Invalidate = true
	c.accept(end)
	c.refused(withToken("ann", 1, 3, 0), stanza.NotAuthorized)
	c.accept(withPassword(c, "ann", 1, 4))
	c.now = start.Add(25 * time.Hour)
	c.refused(withToken("ann", 1, 4, 0), stanza.NotAuthorized)
	c.scrub()
}

// A password that has been changed since is no good, and a new one ends what
// others had.
func TestNewPasswordEndsTokens(t *testing.T) {
	c := newCell(t, "ann")
	old := withPassword(c, "ann", 3, 1)
	c.accept(withPassword(c, "ann", 1, 1))
	c.accept(withPassword(c, "ann", 2, 2))
	c.accept(linkSet("ann", 5))
	c.accept(recoverySet("ann"))
	c.accept(&command.Command{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{
		Jid: at("ann"), Credentials: &command.Credentials{ScramSha256: &command.ScramKeys{Iterations: 7}}, By: at("ann") + "/x", Client: clientNamed(2),
	}}})
	c.refused(old, stanza.NotAuthorized)
	c.refused(withToken("ann", 1, 1, 0), stanza.NotAuthorized)
	c.accept(withToken("ann", 2, 2, 0))
	c.refused(loginOf("ann", 4, command.ClientAuth_CLIENT_AUTH_LINK, scramKeys(5).StoredKey, 0), stanza.NotAuthorized)
	c.refused(loginOf("ann", 4, command.ClientAuth_CLIENT_AUTH_RECOVERY, scramKeys(9).StoredKey, 0), stanza.NotAuthorized)
	c.accept(&command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: at("ann")}}})
	c.accept(&command.Command{Request: &command.Command_AccountDisable{AccountDisable: &command.AccountDisable{Jid: at("ann"), Enable: true}}})
	c.refused(withToken("ann", 2, 2, 0), stanza.NotAuthorized)
}

// A link lets one client in, a recovery code ends an hour after it was used.
func TestLinkAndRecovery(t *testing.T) {
	c := newCell(t, "ann", "bob")
	link := func(n, key byte) *command.Command {
		return loginOf("ann", n, command.ClientAuth_CLIENT_AUTH_LINK, scramKeys(key).StoredKey, n)
	}
	code := func(n byte) *command.Command {
		return loginOf("ann", n, command.ClientAuth_CLIENT_AUTH_RECOVERY, scramKeys(9).StoredKey, n)
	}
	c.refused(link(1, 5), stanza.NotAuthorized)
	c.accept(linkSet("ann", 5))
	c.accept(linkSet("ann", 6))
	c.refused(link(1, 5), stanza.NotAuthorized)
	// Two at once: the first has it.
	r := c.apply(link(1, 6), link(2, 6))
	if r.Outcomes[0].Verdict != command.Accepted || r.Outcomes[1].Verdict != command.Refused {
		t.Fatalf("outcomes %+v", r.Outcomes)
	}
	c.accept(recoverySet("ann"))
	c.accept(code(3))
	c.now = start.Add(59 * time.Minute)
	c.accept(code(4))
	c.now = start.Add(61 * time.Minute)
	c.refused(code(5), stanza.NotAuthorized)
	c.accept(linkSet("ann", 7))
	c.refused(link(6, 7), stanza.NotAuthorized) // it had expired when it came
	c.accept(remove("ann"))
	if _, err := c.v.Clients(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("clients of nobody: %v", err)
	}
	c.accept(create("ann"))
	if all, err := c.v.Clients(at("ann")); err != nil || len(all) != 0 {
		t.Errorf("the newcomer has %v, %v", all, err)
	}
	c.scrub()
}

func TestRevoke(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(linkSet("ann", 5))
	c.accept(loginOf("ann", 1, command.ClientAuth_CLIENT_AUTH_LINK, scramKeys(5).StoredKey, 1))
	c.accept(withPassword(c, "ann", 2, 2))
	c.refused(revokeClient("ann", 2), stanza.ServiceUnavailable)
	c.refused(revokeClient("ann", 3), stanza.ItemNotFound)
	events := c.accept(revokeClient("ann", 1))
	if len(events) != 1 || events[0].Kind != state.EventRevoked || events[0].Client != string(clientNamed(1)) {
		t.Fatalf("events %+v", events)
	}
	c.refused(withToken("ann", 1, 1, 0), stanza.NotAuthorized)
}

// An account has at most so many clients; those that are long gone leave first.
func TestClientsAreBounded(t *testing.T) {
	c := newCell(t, "ann")
	for n := range byte(maxClients) {
		c.now = start.Add(time.Duration(n) * time.Second)
		c.accept(withPassword(c, "ann", n+1, n+1))
	}
	seen := &command.ClientsSeen{Clients: []*command.ClientSeen{{Account: at("ann"), Client: clientNamed(1), TimeMs: c.now.UnixMilli()}}}
	c.accept(&command.Command{Request: &command.Command_ClientsSeen{ClientsSeen: seen}})
	events := c.accept(withPassword(c, "ann", 200, 0))
	if len(events) != 1 || events[0].Client != string(clientNamed(2)) {
		t.Fatalf("events %+v", events)
	}
	c.now = start.Add(48 * time.Hour) // all tokens have expired
	c.accept(withPassword(c, "ann", 201, 0))
	if all, err := c.v.Clients(at("ann")); err != nil || len(all) != 1 {
		t.Fatalf("%d clients, %v", len(all), err)
	}
}
