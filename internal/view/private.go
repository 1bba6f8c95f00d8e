// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// privateCommand decides upon private data, bookmarks, and who may see nodes.
func (t *txn) privateCommand(c *command.Command) (command.Outcome, error) {
	switch q := c.Request.(type) {
	case *command.Command_PubsubRelate:
		return t.pubsubRelate(q.PubsubRelate)
	case *command.Command_PrivateSet:
		return t.privateSet(q.PrivateSet)
	case *command.Command_BookmarkSet:
		return t.bookmarkSet(q.BookmarkSet)
	case *command.Command_BookmarksKeep:
		return t.bookmarksKeep(q.BookmarksKeep)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// privateKey names private XML. Neither namespaces nor names hold the byte 0.
func privateKey(account uint64, space, name string) []byte {
	return append(append(append(idKey(tablePrivate, account), space...), 0), name...)
}

// privateOf counts what an account has of private XML.
type privateOf struct{ entries, bytes uint64 }

func (p *privateOf) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, recordVersion), p.entries), p.bytes)
}

func parsePrivateOf(b []byte) (privateOf, error) {
	r := read(b)
	p := privateOf{r.uvarint(), r.uvarint()}
	return p, r.end()
}

// privateSet stores all entries or none.
func (t *txn) privateSet(c *command.PrivateSet) (command.Outcome, error) {
	id := t.account(c.Account)
	if o := checkPrivate(id, c); o != nil {
		return *o, nil
	}
	var of privateOf
	b, err := t.get(idKey(tablePrivate, id))
	if err != nil {
		return command.Outcome{}, err
	}
	if b != nil {
		if of, err = parsePrivateOf(b); err != nil {
			return command.Outcome{}, t.a.v.damaged(err)
		}
	}
	for _, e := range c.Entries {
		old, err := t.get(privateKey(id, e.Space, e.Name))
		if err != nil {
			return command.Outcome{}, err
		}
		if old != nil {
			of.entries--
			of.bytes -= min(of.bytes, uint64(len(old)))
		}
		if len(e.Xml) > 0 {
			of.entries++
			of.bytes += uint64(1 + len(e.Xml))
		}
	}
	if of.entries > state.PrivateEntries || of.bytes > state.PrivateBytes {
		return refuse(stanza.Wait, stanza.ResourceConstraint, "there is no room for more private data"), nil
	}
	for _, e := range c.Entries {
		if key := privateKey(id, e.Space, e.Name); len(e.Xml) > 0 {
			t.put(key, append([]byte{recordVersion}, e.Xml...))
		} else {
			t.delete(key)
		}
	}
	t.put(idKey(tablePrivate, id), of.append(nil))
	return accept(), nil
}

func checkPrivate(id uint64, c *command.PrivateSet) *command.Outcome {
	var o command.Outcome
	if id == 0 {
		o = refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account")
		return &o
	}
	seen := map[string]bool{}
	for _, e := range c.Entries {
		name := e.Space + "\x00" + e.Name
		switch {
		case e.Space == "" || e.Name == "" || len(e.Space)+len(e.Name) > state.PrivateName || strings.Count(name, "\x00") > 1 || seen[name]:
			o = refuse(stanza.Modify, stanza.NotAcceptable, "private data need a namespace, once")
			return &o
		case len(e.Xml) > state.PrivateXML:
			o = refuse(stanza.Modify, stanza.PolicyViolation, "the private data are too large")
			return &o
		}
		seen[name] = true
	}
	return nil
}

// Private reads private XML; state.ErrNotFound when there is none.
func (v *View) Private(account, space, name string) ([]byte, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	b, err := v.get(v.db, privateKey(id, space, name))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, state.ErrNotFound
	}
	if err != nil {
		return nil, v.damaged(err)
	}
	r := read(b)
	out := r.take(len(r.b))
	return out, v.damaged(r.end())
}

// bookmarksConfig is how the node of bookmarks has to be, for private data to
// stay private (XEP-0402 §storage @1.2.0).
func bookmarksConfig() *command.PubsubConfig {
	return &command.PubsubConfig{
		AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum(), PersistItems: proto.Bool(true), MaxItems: proto.Uint32(0),
		SendLast: command.SendLast_SEND_LAST_NEVER.Enum(),
	}
}

// bookmarksNode gives the node of bookmarks, made or configured as it has to
// be; nil when there is none and none is to be made.
func (t *txn) bookmarksNode(account string, create bool) (owned, *node, *command.Outcome, error) {
	of, n, refused, err := t.pubsub(account, stanza.NSBookmarks)
	if err != nil || refused != nil || n == nil && !create {
		return of, n, refused, err
	}
	if n == nil {
		n, refused = t.newNode(&of, stanza.NSBookmarks, bookmarksConfig())
		return of, n, refused, nil
	}
	c := n.config
	private := c.GetAccessModel() == command.AccessModel_ACCESS_MODEL_WHITELIST
	if !private || !c.GetPersistItems() || c.GetMaxItems() != 0 && c.GetMaxItems() < state.PubsubItems {
		n.config = configured(c, bookmarksConfig())
		t.putNode(&of, n)
		t.tell(account, n, state.PubsubEvent{Kind: state.PubsubConfigured})
	}
	return of, n, nil, nil
}

// bookmarkSet is XEP-0402 §publishing-legacy @1.2.0 for one bookmark. One that
// says nothing new is no news to anybody.
func (t *txn) bookmarkSet(c *command.BookmarkSet) (command.Outcome, error) {
	set, bad := xmlstream.ParseElement(c.Conference, xmlstream.AfterAuth)
	if bad != nil || !set.Is(stanza.NSBookmarks, "conference") || c.Jid == "" || len(c.Jid) > state.PubsubName || len(c.Publisher) > maxJID {
		return refuse(stanza.Modify, stanza.BadRequest, "this is no bookmark"), nil
	}
	of, n, refused, err := t.bookmarksNode(c.Account, true)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	old, err := t.item(n, c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	payload := c.Conference
	if old != nil {
		if was, err := xmlstream.ParseElement(old.payload, xmlstream.AfterAuth); err == nil && was.Is(stanza.NSBookmarks, "conference") {
			before := xmlstream.AppendElement(nil, was, "")
			payload = xmlstream.AppendElement(nil, state.MergeBookmark(was, set), "")
			if string(before) == string(payload) {
				return accept(), nil
			}
		}
	} else {
		payload = xmlstream.AppendElement(nil, state.MergeBookmark(xmlstream.New(stanza.NSBookmarks, "conference"), set), "")
		if n.items >= n.limit() {
			return refuse(stanza.Wait, stanza.ResourceConstraint, "there is no room for more bookmarks"), nil
		}
	}
	if len(payload) > state.PubsubPayload {
		return refuse(stanza.Modify, stanza.PolicyViolation, "the bookmark is too large"), nil
	}
	item := itemRecord{position: t.pos, time: t.meta.time, publisher: c.Publisher, payload: payload}
	if refused, err = t.keep(&of, n, c.Jid, &item); err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	t.putNode(&of, n)
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubPublished, Item: state.PubsubItem{
		ID: c.Jid, Publisher: c.Publisher, Payload: payload, Time: t.time(),
	}})
}

// bookmarksKeep removes the bookmarks that an old list does not have. Items
// that such a list cannot have stay.
func (t *txn) bookmarksKeep(c *command.BookmarksKeep) (command.Outcome, error) {
	of, n, refused, err := t.bookmarksNode(c.Account, false)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if n == nil {
		return accept(), nil
	}
	prefix := itemKey(n.account, n.number, "")
	keys, err := t.under(prefix)
	if err != nil {
		return command.Outcome{}, err
	}
	keep := slices.Clone(c.Jids)
	slices.Sort(keep)
	for _, key := range keys {
		id := key[len(prefix):]
		if _, ok := slices.BinarySearch(keep, id); ok {
			continue
		}
		i, err := t.item(n, id)
		if err != nil {
			return command.Outcome{}, err
		}
		if i == nil || !state.IsBookmark(id, i.payload) {
			continue
		}
		of.bytes -= min(of.bytes, i.size(id))
		t.dropItem(n, &stored{id, *i})
		t.tell(c.Account, n, state.PubsubEvent{Kind: state.PubsubRetracted, Item: state.PubsubItem{ID: id}, Notify: true})
	}
	t.putNode(&of, n)
	return accept(), nil
}
