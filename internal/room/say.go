// SPDX-License-Identifier: Apache-2.0

package room

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// maxID bounds the ids of a message, in bytes.
const maxID = 1024

// groupchat is a message to everybody in a room (XEP-0045 §message @1.35.5).
// What is to be kept goes through the journal, chat states and the like do
// not.
func (f *rooms) groupchat(r *route.Request) []route.Effect {
	room := r.To
	who, ok := f.hub.Find(room, r.From)
	if !ok {
		return r.Err(stanza.Modify, stanza.NotAcceptable, "enter the room before you write in it")
	}
	f.strip(r.Stanza, room)
	if len(r.Stanza.Children) == 0 {
		return nil // what it had was for the server
	}
	m := &command.RoomMessage{
		Room: room.String(), From: r.From.String(), Nick: who.Nick, Role: who.Role, Id: r.Stanza.Get("id"), Lang: r.Stanza.Lang(),
		OriginId: r.Stanza.Child(stanza.NSSID, "origin-id").Get("id"),
	}
	if len(m.Id) > maxID || len(m.OriginId) > maxID || len(m.Lang) > 64 {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "the message's id is too long")
	}
	if m.Timer, ok = route.Timer(r.Stanza); !ok {
		return r.NoTimer()
	}
	if !f.kept(r.Stanza, m) {
		if who.Role == command.RoomRole_ROOM_ROLE_VISITOR {
			return nil
		}
		return []route.Effect{route.Visit{Do: func(v route.Visitor) { f.hub.soft(v, r) }}}
	}
	m.Payload = xmlstream.AppendChildren(nil, r.Stanza, stanza.NSClient)
	if by := route.Repeat(r.Stanza); by != "" && !f.o.NoDedupe {
		m.Dedupe = dedupe(by, m)
	}
	return []route.Effect{route.Append{Command: &command.Command{Request: &command.Command_RoomMessage{RoomMessage: m}}}}
}

// dedupe is the key under which a repeat of the message is known, by its origin-id
// or what stands for it.
func dedupe(by string, m *command.RoomMessage) []byte {
	h := sha256.New()
	var n [4]byte
	from, _, _ := splitNick(m.From)
	for _, s := range []string{from, m.Room, by} {
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	h.Write(m.Payload)
	return h.Sum(nil)[:16]
}

// kept looks at the children: it sets the flags of what goes through the
// journal, and reports false for what nobody needs to read later, chat states
// alone.
func (f *rooms) kept(st *xmlstream.Element, m *command.RoomMessage) bool {
	body, subject, thread, store, more := false, false, false, false, false
	for _, c := range st.Elements() {
		switch {
		case c.Is(stanza.NSClient, "body"):
			body = true
		case c.Is(stanza.NSClient, "subject"):
			subject = true
		case c.Is(stanza.NSClient, "thread"):
			thread = true
		case c.Is(stanza.NSHints, "no-store"), c.Is(stanza.NSHints, "no-permanent-store"):
			m.Flags |= command.FlagNoStore
		case c.Is(stanza.NSHints, "store"):
			store = true
		case c.Is(stanza.NSRetract, "retract"):
			more = true
			if p, ok := f.o.IDs.Position(c.Get("id")); ok {
				m.Retracts = p.AppendTo(nil)
			}
		case c.Name.Space == stanza.NSChatStates, c.Name.Space == stanza.NSHints, c.Is(stanza.NSSID, "origin-id"):
		default:
			more = true // receipts, markers, reactions, whatever comes next
		}
	}
	if route.Said(st) {
		m.Flags |= command.FlagBody
	}
	if subject && !body && !thread {
		m.Flags |= command.FlagSubject
	}
	return body || subject || store || more && m.Flags&command.FlagNoStore == 0
}

// strip removes what the room alone may say (XEP-0421 §rules @1.0.1, XEP-0359
// §rules @0.7.0).
func (f *rooms) strip(m *xmlstream.Element, room jid.JID) {
	kept := m.Children[:0]
	for _, n := range m.Children {
		switch e := n.Element; {
		case e == nil, e.Name.Space == stanza.NSOccupantID, e.Name.Space == stanza.NSMUCUser:
			continue
		case e.Is(stanza.NSSID, "stanza-id"):
			by, err := jid.Parse(e.Get("by"))
			if err != nil || by.Bare() == room || by.Domain() == room.Domain() {
				continue
			}
		}
		kept = append(kept, n)
	}
	m.Children = kept
}

// soft passes on what is not kept.
func (h *Hub) soft(v route.Visitor, q *route.Request) {
	room := q.To.String()
	s := h.shard(room)
	h.post(room, softMost, func() {
		r := s.rooms[room]
		if r == nil || r.devices[q.From] == nil {
			return
		}
		from := r.devices[q.From].is
		st := xmlstream.New(stanza.NSClient, "message", "from", room+"/"+from.nick, "type", "groupchat", "id", q.Stanza.Get("id"))
		st.Children = q.Stanza.Children
		st.Add(xmlstream.New(stanza.NSOccupantID, "occupant-id", "id", from.id))
		h.spread(r, from, st)
		h.passAll(r, st)
	})
}

// heard reports of a device whether its account's blocklist lets through what
// an occupant of a room says (XEP-0191 §block @1.3): it may hold the occupant, the room
// or the domain. One that cannot be read holds back.
func (h *Hub) heard(from string) func(*visit) bool {
	return func(v *visit) bool {
		blocked, err := h.o.View.Blocked(v.is.who.String(), from)
		return !blocked && err == nil
	}
}

// Message renders a message of a room but for whom it is to, as it is said or,
// with a time, as it was said then (XEP-0203 §protocol @2.0).
func (h *Hub) Message(e state.Entry, at *time.Time) route.Out {
	m := e.Room
	b := make([]byte, 0, 384+len(m.Payload))
	b = h.AppendMessage(b, e)
	b = route.AppendStanzaID(b, m.Room, h.o.IDs.ID(e.Position))
	if at != nil {
		b = route.AppendDelay(b, m.Room, *at)
	}
	return route.Out{Name: "message", Rest: append(b, "</message>"...)}
}

// AppendMessage appends what follows "<message" for a message of a room, up to
// its end tag, without stanza-id.
func (h *Hub) AppendMessage(b []byte, e state.Entry) []byte {
	m := e.Room
	from := m.Room
	if m.Nick != "" {
		from += "/" + m.Nick
	}
	b = xmlstream.AppendAttr(b, "from", from)
	b = append(b, " type='groupchat'"...)
	if m.Id != "" {
		b = xmlstream.AppendAttr(b, "id", m.Id)
	} else if m.Moderates != nil {
		b = xmlstream.AppendAttr(b, "id", h.o.IDs.ID(e.Position))
	}
	if m.Lang != "" {
		b = xmlstream.AppendAttr(b, "xml:lang", m.Lang)
	}
	b = append(b, '>')
	b = append(b, m.Payload...)
	switch {
	case m.Moderates != nil:
		for _, e := range h.moderation(m) {
			b = xmlstream.AppendElement(b, e, stanza.NSClient)
		}
	case m.Tombstone != nil:
		b = xmlstream.AppendElement(b, h.tombstone(m), stanza.NSClient)
	}
	if m.From != "" {
		who, _, _ := splitNick(m.From)
		b = append(b, "<occupant-id xmlns='"+stanza.NSOccupantID+"'"...)
		b = xmlstream.AppendAttr(b, "id", h.occupantID(m.Room, who, e.Sender))
		b = append(b, "/>"...)
	}
	return b
}

// Archived gives how messages of a room's archive are shown to a reader: as
// AppendMessage does, and where they may see real addresses, with that of who
// said it (XEP-0313 §archives_muc @1.1.3).
func (h *Hub) Archived(room string, reader jid.JID) func(b []byte, e state.Entry) []byte {
	shown := h.maySeeAddresses(room, reader)
	return func(b []byte, e state.Entry) []byte {
		b = h.AppendMessage(b, e)
		if !shown || e.Room.From == "" {
			return b
		}
		who, _, _ := splitNick(e.Room.From)
		return xmlstream.AppendElement(b, xmlstream.New(stanza.NSMUCUser, "x").Add(xmlstream.New(stanza.NSMUCUser, "item", "jid", who)), stanza.NSClient)
	}
}

func (h *Hub) maySeeAddresses(room string, reader jid.JID) bool {
	st, err := h.o.View.Room(room)
	if err != nil {
		return false
	}
	m, err := h.o.View.RoomMember(room, reader.Bare().String())
	return err == nil && (st.Config.GetNonAnonymous() || m.Affiliation >= command.Affiliation_AFFILIATION_ADMIN)
}

// moderation says that a moderator has taken a message back (XEP-0425
// §usecase-success @0.3.0), and besides in the shape of its version 0.2, which
// some clients know alone.
func (h *Hub) moderation(m *command.RoomMessage) []*xmlstream.Element {
	d := m.Moderates
	target := ""
	if p, err := command.ParsePosition(d.Target); err == nil {
		target = h.o.IDs.ID(p)
	}
	return []*xmlstream.Element{
		xmlstream.New(stanza.NSRetract, "retract", "id", target).Add(h.moderated(m.Room, d.By, d.Nick, d.ByAccount), reason(stanza.NSRetract, d.Reason)),
		xmlstream.New(stanza.NSFasten, "apply-to", "id", target).Add(
			xmlstream.New(stanza.NSModerate0, "moderated", "by", m.Room+"/"+d.Nick).Add(
				xmlstream.New(retract0, "retract"), reason(stanza.NSModerate0, d.Reason))),
	}
}

func (h *Hub) moderated(room, by, nick string, account uint64) *xmlstream.Element {
	who, _, _ := splitNick(by)
	return xmlstream.New(stanza.NSModerate, "moderated", "by", room+"/"+nick).
		Add(xmlstream.New(stanza.NSOccupantID, "occupant-id", "id", h.occupantID(room, who, account)))
}

func reason(space, text string) *xmlstream.Element {
	if text == "" {
		return nil
	}
	return xmlstream.NewText(space, "reason", text)
}

// tombstone is what is left of a message (XEP-0424 §tombstones @0.4.2,
// XEP-0425 §tombstones @0.3.0).
func (h *Hub) tombstone(m *command.RoomMessage) *xmlstream.Element {
	t := m.Tombstone
	e := route.Retracted(t.TimeMs, t.Id)
	if t.ByNick != "" {
		e.Add(h.moderated(m.Room, t.By, t.ByNick, t.ByAccount), reason(stanza.NSRetract, t.Reason))
	}
	return e
}

// subject tells the subject, which also says that entering is complete; an
// empty one when none was set.
func (h *Hub) subject(r *live, st *state.Room, v *visit) {
	if st.Subject.Position.IsZero() {
		r.hand(v, route.Out{Name: "message", To: v.to, Rest: append(
			xmlstream.AppendAttr(nil, "from", st.JID), " type='groupchat'><subject></subject></message>"...)})
		return
	}
	e := state.Entry{Position: st.Subject.Position, Time: st.Subject.Time, Sender: st.Subject.Sender, Room: &command.RoomMessage{
		Room: st.JID, From: st.Subject.From, Nick: st.Subject.Nick, Id: st.Subject.ID, Payload: st.Subject.Payload,
	}}
	out := h.Message(e, &e.Time)
	out.To = v.to
	r.hand(v, out)
}

// event tells a room what the view has applied.
func (h *Hub) event(s *shard, e *state.Event) {
	r := s.rooms[e.Account]
	if r == nil {
		return
	}
	switch ev := e.Room; {
	case ev.Message != nil:
		h.said(r, e)
	case ev.Configured:
		h.configured(s, r, ev)
	case ev.Destroyed != nil:
		h.destroyed(s, r, ev.Destroyed)
	case ev.Nick != nil:
		h.retry(s, r)
	case ev.Changes != nil:
		for _, c := range ev.Changes {
			h.changed(s, r, c, ev.By)
		}
	}
}

// said hands a message to everybody in the room; a repeat to its sender alone.
func (h *Hub) said(r *live, e *state.Event) {
	m := e.Room.Message
	entry := state.Entry{Position: e.Position, Time: e.Time, Room: m, Sender: e.Room.Sender}
	repeat := !e.Room.Duplicate.IsZero()
	if repeat {
		entry.Position = e.Room.Duplicate
	}
	out, heard := h.Message(entry, nil), h.heard(m.Room+"/"+m.Nick)
	for _, v := range r.visits {
		if repeat && v.to != m.From || !repeat && !v.floor.Before(e.Position) || v.to != m.From && !heard(v) {
			continue
		}
		out.To = v.to
		r.hand(v, out)
	}
}

// notice is a message of the room about itself (XEP-0045 §roomconfig-notify
// @1.35.5).
func (h *Hub) notice(r *live, codes ...int) {
	if len(codes) == 0 {
		return
	}
	x := xmlstream.New(stanza.NSMUCUser, "x")
	for _, c := range codes {
		x.Add(xmlstream.New(stanza.NSMUCUser, "status", "code", strconv.Itoa(c)))
	}
	h.announce(r, x, func(*visit) bool { return true })
}

func (h *Hub) announce(r *live, x *xmlstream.Element, to func(*visit) bool) {
	out := route.Serialise(xmlstream.New(stanza.NSClient, "message", "from", r.jid.String(), "type", "groupchat").Add(x))
	for _, v := range r.visits {
		if to(v) {
			out.To = v.to
			r.hand(v, out)
		}
	}
}

// configured follows a new configuration (XEP-0045 §roomconfig-notify @1.35.5).
func (h *Hub) configured(s *shard, r *live, ev *state.RoomEvent) {
	st, err := h.o.View.Room(r.jid.String())
	if err != nil {
		return // removed meanwhile: that event comes next
	}
	old := ev.Old
	s.mu.Lock()
	r.configure(st.Config)
	s.mu.Unlock()
	codes := []int{statusConfigured}
	switch {
	case st.Config.GetNonAnonymous() && !old.GetNonAnonymous():
		codes = append(codes, statusPrivacyShown)
	case !st.Config.GetNonAnonymous() && old.GetNonAnonymous():
		codes = append(codes, statusPrivacyHid)
	}
	switch {
	case !st.Config.GetUnarchived() && old.GetUnarchived():
		codes = append(codes, statusLogged)
	case st.Config.GetUnarchived() && !old.GetUnarchived():
		codes = append(codes, statusUnlogged)
	}
	h.notice(r, codes...)
	r.repaint(old)
	if st.Config.GetMembersOnly() && !old.GetMembersOnly() {
		for _, v := range r.visits {
			if v.is.affiliation < command.Affiliation_AFFILIATION_MEMBER {
				h.leave(s, r, v, departure{status: []int{statusMembersOnly}})
			}
		}
	}
	if st.Config.GetModerated() != old.GetModerated() || st.Config.GetAnnouncements() != old.GetAnnouncements() {
		for _, nick := range sorted(r.occupants) {
			if o := r.occupants[nick]; o.here() {
				h.setRole(s, r, o, defaultRole(r.config, o.affiliation), "", "")
			}
		}
	}
	if closed := st.Config.GetMembersOnly() && !old.GetMembersOnly(); closed || st.Config.GetUnseen() != old.GetUnseen() {
		h.reveal(r)
	}
}

// reveal follows a change of who is seen by all: it shows those who are to be
// seen and are not, and hides those who are seen and are not to be.
func (h *Hub) reveal(r *live) {
	for _, nick := range sorted(r.occupants) {
		if o := r.occupants[nick]; o.here() && o.public != r.seen(o) {
			h.broadcast(r, shown{nick: nick, of: o})
		}
	}
}

// destroyed shows everybody out (XEP-0045 §destroyroom @1.35.5).
func (h *Hub) destroyed(s *shard, r *live, d *command.RoomDestroy) {
	s.mu.Lock()
	delete(s.rooms, r.jid.String())
	s.mu.Unlock()
	e := xmlstream.New(stanza.NSMUCUser, "destroy", "jid", d.Alternate).Add(reason(stanza.NSMUCUser, d.Reason))
	for _, v := range r.visits {
		h.away(v.device, r.jid.String())
		h.tellLeft(r, v, &departure{})
		of := *v.is
		of.affiliation = command.Affiliation_AFFILIATION_NONE
		p := shown{nick: of.nick, of: &of, full: v.full, gone: true, destroy: e}
		r.hand(v, route.Out{Name: "presence", To: v.to, Rest: h.render(r, &p, true, true)})
	}
}

// changed follows a change of an affiliation.
func (h *Hub) changed(s *shard, r *live, c state.RoomChange, by string) {
	actor := ""
	for v := range r.all {
		if v.to == by {
			actor = v.is.nick
		}
	}
	present := false
	for _, nick := range sorted(r.occupants) {
		o := r.occupants[nick]
		if o == nil || o.who.String() != c.JID && o.who.Domain() != c.JID {
			continue
		}
		if o.who.String() != c.JID && c.New != command.Affiliation_AFFILIATION_OUTCAST {
			continue // a domain is banned, or not any more
		}
		present = true
		if o.here() {
			h.affiliated(s, r, o, c, actor)
		}
	}
	if present {
		return
	}
	item := xmlstream.New(stanza.NSMUCUser, "item", "affiliation", affiliationName(c.New), "role", "none", "jid", c.JID, "nick", c.Nick).
		Add(reason(stanza.NSMUCUser, c.Reason))
	h.announce(r, xmlstream.New(stanza.NSMUCUser, "x").Add(item), func(v *visit) bool { return h.seesAddress(r, v) })
}

func (h *Hub) affiliated(s *shard, r *live, o *occupant, c state.RoomChange, actor string) {
	out := departure{affiliation: &c.New, reason: c.Reason, actor: actor}
	switch {
	case c.New == command.Affiliation_AFFILIATION_OUTCAST:
		out.status = []int{statusBanned}
	case r.config.GetMembersOnly() && c.New < command.Affiliation_AFFILIATION_MEMBER:
		out.status = []int{statusNotAffil}
	default:
		s.mu.Lock()
		o.affiliation = c.New
		o.role = defaultRole(r.config, c.New)
		s.mu.Unlock()
		h.broadcast(r, shown{nick: o.nick, of: o, reason: c.Reason, actor: actor})
		return
	}
	h.expel(s, r, o, out)
}

// expel takes all devices of an occupant out that are on this node.
func (h *Hub) expel(s *shard, r *live, o *occupant, d departure) {
	for _, v := range o.visits {
		if v.here() {
			h.leave(s, r, v, d)
		}
	}
}

// setRole gives an occupant another role.
func (h *Hub) setRole(s *shard, r *live, o *occupant, role command.RoomRole, reason, actor string) {
	if o.role == role {
		return
	}
	s.mu.Lock()
	o.role = role
	s.mu.Unlock()
	h.broadcast(r, shown{nick: o.nick, of: o, reason: reason, actor: actor})
}
