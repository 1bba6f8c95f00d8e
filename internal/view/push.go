// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// pushCommand decides upon where accounts are notified.
func (t *txn) pushCommand(c *command.Command) (command.Outcome, error) {
	switch q := c.Request.(type) {
	case *command.Command_PushRegister:
		return t.pushRegister(q.PushRegister)
	case *command.Command_PushEnable:
		return t.pushEnable(q.PushEnable)
	case *command.Command_PushDisable:
		return t.pushDisable(q.PushDisable)
	case *command.Command_PushForget:
		return t.pushForget(q.PushForget)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// pushKey names what is enabled. JIDs hold no byte 0.
func pushKey(account uint64, jid, node string) []byte {
	return append(pushesKey(account, jid), node...)
}

func pushesKey(account uint64, jid string) []byte {
	return append(append(idKey(tablePush, account), jid...), 0)
}

func pushServiceKey(account uint64, node string) []byte {
	return append(idKey(tablePushService, account), node...)
}

// appendDevice writes the client behind the resource, which holds no byte 0.
func appendDevice(dst []byte, d state.PushDevice) []byte {
	if d.Client == "" {
		return appendString(dst, d.Resource)
	}
	return appendString(dst, d.Resource+"\x00"+d.Client)
}

func (r *reader) device() state.PushDevice {
	resource, client, some := strings.Cut(r.string(), "\x00")
	if some && client == "" {
		r.fail("a client without a name")
	}
	return state.PushDevice{Resource: resource, Client: client}
}

func appendPush(dst []byte, p *state.Push) []byte {
	return append(appendDevice(append(dst, recordVersion), p.Device), p.Options...)
}

func parsePush(b []byte) (state.Push, error) {
	r := read(b)
	p := state.Push{Device: r.device()}
	p.Options = r.take(len(r.b))
	return p, r.end()
}

func appendPushService(dst []byte, p *state.PushService) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, recordVersion), uint64(p.Time.UnixMilli()))
	dst = appendString(appendString(appendDevice(dst, p.Device), p.Secret), p.Endpoint)
	return appendString(appendString(dst, p.P256dh), p.Auth)
}

func parsePushService(b []byte) (state.PushService, error) {
	r := read(b)
	p := state.PushService{Time: time.UnixMilli(int64(r.uint64())).UTC(), Device: r.device(), Secret: r.string(), Endpoint: r.string(), P256dh: r.bytes(), Auth: r.bytes()}
	return p, r.end()
}

// registered is a record of the own push component on its way through a batch.
type registered struct {
	node string
	state.PushService
}

// registered gives what an account has there; few.
func (t *txn) registered(id uint64) ([]registered, error) {
	prefix := idKey(tablePushService, id)
	keys, err := t.under(prefix)
	if err != nil {
		return nil, err
	}
	all := make([]registered, 0, len(keys))
	for _, key := range keys {
		b, err := t.get([]byte(key))
		if err != nil {
			return nil, err
		}
		p, err := parsePushService(b)
		if err != nil {
			return nil, t.a.v.damaged(err)
		}
		all = append(all, registered{key[len(prefix):], p})
	}
	return all, nil
}

// unregister forgets a node of the own component, and that it is enabled.
func (t *txn) unregister(id uint64, node string) {
	t.delete(pushServiceKey(id, node))
	t.delete(pushKey(id, state.PushComponent(t.cell.domain), node))
}

func (t *txn) pushChanged(account string) command.Outcome {
	t.event(state.Event{Kind: state.EventPush, Account: account, Position: t.pos})
	return accept()
}

func (t *txn) pushRegister(c *command.PushRegister) (command.Outcome, error) {
	id := t.account(c.Account)
	switch {
	case id == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case c.Node == "" || c.Secret == "" || c.Endpoint == "" || len(c.P256Dh) == 0 || len(c.Auth) == 0:
		return refuse(stanza.Modify, stanza.BadRequest, "the registration is not complete"), nil
	case len(c.Node) > state.PushName || len(c.Secret) > state.PushName || len(c.Endpoint) > state.PushEndpoint ||
		len(c.P256Dh) > state.PushName || len(c.Auth) > state.PushName || len(c.Resource) > maxJID || len(c.Client) > state.PushName || strings.ContainsRune(c.Resource, 0):
		return refuse(stanza.Modify, stanza.PolicyViolation, "the registration is too large"), nil
	}
	all, err := t.registered(id)
	if err != nil {
		return command.Outcome{}, err
	}
	kept := all[:0]
	for _, r := range all {
		switch {
		case r.node == c.Node:
			return refuse(stanza.Cancel, stanza.Conflict, "the node exists"), nil
		case r.Endpoint == c.Endpoint:
			t.unregister(id, r.node)
		default:
			kept = append(kept, r)
		}
	}
	if len(kept) >= state.PushesMost {
		oldest := 0
		for i := range kept {
			if kept[i].Time.Before(kept[oldest].Time) {
				oldest = i
			}
		}
		t.unregister(id, kept[oldest].node)
	}
	t.put(pushServiceKey(id, c.Node), appendPushService(nil, &state.PushService{
		Endpoint: c.Endpoint, P256dh: c.P256Dh, Auth: c.Auth, Secret: c.Secret, Device: state.PushDevice{Resource: c.Resource, Client: string(c.Client)}, Time: t.time(),
	}))
	return t.pushChanged(c.Account), nil
}

// pushEnable is XEP-0357 §enabling @0.4.1. What our own component would
// refuse to be published is refused at once.
func (t *txn) pushEnable(c *command.PushEnable) (command.Outcome, error) {
	id := t.account(c.Account)
	switch {
	case id == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case c.Jid == "" || strings.ContainsRune(c.Jid, 0):
		return refuse(stanza.Modify, stanza.BadRequest, "name the push service"), nil
	case len(c.Jid) > state.PushName || len(c.Node) > state.PushName || len(c.Options) > state.PushOptions || len(c.Resource) > maxJID || len(c.Client) > state.PushName || strings.ContainsRune(c.Resource, 0):
		return refuse(stanza.Modify, stanza.PolicyViolation, "the push is too large"), nil
	}
	if c.Jid == state.PushComponent(t.cell.domain) {
		b, err := t.get(pushServiceKey(id, c.Node))
		if err != nil {
			return command.Outcome{}, err
		}
		if b == nil {
			return refuse(stanza.Cancel, stanza.ItemNotFound, "register the address of Web Push first"), nil
		}
		p, err := parsePushService(b)
		if err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
		if p.Secret != c.Secret {
			return refuse(stanza.Auth, stanza.Forbidden, "the publish-options lack the secret of the registration"), nil
		}
	}
	key := pushKey(id, c.Jid, c.Node)
	old, err := t.get(key)
	if err != nil {
		return command.Outcome{}, err
	}
	if old == nil {
		keys, err := t.under(idKey(tablePush, id))
		if err != nil {
			return command.Outcome{}, err
		}
		if len(keys) >= state.PushesMost {
			return refuse(stanza.Wait, stanza.ResourceConstraint, "too many pushes are enabled; disable one first"), nil
		}
	}
	t.put(key, appendPush(nil, &state.Push{Device: state.PushDevice{Resource: c.Resource, Client: string(c.Client)}, Options: c.Options}))
	return t.pushChanged(c.Account), nil
}

// pushDisable is XEP-0357 §disabling @0.4.1.
func (t *txn) pushDisable(c *command.PushDisable) (command.Outcome, error) {
	id := t.account(c.Account)
	switch {
	case id == 0:
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	case len(c.Jid) > state.PushName || len(c.Node) > state.PushName:
		return accept(), nil // there is none
	}
	own := c.Jid == state.PushComponent(t.cell.domain)
	if c.Node != "" {
		t.delete(pushKey(id, c.Jid, c.Node))
		if own {
			t.unregister(id, c.Node)
		}
		return t.pushChanged(c.Account), nil
	}
	prefixes := [][]byte{pushesKey(id, c.Jid)}
	if own {
		prefixes = append(prefixes, idKey(tablePushService, id))
	}
	for _, prefix := range prefixes {
		keys, err := t.under(prefix) // no range: others of the batch are to see it
		if err != nil {
			return command.Outcome{}, err
		}
		for _, key := range keys {
			t.delete([]byte(key))
		}
	}
	return t.pushChanged(c.Account), nil
}

// pushForget removes what a device has enabled and registered, or an endpoint
// that is no more.
func (t *txn) pushForget(c *command.PushForget) (command.Outcome, error) {
	id := t.account(c.Account)
	if id == 0 {
		return accept(), nil // nothing is left of it
	}
	switch {
	case c.Endpoint != "" && c.Resource == "" && len(c.Client) == 0:
		all, err := t.registered(id)
		if err != nil {
			return command.Outcome{}, err
		}
		for _, r := range all {
			if r.Endpoint == c.Endpoint {
				t.unregister(id, r.node)
			}
		}
		return t.pushChanged(c.Account), nil
	case c.Endpoint == "" && (c.Resource == "") != (len(c.Client) == 0):
		return accept(), t.forgetPushes(c.Account, id, func(d state.PushDevice) bool {
			return c.Resource != "" && d.Resource == c.Resource || len(c.Client) > 0 && d.Client == string(c.Client)
		})
	}
	return refuse(stanza.Modify, stanza.BadRequest, "say what is to be forgotten"), nil
}

// forgetPushes removes what some devices of an account have enabled and registered.
func (t *txn) forgetPushes(account string, id uint64, of func(state.PushDevice) bool) error {
	all, err := t.registered(id)
	if err != nil {
		return err
	}
	changed := false
	for _, r := range all {
		if of(r.Device) {
			t.unregister(id, r.node)
			changed = true
		}
	}
	keys, err := t.under(idKey(tablePush, id))
	if err != nil {
		return err
	}
	for _, key := range keys {
		p, err := record(t, key, parsePush)
		if err != nil {
			return err
		}
		if of(p.Device) {
			t.delete([]byte(key))
			changed = true
		}
	}
	if changed {
		t.pushChanged(account)
	}
	return nil
}

// Pushes gives where an account is notified, by JID and node: at most
// state.PushesMost. An account that there is not has none.
func (v *View) Pushes(account string) (out []state.Push, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	services := map[string]*state.PushService{}
	prefix := idKey(tablePushService, id)
	err = v.rangeOver(prefix, nil, func(key, value []byte) (bool, error) {
		p, err := parsePushService(bytes.Clone(value))
		services[string(key[len(prefix):])] = &p
		return true, err
	})
	if err != nil {
		return nil, err
	}
	prefix = idKey(tablePush, id)
	own := state.PushComponent(v.Domain())
	err = v.rangeOver(prefix, nil, func(key, value []byte) (bool, error) {
		p, err := parsePush(bytes.Clone(value))
		var ok bool
		if p.JID, p.Node, ok = strings.Cut(string(key[len(prefix):]), "\x00"); !ok && err == nil {
			err = corruptf("key %x", key)
		}
		if p.JID == own {
			p.Service = services[p.Node]
		}
		out = append(out, p)
		return true, err
	})
	return out, err
}

// Pushing gives the accounts that are notified anywhere. It reads all accounts: it is
// for the start.
func (v *View) Pushing() (accounts []string, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	ids := map[uint64]bool{}
	if err := v.rangeOver([]byte{tablePush}, nil, func(key, _ []byte) (bool, error) {
		id, err := idOf(key[:min(len(key), 1+idSize)])
		ids[id] = true
		return true, err
	}); err != nil || len(ids) == 0 {
		return nil, err
	}
	err = v.rangeOver([]byte{tableAccount}, nil, func(key, value []byte) (bool, error) {
		rec, err := parseAccount(value)
		if ids[rec.id] {
			accounts = append(accounts, string(key[1:]))
		}
		return true, err
	})
	return accounts, err
}
