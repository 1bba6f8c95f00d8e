// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// roomInviteVersion is that of an invite to a room.
const roomInviteVersion = 2

func appendInvite(dst []byte, i *state.Invite) []byte {
	var ms uint64
	if !i.Expires.IsZero() {
		ms = uint64(i.Expires.UnixMilli())
	}
	version := byte(recordVersion)
	if i.Room != "" {
		version = roomInviteVersion
	}
	dst = binary.BigEndian.AppendUint64(append(dst, version), ms)
	dst = binary.BigEndian.AppendUint32(dst, i.Uses)
	dst = appendString(appendString(dst, i.Inviter), i.Circle)
	if i.Room != "" {
		dst = binary.BigEndian.AppendUint64(appendString(dst, i.Room), i.RoomID)
		dst = binary.BigEndian.AppendUint64(dst, uint64(i.Created.UnixMilli()))
	}
	if i.InviterID != 0 {
		dst = binary.BigEndian.AppendUint64(dst, i.InviterID)
	}
	return dst
}

func parseInvite(b []byte) (state.Invite, error) {
	r := readSince(b, roomInviteVersion)
	ms := int64(r.uint64())
	i := state.Invite{Uses: r.uint32(), Inviter: r.string(), Circle: r.string()}
	if r.version == roomInviteVersion {
		if i.Room, i.RoomID, i.Created = r.string(), r.uint64(), time.UnixMilli(int64(r.uint64())).UTC(); i.Room == "" {
			r.fail("invite to no room")
		}
	}
	if ms != 0 {
		i.Expires = time.UnixMilli(ms).UTC()
	}
	if r.err == nil && len(r.b) > 0 {
		if i.InviterID = r.uint64(); i.InviterID == 0 {
			r.fail("inviter without an id")
		}
	}
	return i, r.end()
}

// person is an account by name; its id is 0 where it is not known.
type person struct {
	jid string
	id  uint64
}

func appendCircle(dst []byte, members []person) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion), uint64(len(members)))
	known := false
	for _, m := range members {
		dst = appendString(dst, m.jid)
		known = known || m.id != 0
	}
	if !known {
		return dst
	}
	for _, m := range members {
		dst = binary.BigEndian.AppendUint64(dst, m.id)
	}
	return dst
}

func parseCircle(b []byte) ([]person, error) {
	r := read(b)
	n := r.uvarint()
	if n > maxCircle {
		r.fail("circle of %d", n)
	}
	var members []person
	for range n {
		if r.err != nil {
			break
		}
		members = append(members, person{jid: r.string()})
	}
	if r.err == nil && len(r.b) > 0 {
		known := false
		for i := range members {
			members[i].id = r.uint64()
			known = known || members[i].id != 0
		}
		if !known {
			r.fail("circle of nobody known")
		}
	}
	return members, r.end()
}

// rosterOf counts what an account's roster holds.
type rosterOf struct {
	version command.Position // of the last change
	items   uint32
	waiting uint32 // requests of entities that are no items
}

func (o *rosterOf) append(dst []byte) []byte {
	dst = o.version.AppendTo(append(dst, recordVersion))
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(o.items)), uint64(o.waiting))
}

func parseRosterOf(b []byte) (rosterOf, error) {
	r := read(b)
	o := rosterOf{version: r.position()}
	items, waiting := r.uvarint(), r.uvarint()
	if items > 1<<31 || waiting > 1<<31 {
		r.fail("roster of %d items", items)
	}
	o.items, o.waiting = uint32(items), uint32(waiting)
	return o, r.end()
}

// contact is a roster record: an item, a request that waits, or both.
type contact struct {
	sub     subscription
	item    bool
	name    string
	groups  []string
	waiting state.Subscription // when sub has pendingIn
}

const contactIsItem = 1

func (c *contact) append(dst []byte) []byte {
	var flags byte
	if c.item {
		flags = contactIsItem
	}
	dst = append(dst, recordVersion, byte(c.sub), flags)
	dst = appendString(dst, c.name)
	dst = binary.AppendUvarint(dst, uint64(len(c.groups)))
	for _, g := range c.groups {
		dst = appendString(dst, g)
	}
	if c.sub&pendingIn != 0 {
		dst = appendString(appendString(dst, c.waiting.ID), c.waiting.Payload)
	}
	return dst
}

func parseContact(b []byte) (contact, error) {
	r := read(b)
	c := contact{sub: subscription(r.byte())}
	if c.sub&^allSubscription != 0 {
		r.fail("subscription %#x", c.sub)
	}
	c.item = r.byte()&contactIsItem != 0
	c.name = r.string()
	n := r.uvarint()
	if n > maxGroups {
		r.fail("%d groups", n)
	}
	for range n {
		if r.err != nil {
			break
		}
		c.groups = append(c.groups, r.string())
	}
	if c.sub&pendingIn != 0 {
		c.waiting.ID = r.string()
		c.waiting.Payload = append([]byte(nil), r.bytes()...)
	}
	return c, r.end()
}

// rosterItem gives what readers and events get.
func (c *contact) rosterItem(account, peer string) state.RosterItem {
	i := state.RosterItem{
		JID:          peer,
		Name:         c.name,
		Groups:       c.groups,
		Subscription: c.sub.name(),
		Ask:          c.sub&pendingOut != 0,
		Approved:     c.sub&approved != 0,
		Listed:       c.item,
		PendingIn:    c.sub&pendingIn != 0,
	}
	if i.PendingIn {
		i.Pending = c.waiting
		i.Pending.From, i.Pending.To = peer, account
		i.Pending.Type = command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE
	}
	return i
}
