// SPDX-License-Identifier: Apache-2.0

package room

import (
	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// formRequest is the form by which a visitor asks for voice, and a moderator
// gives it (XEP-0045 §requestvoice @1.35.5, §voiceapprove @1.35.5).
const formRequest = "http://jabber.org/protocol/muc#request"

// voiceForm gives the form of a message about voice, nil when it is none.
func voiceForm(m *xmlstream.Element) *xmlstream.Element {
	x := m.Child(stanza.NSData, "x")
	if x.Get("type") != "submit" || formValue(x, "FORM_TYPE") != formRequest {
		return nil
	}
	return x
}

func formValue(x *xmlstream.Element, name string) string {
	for _, e := range x.Elements() {
		if e.Is(stanza.NSData, "field") && e.Get("var") == name {
			return e.Child(stanza.NSData, "value").Text()
		}
	}
	return ""
}

// voice handles a request for voice, or a moderator's answer to one. Both are
// soft, as roles are.
func (f *rooms) voice(r *route.Request, x *xmlstream.Element) []route.Effect {
	return []route.Effect{route.Visit{Do: func(v route.Visitor) {
		room := r.To.String()
		s := f.hub.shard(room)
		refuse := func(e *stanza.Error) {
			if e != nil {
				v.Enqueue(route.Serialise(e.Reply(r.Stanza)))
			}
		}
		if !f.hub.post(room, softMost, func() { refuse(f.hub.voice(s, r, x)) }) {
			refuse(stanza.Err(stanza.Wait, stanza.ResourceConstraint, "the room is overloaded: try again in a while"))
		}
	}}}
}

func (h *Hub) voice(s *shard, q *route.Request, x *xmlstream.Element) *stanza.Error {
	r := s.rooms[q.To.String()]
	if r == nil || r.devices[q.From] == nil {
		return stanza.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room")
	}
	me := r.devices[q.From].is
	if nick := formValue(x, "muc#roomnick"); nick != "" && me.role == command.RoomRole_ROOM_ROLE_MODERATOR {
		return h.giveVoice(s, r, me, nick, formValue(x, "muc#request_allow"))
	}
	if me.role != command.RoomRole_ROOM_ROLE_VISITOR {
		return stanza.Err(stanza.Modify, stanza.UnexpectedRequest, "you have voice in this room already")
	}
	h.askVoice(r, me, q.From.String())
	return nil
}

// giveVoice carries out what a moderator says of a request.
func (h *Hub) giveVoice(s *shard, r *live, me *occupant, nick, allow string) *stanza.Error {
	if allow != "1" && allow != "true" {
		return nil // the request lapses
	}
	c := roleChange{of: r.occupants[nick], role: int(command.RoomRole_ROOM_ROLE_PARTICIPANT)}
	if c.of == nil {
		return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick")
	}
	if c.of.role != command.RoomRole_ROOM_ROLE_VISITOR {
		return nil // somebody else was first
	}
	if bad := mayGive(me, c); bad != nil {
		return bad
	}
	if !h.giveRole(s, r, c.of, c.role, "", me.nick) {
		return unreached()
	}
	return nil
}

// askVoice shows a request to all moderators.
func (h *Hub) askVoice(r *live, who *occupant, full string) {
	field := func(name, typ, label, value string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "var", name, "type", typ, "label", label).Add(xmlstream.NewText(stanza.NSData, "value", value))
	}
	x := xmlstream.New(stanza.NSData, "x", "type", "form").Add(
		xmlstream.NewText(stanza.NSData, "title", "Somebody asks for voice"),
		field("FORM_TYPE", "hidden", "", formRequest),
		field("muc#role", "list-single", "Role", "participant"),
		field("muc#jid", "jid-single", "Address", full),
		field("muc#roomnick", "text-single", "Nick", who.nick),
		field("muc#request_allow", "boolean", "Give voice?", "false"))
	for v := range r.all {
		if v.is.role == command.RoomRole_ROOM_ROLE_MODERATOR {
			h.give(r, v, xmlstream.New(stanza.NSClient, "message", "to", v.to, "from", r.jid.String()).Add(x))
		}
	}
}
