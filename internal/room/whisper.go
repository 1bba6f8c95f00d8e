// SPDX-License-Identifier: Apache-2.0

package room

import (
	"crypto/sha256"
	"encoding/binary"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// whisper is a private message to an occupant (XEP-0045 §privatemessage
// @1.35.5). What is to be kept goes through the journal, into the archives of the
// two and not into that of the room (XEP-0313 §business-storeret-muc-archives
// @1.1.3); chat states and the like do not.
func (f *rooms) whisper(r *route.Request, typ string) []route.Effect {
	if typ == "groupchat" {
		return r.Err(stanza.Modify, stanza.BadRequest, "a message of the type groupchat is for the room, not for somebody in it")
	}
	from, to, bad := f.hub.whispering(r.To.Bare(), r.From, r.To.Resource())
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	f.strip(r.Stanza, r.To.Bare())
	flags := &command.RoomMessage{}
	if kept := f.kept(r.Stanza, flags); !kept || flags.Flags&command.FlagNoStore != 0 {
		return []route.Effect{route.Visit{Do: func(v route.Visitor) { f.hub.whisper(v, r) }}}
	}
	timer, ok := route.Timer(r.Stanza)
	if !ok {
		return r.NoTimer()
	}
	m := &command.Message{
		From: r.From.String(), To: to.who.String(), Id: r.Stanza.Get("id"), Lang: r.Stanza.Lang(), Timer: timer,
		OriginId: r.Stanza.Child(stanza.NSSID, "origin-id").Get("id"), Flags: flags.Flags & command.FlagBody,
	}
	if len(m.Id) > maxID || len(m.OriginId) > maxID || len(m.Lang) > 64 {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "the message's id is too long")
	}
	if r.Stanza.Child(stanza.NSCarbons, "private") != nil || r.Stanza.Child(stanza.NSHints, "no-copy") != nil {
		m.Flags |= command.FlagNoCopy
	}
	if typ == "chat" {
		m.Type = command.MessageType_MESSAGE_TYPE_CHAT
	}
	if by := route.Repeat(r.Stanza); by != "" && !f.o.NoDedupe {
		m.Dedupe = whisperKey(r, by)
	}
	m.Payload = xmlstream.AppendChildren(nil, marked(r.Stanza, from.id), stanza.NSClient)
	return []route.Effect{route.Append{Command: &command.Command{Request: &command.Command_RoomWhisper{RoomWhisper: &command.RoomWhisper{
		Room: r.To.Bare().String(), Message: m, Nick: from.nick, ToNick: r.To.Resource(),
	}}}}}
}

// marked says that a message is a private one in a room, and who it is from.
func marked(st *xmlstream.Element, id string) *xmlstream.Element {
	return st.Clone().Add(xmlstream.New(stanza.NSMUCUser, "x"), xmlstream.New(stanza.NSOccupantID, "occupant-id", "id", id))
}

// whisperKey is the key under which a repeat is known, as in dedupe.
func whisperKey(r *route.Request, by string) []byte {
	h := sha256.New()
	var n [4]byte
	for _, s := range []string{r.From.Bare().String(), r.To.String(), by} {
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	h.Write(xmlstream.AppendChildren(nil, r.Stanza, stanza.NSClient))
	return h.Sum(nil)[:16]
}

// whispering gives the occupants between whom a private message is to go, and
// refuses what may not.
func (h *Hub) whispering(room, full jid.JID, nick string) (from, to occupant, bad *stanza.Error) {
	s := h.shard(room.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[room.String()]
	switch {
	case r == nil || r.devices[full] == nil:
		bad = stanza.Err(stanza.Modify, stanza.NotAcceptable, "enter the room before you write to somebody in it")
	case r.occupants[nick] == nil:
		bad = stanza.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick")
	case !mayWhisper(r.config, r.devices[full].is, r.occupants[nick]):
		bad = stanza.Err(stanza.Auth, stanza.Forbidden, "the room does not allow you private messages")
	default:
		from, to = *r.devices[full].is, *r.occupants[nick]
	}
	return from, to, bad
}

// whisper passes on what is not kept.
func (h *Hub) whisper(v route.Visitor, q *route.Request) {
	h.withOccupant(v, q, func(r *live, by *visit, to *occupant) *stanza.Error {
		room, from := r.jid.String(), by.is
		switch {
		case !mayWhisper(r.config, from, to):
			return stanza.Err(stanza.Auth, stanza.Forbidden, "the room does not allow you private messages")
		case to != from && !h.heard(room+"/"+from.nick)(to.visits[0]): // XEP-0191 §block @1.3
			return stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
		}
		st := marked(q.Stanza, from.id).Set("from", room+"/"+from.nick)
		for _, v := range to.visits {
			h.give(r, v, st)
		}
		return nil
	})
}

func mayWhisper(c *command.RoomConfig, from, to *occupant) bool {
	moderator := from.role == command.RoomRole_ROOM_ROLE_MODERATOR || to.role == command.RoomRole_ROOM_ROLE_MODERATOR
	switch c.GetWhispers() {
	case command.RoomWhispers_ROOM_WHISPERS_NONE:
		return false
	case command.RoomWhispers_ROOM_WHISPERS_MODERATORS:
		return moderator
	case command.RoomWhispers_ROOM_WHISPERS_PARTICIPANTS:
		return moderator || from.role == command.RoomRole_ROOM_ROLE_PARTICIPANT
	}
	return true
}
