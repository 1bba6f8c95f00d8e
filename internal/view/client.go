// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	// maxClients bounds the clients that are remembered of an account.
	maxClients = 64
	// clientSize is the size of a client's name, seedSize that of a token's seed,
	// in bytes.
	clientSize = 16
	seedSize   = 16
	// maxAgent bounds each text that a client describes itself with, in bytes.
	maxAgent = 256
	// maxSeen bounds the clients of one ClientsSeen.
	maxSeen = 1024
	// recoveryGrace is how long a recovery code is good after it was used first: the
	// connection may break before its owner has made a new one, in milliseconds.
	recoveryGrace = 60 * 60 * 1000
)

// clientCommand decides upon one about logins.
func (t *txn) clientCommand(c *command.Command) (command.Outcome, error) {
	switch q := c.Request.(type) {
	case *command.Command_ClientLogin:
		return t.clientLogin(q.ClientLogin)
	case *command.Command_ClientsSeen:
		return t.clientsSeen(q.ClientsSeen)
	case *command.Command_ClientRevoke:
		return t.clientRevoke(q.ClientRevoke)
	case *command.Command_LinkSet:
		return t.secretSet(tableLink, q.LinkSet.GetAccount(), q.LinkSet.GetKeys(), q.LinkSet.GetExpiresMs())
	case *command.Command_RecoverySet:
		return t.secretSet(tableRecovery, q.RecoverySet.GetAccount(), q.RecoverySet.GetKeys(), 0)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// clientLogin notes a login, and what it was good for.
func (t *txn) clientLogin(c *command.ClientLogin) (command.Outcome, error) {
	id := t.account(c.Account)
	switch {
	case id == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case len(c.Client) != clientSize || len(c.Software) > maxAgent || len(c.Device) > maxAgent ||
		c.Issue != nil && (len(c.Issue.Seed) != seedSize || c.Issue.ExpiresMs < 0 || command.TokenMechanism_name[int32(c.Issue.Mechanism)] == ""):
		return refuse(stanza.Modify, stanza.BadRequest, "bad description of a client"), nil
	}
	rec, err := t.accountRecord(c.Account)
	if err != nil {
		return command.Outcome{}, err
	}
	if rec.flags&accountDisabled != 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "this account is switched off"), nil
	}
	key := clientKey(id, c.Client)
	b, err := t.get(key)
	if err != nil {
		return command.Outcome{}, err
	}
	client := clientRecord{first: t.meta.time}
	if b != nil {
		if client, err = parseClient(b); err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
	}
	if good, err := t.shown(c, &rec, &client); err != nil || !good {
		return refuse(stanza.Auth, stanza.NotAuthorized, "what was shown is no good any more"), err
	}
	if b == nil {
		if err := t.roomForClient(c.Account, id, c.KeepMs); err != nil {
			return command.Outcome{}, err
		}
	}
	if c.Issue != nil {
		client.next = &token{seed: c.Issue.Seed, mechanism: byte(c.Issue.Mechanism), issued: t.meta.time, expires: c.Issue.ExpiresMs}
	}
	client.last, client.software, client.device = t.meta.time, c.Software, c.Device
	t.put(key, client.append(nil))
	return accept(), nil
}

// shown reports whether what a client has shown is good still, and uses it up.
func (t *txn) shown(c *command.ClientLogin, acc *accountRecord, client *clientRecord) (bool, error) {
	switch c.Auth {
	case command.ClientAuth_CLIENT_AUTH_PASSWORD:
		client.how |= howPassword
		return xxhash.Sum64(acc.credentials) == c.Keys, nil
	case command.ClientAuth_CLIENT_AUTH_TOKEN:
		switch {
		case client.next.is(c.Used, t.meta.time): // XEP-0484 §token-rotation @0.2.0
			client.current, client.next = client.next, nil
		case !client.current.is(c.Used, t.meta.time):
			return false, nil
		}
		if c.Invalidate {
			client.current = nil
		}
		return true, nil
	case command.ClientAuth_CLIENT_AUTH_LINK:
		client.how |= howLink
		return t.spend(tableLink, acc.id, c.Used)
	case command.ClientAuth_CLIENT_AUTH_RECOVERY:
		client.how |= howRecovery
		return t.spend(tableRecovery, acc.id, c.Used)
	}
	return false, nil
}

// spend uses up a link, or lets a recovery code end soon, if it is still the
// one that was shown.
func (t *txn) spend(table byte, id uint64, used []byte) (bool, error) {
	key := idKey(table, id)
	b, err := t.get(key)
	if b == nil || err != nil {
		return false, err
	}
	s, err := parseSecret(b)
	switch {
	case err != nil:
		return false, t.a.v.damaged(err)
	case !bytes.Equal(s.keys.GetStoredKey(), used) || len(used) == 0 || s.expires != 0 && t.meta.time >= s.expires:
		return false, nil
	case table == tableLink:
		t.delete(key)
	case s.expires == 0:
		s.expires = t.meta.time + recoveryGrace
		t.put(key, s.append(nil))
	}
	return true, nil
}

// roomForClient forgets clients that have not been here for long, and one more
// when there are as many as there may be.
func (t *txn) roomForClient(account string, id uint64, keep int64) error {
	prefix := idKey(tableClient, id)
	keys, err := t.under(prefix)
	if err != nil {
		return err
	}
	type one struct {
		key  string
		last int64
	}
	var left []one
	for _, key := range keys {
		c, err := t.clientAt([]byte(key))
		if err != nil {
			return err
		}
		if keep > 0 && c.last+keep < t.meta.time && !c.current.good(t.meta.time) && !c.next.good(t.meta.time) {
			t.delete([]byte(key))
			continue
		}
		left = append(left, one{key, c.last})
	}
	if len(left) < maxClients {
		return nil
	}
	oldest := slices.MinFunc(left, func(a, b one) int { return int(min(max(a.last-b.last, -1), 1)) })
	t.delete([]byte(oldest.key))
	t.event(state.Event{Kind: state.EventRevoked, Account: account, Position: t.pos, Client: oldest.key[len(prefix):]})
	return nil
}

// clientAt reads a record that exists.
func (t *txn) clientAt(key []byte) (clientRecord, error) {
	b, err := t.get(key)
	if err != nil {
		return clientRecord{}, err
	}
	c, err := parseClient(b)
	return c, t.a.v.damaged(err)
}

// clientsSeen moves times forward.
func (t *txn) clientsSeen(c *command.ClientsSeen) (command.Outcome, error) {
	if len(c.Clients) > maxSeen {
		return refuse(stanza.Modify, stanza.BadRequest, "too many clients at once"), nil
	}
	for _, seen := range c.Clients {
		id := t.account(seen.Account)
		if id == 0 || len(seen.Client) != clientSize {
			continue
		}
		key := clientKey(id, seen.Client)
		b, err := t.get(key)
		if err != nil {
			return command.Outcome{}, err
		}
		if b == nil {
			continue
		}
		client, err := parseClient(b)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if last := min(seen.TimeMs, t.meta.time); last > client.last {
			client.last = last
			t.put(key, client.append(nil))
		}
	}
	return accept(), nil
}

// clientRevoke forgets a client, unless it knows the password.
func (t *txn) clientRevoke(c *command.ClientRevoke) (command.Outcome, error) {
	id := t.account(c.Account)
	if id == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	key := clientKey(id, c.Client)
	b, err := t.get(key)
	if err != nil {
		return command.Outcome{}, err
	}
	if b == nil {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such device"), nil
	}
	client, err := parseClient(b)
	if err != nil {
		return command.Outcome{}, t.a.v.damaged(err)
	}
	if client.how&howPassword != 0 {
		return refuse(stanza.Cancel, stanza.ServiceUnavailable, "this device knows the password: change that, and it is logged out"), nil
	}
	t.delete(key)
	t.event(state.Event{Kind: state.EventRevoked, Account: c.Account, Position: t.pos, Client: string(c.Client)})
	return accept(), t.forgetPushes(c.Account, id, func(d state.PushDevice) bool { return d.Client == string(c.Client) })
}

// lockOut forgets all clients of an account but one, which knows the new
// password, and what else lets somebody in.
func (t *txn) lockOut(id uint64, but []byte) error {
	key := clientKey(id, but)
	var kept []byte
	if len(but) == clientSize {
		b, err := t.get(key)
		if err != nil {
			return err
		}
		if b != nil {
			client, err := parseClient(b)
			if err != nil {
				return t.a.v.damaged(err)
			}
			client.how = howPassword
			kept = client.append(nil)
		}
	}
	t.forgetClients(id)
	if kept != nil {
		t.put(key, kept)
	}
	t.delete(idKey(tableRecovery, id))
	return nil
}

// forgetClients ends all tokens of an account, and the link if there is one.
func (t *txn) forgetClients(id uint64) {
	prefix := idKey(tableClient, id)
	t.deleteRange(prefix, prefixEnd(prefix))
	t.delete(idKey(tableLink, id))
}

// secretSet replaces a link or a recovery code.
func (t *txn) secretSet(table byte, account string, keys *command.ScramKeys, expires int64) (command.Outcome, error) {
	id := t.account(account)
	switch {
	case id == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case keys == nil:
		t.delete(idKey(table, id))
		return accept(), nil
	case len(keys.StoredKey) != 32 || len(keys.ServerKey) != 32 || len(keys.Salt) == 0 || len(keys.Salt) > 64 || expires < 0:
		return refuse(stanza.Modify, stanza.BadRequest, "bad keys"), nil
	}
	s := secretRecord{made: t.meta.time, expires: expires, keys: keys}
	t.put(idKey(table, id), s.append(nil))
	return accept(), nil
}
