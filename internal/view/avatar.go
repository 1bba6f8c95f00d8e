// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // XEP-0084 names it
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// The picture of an account is kept once, in the nodes of XEP-0084: what is set
// in a vCard is published there, and a vCard shows what is there
// (XEP-0398 §impl-server @1.0.0). What is noted beside it is which picture that
// is now, so that presence needs no read to carry its hash.

// avatarRecord notes the current picture of an account that has, or had, one.
type avatarRecord struct {
	hash []byte // SHA-1 of the image; empty: there is none any more
	item string // id of the item in the node of the data
	typ  string // content type, by the image's first bytes
	open bool   // everybody may read both nodes
}

func (r *avatarRecord) append(dst []byte) []byte {
	dst = appendString(append(dst, recordVersion), r.hash)
	dst = appendString(appendString(dst, r.item), r.typ)
	if r.open {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func parseAvatar(b []byte) (avatarRecord, error) {
	r := read(b)
	rec := avatarRecord{hash: r.bytes(), item: r.string(), typ: r.string(), open: r.byte() == 1}
	if n := len(rec.hash); n != 0 && n != sha1.Size {
		r.fail("hash of %d bytes", n)
	}
	return rec, r.end()
}

func (r *avatarRecord) state() state.AvatarHash {
	return state.AvatarHash{Known: true, Hash: hex.EncodeToString(r.hash), Open: r.open}
}

// avatarHash gives what of a record is kept in memory.
func avatarHash(_ uint64, record []byte) (state.AvatarHash, error) {
	r, err := parseAvatar(record)
	return r.state(), err
}

// AvatarHash tells which picture an account has. It costs no read.
func (v *View) AvatarHash(account string) state.AvatarHash {
	return v.avatars.get(account)
}

// Avatar reads an account's picture; state.ErrNotFound when there is no account
// or it has none.
func (v *View) Avatar(account string) (_ state.Avatar, err error) {
	if err := v.enter(); err != nil {
		return state.Avatar{}, err
	}
	defer v.leave()
	snap := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, v.damaged(snap.Close())) }()
	id, err := v.accountID(snap, account)
	if err != nil {
		return state.Avatar{}, v.readError(err)
	}
	b, err := v.get(snap, idKey(tableAvatar, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Avatar{}, state.ErrNotFound
	}
	if err != nil {
		return state.Avatar{}, v.damaged(err)
	}
	rec, err := parseAvatar(b)
	if err != nil {
		return state.Avatar{}, v.damaged(err)
	}
	if len(rec.hash) == 0 {
		return state.Avatar{}, state.ErrNotFound
	}
	n, err := v.node(snap, id, stanza.NSAvatarData)
	if err != nil {
		return state.Avatar{}, v.readError(err)
	}
	p := pubsubPage{v: v, r: snap, n: &n, max: 1}
	// A client publishes the data of its next picture first: until it has said
	// so, the one before may be gone already.
	if there, err := p.add(rec.item); err != nil || !there {
		return state.Avatar{}, errors.Join(v.damaged(err), state.ErrNotFound)
	}
	text, ok := imageText(p.items[0].Payload)
	if !ok {
		return state.Avatar{}, state.ErrNotFound
	}
	return state.Avatar{AvatarHash: rec.state(), Type: rec.typ, Base64: text}, nil
}

// imageText gives the Base64 of a data element, without white space.
func imageText(payload []byte) (string, bool) {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	if err != nil || !e.Is(stanza.NSAvatarData, "data") {
		return "", false
	}
	return strings.Join(strings.Fields(e.Text()), ""), true
}

// avatar notes which picture an account has, after a change of its nodes. Data
// alone takes no picture away: what it pushes out is replaced when the metadata
// follow.
func (t *txn) avatar(account string, n *node, kind state.PubsubKind) error {
	id := n.account
	old, err := t.avatarOf(id)
	if err != nil {
		return err
	}
	now, err := t.pictured(id)
	if err != nil {
		return err
	}
	switch {
	case len(now.hash) == 0 && (old == nil || n.name == stanza.NSAvatarData && kind == state.PubsubPublished):
		return nil
	case old != nil && bytes.Equal(old.hash, now.hash) && old.item == now.item && old.typ == now.typ && old.open == now.open:
		return nil
	}
	t.put(idKey(tableAvatar, id), now.append(nil))
	t.avatars[account] = now.state()
	t.event(state.Event{Kind: state.EventAvatar, Account: account, Position: t.pos})
	return nil
}

func (t *txn) avatarOf(id uint64) (*avatarRecord, error) {
	b, err := t.get(idKey(tableAvatar, id))
	if err != nil || b == nil {
		return nil, err
	}
	rec, err := parseAvatar(b)
	return &rec, t.a.v.damaged(err)
}

// shows reports whether the picture in a node may be shown in the vCard and in
// presence: to everybody, or to who may see the presence.
func (n *node) shows() bool {
	switch n.config.GetAccessModel() {
	case command.AccessModel_ACCESS_MODEL_OPEN, command.AccessModel_ACCESS_MODEL_PRESENCE:
		return n.config.GetPersistItems()
	}
	return false
}

func (n *node) open() bool {
	return n.config.GetAccessModel() == command.AccessModel_ACCESS_MODEL_OPEN
}

// pictured looks for the picture that the nodes of an account say it has: what
// the newest metadata name, not by URL, whose hash is right
// (XEP-0398 §pep2vcard @1.0.0).
func (t *txn) pictured(id uint64) (*avatarRecord, error) {
	none := &avatarRecord{}
	about, err := t.node(id, stanza.NSAvatarMetadata)
	if err != nil || about == nil || !about.shows() {
		return none, err
	}
	data, err := t.node(id, stanza.NSAvatarData)
	if err != nil || data == nil || !data.shows() {
		return none, err
	}
	newest, err := t.newest(about)
	if err != nil || newest == nil {
		return none, err
	}
	e, err := xmlstream.ParseElement(newest.payload, xmlstream.AfterAuth)
	if err != nil || !e.Is(stanza.NSAvatarMetadata, "metadata") {
		return none, nil
	}
	const infos = 16 // of a metadata element
	for i, info := range e.Elements() {
		item := info.Get("id")
		if i >= infos || !info.Is(stanza.NSAvatarMetadata, "info") || info.Get("url") != "" || len(item) != 2*sha1.Size {
			continue
		}
		stored, err := t.item(data, item)
		if err != nil {
			return nil, err
		}
		if stored == nil {
			continue
		}
		if hash, typ := image(stored.payload); typ != "" && strings.EqualFold(hex.EncodeToString(hash), item) {
			return &avatarRecord{hash: hash, item: item, typ: typ, open: about.open() && data.open()}, nil
		}
	}
	return none, nil
}

// image gives hash and content type of the image in a data element; no type
// when there is none.
func image(payload []byte) (hash []byte, typ string) {
	text, ok := imageText(payload)
	if !ok {
		return nil, ""
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, ""
	}
	sum := sha1.Sum(b) //nolint:gosec // see the import
	return sum[:], state.ImageType(b)
}

// picture publishes the picture of a vCard (XEP-0398 §vcard2pep @1.0.0), or
// that there is none any more. kept is false when the account's nodes are
// configured so that the vCard cannot show it from there.
func (t *txn) picture(c *command.VCardSet, id uint64) (kept bool, refused *command.Outcome, err error) {
	old, err := t.avatarOf(id)
	if err != nil {
		return false, nil, err
	}
	p := c.Picture
	had := old != nil && len(old.hash) > 0
	switch {
	case p.Base64 == "" && !had, had && hex.EncodeToString(old.hash) == p.Id:
		return true, nil, nil
	}
	of, err := t.pubsubOf(id)
	if err != nil {
		return false, nil, err
	}
	about, err := t.pictureNode(&of, id, stanza.NSAvatarMetadata)
	if err != nil || about == nil {
		return false, nil, err
	}
	if p.Base64 == "" {
		refused, err = t.publishAs(c, &of, about, p.Id, xmlstream.New(stanza.NSAvatarMetadata, "metadata"))
		return true, refused, err
	}
	data, err := t.pictureNode(&of, id, stanza.NSAvatarData)
	if err != nil || data == nil {
		return false, nil, err
	}
	if of.nodes > state.PubsubNodes || of.bytes+uint64(len(p.Base64)+2*len(c.Publisher)+1024) > state.PubsubBytes {
		o := refuse(stanza.Wait, stanza.ResourceConstraint, "there is no room for the picture among the account's nodes")
		return false, &o, nil
	}
	if refused, err = t.publishAs(c, &of, data, p.Id, xmlstream.NewText(stanza.NSAvatarData, "data", p.Base64)); err != nil || refused != nil {
		return false, refused, err
	}
	size := func(n uint32) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(uint64(n), 10)
	}
	refused, err = t.publishAs(c, &of, about, p.Id, xmlstream.New(stanza.NSAvatarMetadata, "metadata").Add(
		xmlstream.New(stanza.NSAvatarMetadata, "info", "bytes", size(p.Bytes), "id", p.Id, "type", p.Type, "width", size(p.Width), "height", size(p.Height))))
	return true, refused, err
}

// pictureNode gives a node for pictures: one that there is, if it may be shown,
// else one that is open as the vCard is. It is not written yet.
func (t *txn) pictureNode(of *owned, id uint64, name string) (*node, error) {
	n, err := t.node(id, name)
	switch {
	case err != nil:
		return nil, err
	case n != nil && !n.shows():
		return nil, nil
	case n != nil:
		return n, nil
	}
	n = &node{
		account: id, name: name, number: of.next,
		config: configured(command.DefaultPubsub(), &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_OPEN.Enum()}),
	}
	of.nodes++
	of.next++
	return n, nil
}

// publishAs publishes an item on behalf of who set the vCard.
func (t *txn) publishAs(c *command.VCardSet, of *owned, n *node, id string, payload *xmlstream.Element) (*command.Outcome, error) {
	item := itemRecord{position: t.pos, time: t.meta.time, publisher: c.Publisher, payload: xmlstream.AppendElement(nil, payload, "")}
	if refused, err := t.keep(of, n, id, &item); err != nil || refused != nil {
		return refused, err
	}
	t.putNode(of, n)
	_, err := t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubPublished, Item: state.PubsubItem{
		ID: id, Publisher: c.Publisher, Payload: item.payload, Time: t.time(),
	}})
	return nil, err
}

// checkPicture refuses what a command of ours never has.
func checkPicture(c *command.VCardSet) *command.Outcome {
	p := c.Picture
	if p == nil {
		return nil
	}
	if p.Id == "" || len(p.Id) > state.PubsubName || len(p.Base64) > state.PubsubPayload-128 || len(p.Type) > maxName || len(c.Publisher) > maxJID {
		o := refuse(stanza.Modify, stanza.PolicyViolation, "the picture is too large")
		return &o
	}
	return nil
}
