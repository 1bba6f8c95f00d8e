// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"bytes"
	"fmt"
	"slices"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/room"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

const (
	// visitsMost bounds what is kept of one node's devices in rooms. What is more is
	// not known.
	visitsMost = 2_000_000
	// idMost bounds an occupant-id, codesMost the status codes of a cause.
	idMost    = 128
	codesMost = 16
)

// seat is a device on another node.
type seat struct {
	node string
	full jid.JID
}

// Rooms is the mesh as rooms know it. It implements room.Elsewhere.
type Rooms struct{ m *Mesh }

// Rooms gives the mesh as rooms know it.
func (m *Mesh) Rooms() Rooms { return Rooms{m} }

// Tell implements room.Elsewhere.
func (r Rooms) Tell(p room.Place, v *room.Visit, why room.Cause) {
	m := r.m
	what, size := isChange_What(&Change_Left{&Left{Room: p.Room, Jid: p.JID.String()}}), frameCost
	if v != nil {
		s, n := visit(v)
		what, size = &Change_Visit{s}, n
	}
	cause, more := because(&why)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if v == nil {
		delete(m.visits, p)
	} else {
		m.visits[p] = v
	}
	for _, to := range m.peers {
		if to.out != nil && to.out.rooms {
			to.out.change(m, &Change{What: what, Cause: cause}, size+more)
		}
	}
}

// Visit implements room.Elsewhere.
func (r Rooms) Visit(node string, p room.Place) *room.Visit {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	return r.m.crowds[p.Room][seat{node, p.JID}]
}

// Visits implements room.Elsewhere.
func (r Rooms) Visits(of string) []room.Remote {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	crowd := r.m.crowds[of]
	list := make([]room.Remote, 0, len(crowd))
	for at, v := range crowd {
		list = append(list, room.Remote{Node: at.node, Visit: v})
	}
	return list
}

// Crowd implements room.Elsewhere.
func (r Rooms) Crowd(of string) int {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	return len(r.m.crowds[of])
}

// Pass implements room.Elsewhere.
func (r Rooms) Pass(node string, p *room.Passed) bool {
	s, size := &Passed{Room: p.Room}, frameCost
	if !p.To.IsZero() {
		s.To = p.To.String()
	}
	if g := p.Giving; g != nil {
		s.Giving = &Giving{Nick: g.Nick, Jid: g.Who.String(), Role: uint32(g.Role + 1), Reason: g.Reason, Actor: g.Actor} //nolint:gosec // small
		size += len(g.Reason)
	} else if s.Xml = xmlstream.AppendElement(nil, p.Stanza, ""); len(s.GetXml()) > stanzaMost {
		r.m.shed.Add(1)
		return false
	}
	return r.m.pass(node, &Frame{Content: &Frame_Passed{s}}, size+len(s.GetXml()), true)
}

// Certain implements room.Elsewhere: a node that is not heard is gone only if neither
// the journal reaches it, nor any node that is heard hears it, and if these are a
// majority of those that are in the cell. One that does not say who is in rooms, or more than is kept, leaves it
// open.
func (r Rooms) Certain() bool {
	m, gone := r.m, []string{}
	all, absent := 1, map[string]bool{}
	for name := range m.o.Peers {
		if m.o.Voter == nil || m.o.Voter(name) {
			all++
		} else {
			absent[name] = true
		}
	}
	m.mu.Lock()
	heard := 1
	var hears []string
	for _, p := range m.peers {
		switch {
		case p.in != nil && p.heard && p.in.rooms && !p.partial:
			heard++
			hears = append(hears, p.in.hears...)
		case p.in == nil && absent[p.name]: // nobody is there
		case p.in != nil || !p.given:
			m.mu.Unlock()
			return false
		default:
			gone = append(gone, p.name)
		}
	}
	most := 2*heard > all
	m.mu.Unlock()
	return most && !slices.ContainsFunc(gone, func(node string) bool {
		return slices.Contains(hears, node) || m.o.Reached == nil || m.o.Reached(node)
	})
}

// hears gives the nodes that are heard.
func (m *Mesh) hears() (nodes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range m.peers {
		if p.in != nil && p.heard {
			nodes = append(nodes, name)
		}
	}
	return nodes
}

// place changes what is known of a node's devices in rooms; mu is held.
func (m *Mesh) place(p *peer, at room.Place, v *room.Visit) {
	crowd, s := m.crowds[at.Room], seat{p.name, at.JID}
	delete(p.strays, at)
	if v == nil {
		delete(p.visits, at)
		if delete(crowd, s); len(crowd) == 0 {
			delete(m.crowds, at.Room)
		}
		return
	}
	if crowd == nil {
		crowd = map[seat]*room.Visit{}
		m.crowds[at.Room] = crowd
	}
	p.visits[at], crowd[s] = v, v
}

// noteVisits takes devices in rooms of a part of a snapshot.
func (m *Mesh) noteVisits(in *incoming, visits []*Visit) error {
	for _, each := range visits {
		v, err := m.visitor(in.p, each)
		if err != nil {
			return err
		}
		if in.visits[v.Place] == nil && len(in.visits) >= visitsMost {
			in.partial = true
			continue
		}
		in.visits[v.Place] = v
	}
	return nil
}

// replaceVisits makes what a node says all that is known of its devices in rooms, as
// replace does of its sessions, and gives what is otherwise; mu is held.
func (m *Mesh) replaceVisits(p *peer, next map[room.Place]*room.Visit, same bool) (moved []room.Place) {
	for at := range p.visits {
		switch {
		case next[at] != nil:
		case same:
			moved = append(moved, at)
			m.place(p, at, nil)
		default:
			p.strays[at] = true
		}
	}
	for at, is := range next {
		was := p.visits[at]
		m.place(p, at, is)
		if was == nil || !was.Same(is) {
			moved = append(moved, at)
		}
	}
	return moved
}

// moved takes what became of one device in a room; the peer's applying is held.
func (m *Mesh) moved(in *incoming, c *Change) error {
	p := in.p
	why, err := caused(c.GetCause())
	if err != nil {
		return err
	}
	var at room.Place
	var is *room.Visit
	if s := c.GetVisit(); s != nil {
		if is, err = m.visitor(p, s); err == nil {
			at = is.Place
		}
	} else {
		at, err = m.at(c.GetLeft().GetRoom(), c.GetLeft().GetJid())
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	switch {
	case p.in != in:
		err = errOver
	case is != nil && p.visits[at] == nil && len(p.visits) >= visitsMost:
		p.partial = true
	default:
		m.place(p, at, is)
	}
	m.mu.Unlock()
	if err == nil {
		m.rooms.Visited(p.name, at, why)
	}
	return err
}

// said makes XML of what a device says in a room, nothing of what is too long.
func said(children []*xmlstream.Element) []byte {
	if len(children) == 0 {
		return nil
	}
	xml := xmlstream.AppendElement(nil, xmlstream.New(stanza.NSClient, "presence").Add(children...), "")
	if len(xml) > stanzaMost/2 {
		return nil
	}
	return xml
}

// heard reads it.
func heard(xml []byte) ([]*xmlstream.Element, error) {
	if len(xml) == 0 {
		return nil, nil
	}
	e, err := parse(xml, "presence")
	if err != nil {
		return nil, err
	}
	return e.Elements(), nil
}

// visit makes the message of a device in a room, and says how large it is.
func visit(v *room.Visit) (*Visit, int) {
	s := &Visit{
		Room: v.Room, Jid: v.JID.String(), Nick: v.Nick, OccupantId: v.ID, Affiliation: uint32(v.Affiliation), Role: uint32(v.Role), //nolint:gosec // small
		Public: v.Public, Presence: said(v.Presence),
	}
	return s, len(s.GetRoom()) + len(s.GetJid()) + len(s.GetNick()) + len(s.GetOccupantId()) + len(s.GetPresence()) + frameCost
}

// at reads where a device is.
func (m *Mesh) at(in, who string) (room.Place, error) {
	full, err := m.full(who)
	if err != nil {
		return room.Place{}, err
	}
	j, err := m.room(in)
	return room.Place{Room: j.String(), JID: full}, err
}

// visitor reads a device in a room. What it says is the same if it was known.
func (m *Mesh) visitor(p *peer, s *Visit) (*room.Visit, error) {
	at, err := m.at(s.GetRoom(), s.GetJid())
	if err != nil {
		return nil, err
	}
	_, known := command.Affiliation_name[int32(s.GetAffiliation())] //nolint:gosec // a large one is not known
	_, role := command.RoomRole_name[int32(s.GetRole())]            //nolint:gosec // as above
	j, err := jid.Parse(at.Room + "/" + s.GetNick())
	if err != nil || j.Resource() != s.GetNick() || len(s.GetNick()) > command.RoomNickSize || len(s.GetOccupantId()) > idMost || !known || !role {
		return nil, fmt.Errorf("%w: a device in a room", errWire)
	}
	v := &room.Visit{
		Place: at, Nick: s.GetNick(), ID: s.GetOccupantId(), Affiliation: command.Affiliation(s.GetAffiliation()), Role: command.RoomRole(s.GetRole()), //nolint:gosec // known
		Public: s.GetPublic(),
	}
	m.mu.Lock()
	was := p.visits[at]
	m.mu.Unlock()
	if was != nil && bytes.Equal(s.GetPresence(), said(was.Presence)) {
		v.Presence = was.Presence
		return v, nil
	}
	v.Presence, err = heard(s.GetPresence())
	return v, err
}

// arrivingInRoom reads what a node hands on in a room.
func (m *Mesh) arrivingInRoom(s *Passed) (*room.Passed, error) {
	j, err := m.room(s.GetRoom())
	if err != nil {
		return nil, err
	}
	p := &room.Passed{Room: j.String()}
	if g := s.GetGiving(); g != nil {
		who, err := jid.ParseBare(g.GetJid())
		if err != nil || g.GetRole() > uint32(len(command.RoomRole_name)) { //nolint:gosec // small
			return nil, fmt.Errorf("%w: a role", errWire)
		}
		p.Giving = &room.Giving{Nick: g.GetNick(), Who: who, Role: int(g.GetRole()) - 1, Reason: g.GetReason(), Actor: g.GetActor()}
		return p, nil
	}
	if s.GetTo() != "" {
		if p.To, err = m.full(s.GetTo()); err != nil {
			return nil, err
		}
	}
	p.Stanza, err = parse(s.GetXml(), "message", "iq")
	return p, err
}

// room reads the address of a room.
func (m *Mesh) room(text string) (jid.JID, error) {
	j, err := jid.ParseBare(text)
	if err != nil || j.Local() == "" || j.Domain() != m.o.Rooms {
		return jid.JID{}, fmt.Errorf("%w: %q is no room's address", errWire, text)
	}
	return j, nil
}

// because makes the message of a cause, nil of none, and says how large it is.
func because(c *room.Cause) (*Cause, int) {
	if c.Affiliation == nil && len(c.Status)+len(c.Reason)+len(c.Actor)+len(c.Said) == 0 {
		return nil, 0
	}
	w := &Cause{Reason: c.Reason, Actor: c.Actor, Said: said(c.Said)}
	for _, code := range c.Status {
		w.Status = append(w.Status, uint32(code)) //nolint:gosec // three digits
	}
	if c.Affiliation != nil {
		a := uint32(*c.Affiliation) //nolint:gosec // small
		w.Affiliation = &a
	}
	return w, len(w.GetReason()) + len(w.GetActor()) + len(w.GetSaid())
}

// caused reads a cause.
func caused(w *Cause) (c room.Cause, err error) {
	c.Reason, c.Actor = w.GetReason(), w.GetActor()
	for _, code := range w.GetStatus() {
		if code < 100 || code > 999 || len(c.Status) == codesMost {
			return c, fmt.Errorf("%w: status codes of a cause", errWire)
		}
		c.Status = append(c.Status, int(code))
	}
	if w != nil && w.Affiliation != nil {
		a := command.Affiliation(w.GetAffiliation()) //nolint:gosec // looked at below
		if _, known := command.Affiliation_name[int32(a)]; !known {
			return c, fmt.Errorf("%w: the affiliation of a cause", errWire)
		}
		c.Affiliation = &a
	}
	c.Said, err = heard(w.GetSaid())
	return c, err
}
