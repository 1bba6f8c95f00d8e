// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"slices"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// administer answers and changes who may do what in a room (XEP-0045
// §moderator @1.35.5, §admin @1.35.5, §owner @1.35.5).
func (f *rooms) administer(r *route.Request) []route.Effect {
	var items []*xmlstream.Element
	for _, e := range r.Payload.Elements() {
		if e.Is(stanza.NSMUCAdmin, "item") {
			items = append(items, e)
		}
	}
	if len(items) == 0 || len(items) > command.RoomChanges {
		return r.Err(stanza.Modify, stanza.BadRequest, "name 1 to 100 items")
	}
	if r.Stanza.Get("type") == "get" {
		return f.list(r, items[0])
	}
	if _, ok := items[0].Lookup("role"); ok {
		return f.giveRoles(r, items)
	}
	return f.affiliate(r, items)
}

// affiliate changes affiliations; all or none.
func (f *rooms) affiliate(r *route.Request, items []*xmlstream.Element) []route.Effect {
	c := &command.RoomAffiliate{Room: r.To.String(), By: r.From.String()}
	for _, e := range items {
		a, ok := parseAffiliation(e.Get("affiliation"))
		if !ok {
			return r.Err(stanza.Modify, stanza.BadRequest, "an affiliation is owner, admin, member, outcast or none")
		}
		var who jid.JID
		if s, ok := e.Lookup("jid"); ok {
			j, err := jid.Parse(s)
			if err != nil {
				return r.Err(stanza.Modify, stanza.JIDMalformed, "the address of an item is not a JID")
			}
			who = j.Bare()
		} else if who = f.hub.Occupant(r.To, e.Get("nick")); who.IsZero() {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick")
		}
		change := &command.RoomAffiliation{Jid: who.String(), Affiliation: a, Reason: e.Child(stanza.NSMUCAdmin, "reason").Text()}
		if nick := e.Get("nick"); nick != "" && e.Get("jid") != "" {
			as, err := r.To.WithResource(nick)
			if err != nil {
				return r.Err(stanza.Modify, stanza.JIDMalformed, "this cannot be a nick")
			}
			change.Nick = as.Resource()
		}
		c.Changes = append(c.Changes, change)
	}
	return commanded(r, &command.Command{Request: &command.Command_RoomAffiliate{RoomAffiliate: c}})
}

// giveRoles changes roles, which are soft: kicking, granting and revoking
// voice, making moderators.
func (f *rooms) giveRoles(r *route.Request, items []*xmlstream.Element) []route.Effect {
	return []route.Effect{route.Visit{Do: func(v route.Visitor) {
		room := r.To.String()
		s := f.hub.shard(room)
		if !f.hub.post(room, softMost, func() { v.Enqueue(route.Serialise(f.hub.giveRoles(s, r, items))) }) {
			e := stanza.Err(stanza.Wait, stanza.ResourceConstraint, "the room is overloaded: try again in a while")
			v.Enqueue(route.Serialise(e.Reply(r.Stanza)))
		}
	}}}
}

// roleChange is one that was checked.
type roleChange struct {
	of     *occupant
	role   int // index of roles, -1 for none: out of the room
	reason string
}

func (h *Hub) giveRoles(s *shard, q *route.Request, items []*xmlstream.Element) *xmlstream.Element {
	r := s.rooms[q.To.String()]
	if r == nil || r.devices[q.From] == nil {
		return stanza.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room").Reply(q.Stanza)
	}
	me := r.devices[q.From].is
	var changes []roleChange
	for _, e := range items {
		c := roleChange{of: r.occupants[e.Get("nick")], role: slices.Index(roles[:], e.Get("role")), reason: e.Child(stanza.NSMUCAdmin, "reason").Text()}
		if c.role < 0 && e.Get("role") != "none" {
			return stanza.Err(stanza.Modify, stanza.BadRequest, "a role is moderator, participant, visitor or none").Reply(q.Stanza)
		}
		if c.of == nil {
			return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick").Reply(q.Stanza)
		}
		if bad := mayGive(me, c); bad != nil {
			return bad.Reply(q.Stanza)
		}
		changes = append(changes, c)
	}
	ok := true
	for _, c := range changes {
		ok = h.giveRole(s, r, c.of, c.role, c.reason, me.nick) && ok
	}
	if !ok {
		return unreached().Reply(q.Stanza)
	}
	return stanza.Result(q.Stanza)
}

// mayGive follows XEP-0045 §roles-priv @1.35.5 and §affil-priv @1.35.5: moderators
// change who is below them; only admins and owners make and unmake moderators,
// and never out of admins and owners.
func mayGive(me *occupant, c roleChange) *stanza.Error {
	const admin = command.Affiliation_AFFILIATION_ADMIN
	moderates := me.role == command.RoomRole_ROOM_ROLE_MODERATOR
	above := c.of.affiliation > me.affiliation || c.of.affiliation >= admin && c.role != int(command.RoomRole_ROOM_ROLE_MODERATOR) && c.role >= 0
	changesModerator := c.role == int(command.RoomRole_ROOM_ROLE_MODERATOR) || c.of.role == command.RoomRole_ROOM_ROLE_MODERATOR
	switch {
	case !moderates:
		return stanza.Err(stanza.Auth, stanza.Forbidden, "only moderators of the room can do that")
	case above, changesModerator && me.affiliation < admin && c.of != me:
		return stanza.Err(stanza.Cancel, stanza.NotAllowed, "that is above your affiliation")
	}
	return nil
}

// list gives who has an affiliation, or a role.
func (f *rooms) list(r *route.Request, item *xmlstream.Element) []route.Effect {
	if role, ok := item.Lookup("role"); ok {
		return f.listRole(r, role)
	}
	a, ok := parseAffiliation(item.Get("affiliation"))
	if !ok || a == command.Affiliation_AFFILIATION_NONE {
		return r.Err(stanza.Modify, stanza.BadRequest, "lists are of owners, admins, members and outcasts")
	}
	is, inside := f.hub.Find(r.To, r.From)
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		st, err := f.o.View.Room(r.To.String())
		if err != nil {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
		}
		me, err := f.o.View.RoomMember(st.JID, r.From.Bare().String())
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
		}
		if me.Affiliation < command.Affiliation_AFFILIATION_ADMIN && (a == command.Affiliation_AFFILIATION_OUTCAST || !mayList(st.Config, me.Affiliation, is.Role, inside)) {
			return r.Err(stanza.Auth, stanza.Forbidden, "the owners of the room have not opened that list to you")
		}
		members, err := f.o.View.RoomMembers(st.JID)
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
		}
		q := xmlstream.New(stanza.NSMUCAdmin, "query")
		for i := range members {
			if m := &members[i]; m.Affiliation == a {
				q.Add(xmlstream.New(stanza.NSMUCAdmin, "item", "affiliation", affiliationName(a), "jid", m.JID, "nick", m.Nick()).
					Add(reason(stanza.NSMUCAdmin, m.Reason)))
			}
		}
		return r.Result(q)
	})}
}

// mayList reports whether somebody may have the lists of owners, admins and members (XEP-0045
// §getmemberlist @1.35.5). Members of a private group see who else is in it unless its owners say
// otherwise: without it they could not encrypt for them. Where only moderators see addresses, nobody
// else gets them in this way.
func mayList(c *command.RoomConfig, a command.Affiliation, role command.RoomRole, inside bool) bool {
	allowed := listsFor(c)
	byRole := inside && a != command.Affiliation_AFFILIATION_OUTCAST && allowed>>role&1 == 1
	if !c.GetNonAnonymous() {
		return byRole && role == command.RoomRole_ROOM_ROLE_MODERATOR
	}
	return byRole || a >= command.Affiliation_AFFILIATION_MEMBER && allowed&command.RoomListsForMembers != 0
}

func (f *rooms) listRole(r *route.Request, role string) []route.Effect {
	if !slices.Contains(roles[:], role) {
		return r.Err(stanza.Modify, stanza.BadRequest, "lists are of moderators, participants and visitors")
	}
	me, inside := f.hub.Find(r.To, r.From)
	if !inside || me.Role != command.RoomRole_ROOM_ROLE_MODERATOR {
		return r.Err(stanza.Auth, stanza.Forbidden, "only moderators of the room can see that")
	}
	s := f.hub.shard(r.To.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	q := xmlstream.New(stanza.NSMUCAdmin, "query")
	if live := s.rooms[r.To.String()]; live != nil {
		for _, nick := range sorted(live.occupants) {
			if o := live.occupants[nick]; roles[o.role] == role {
				q.Add(xmlstream.New(stanza.NSMUCAdmin, "item", "affiliation", affiliationName(o.affiliation), "jid", o.visits[0].to, "nick", nick, "role", role))
			}
		}
	}
	return r.Result(q)
}
