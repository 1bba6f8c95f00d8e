// SPDX-License-Identifier: Apache-2.0

package room

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/xmlstream"
)

// Elsewhere is what rooms know of the other nodes of the cell and say to them. Its
// methods must not block and must not call the hub.
type Elsewhere interface {
	// Tell says how a device of this node is in a room from now on, and why; nil: it
	// is there no more. It is called in order for one room.
	Tell(p Place, v *Visit, why Cause)
	// Visit gives how a device on another node is in a room, nil when it is not.
	Visit(node string, p Place) *Visit
	// Visits gives the devices on other nodes that are in a room, Crowd how many
	// there are.
	Visits(room string) []Remote
	Crowd(room string) int
	// Pass hands something to a node. It reports false when that is not reached now,
	// or too much waits for it. It keeps nothing of it.
	Pass(node string, p *Passed) bool
	// Certain reports whether all devices on other nodes that are in rooms are
	// known: each node is heard, or none of a majority has heard it for a while.
	Certain() bool
}

// Place is a device in a room, which is given by its bare JID.
type Place struct {
	Room string
	JID  jid.JID // real, full
}

// Visit is how a device is in a room, as the other nodes know it. It is never
// changed once made.
type Visit struct {
	Place
	Nick        string
	ID          string // occupant-id (XEP-0421)
	Affiliation command.Affiliation
	Role        command.RoomRole
	Public      bool                 // everybody in the room sees the occupant
	Presence    []*xmlstream.Element // children of its last presence that others may see
}

// Same reports whether nothing is different; of presence, whether it is the same
// one.
func (v *Visit) Same(o *Visit) bool {
	return v.Place == o.Place && v.Nick == o.Nick && v.ID == o.ID && v.Affiliation == o.Affiliation && v.Role == o.Role &&
		v.Public == o.Public && slices.Equal(v.Presence, o.Presence)
}

// Remote is a visit on another node.
type Remote struct {
	Node string
	*Visit
}

// Cause says why a device is otherwise in a room, or is it no more: what is shown
// with the change, and is no state.
type Cause struct {
	Status        []int
	Reason, Actor string
	Affiliation   *command.Affiliation // of who has left, from now on; nil: as it was
	Said          []*xmlstream.Element // with a farewell
}

// Passed is what a node hands to another of a room.
type Passed struct {
	Room string
	// Stanza is for the device To; if that is zero an answer (an IQ) is for who has
	// asked, and a message for all in the room.
	To     jid.JID
	Stanza *xmlstream.Element
	// Giving instead.
	Giving *Giving
}

// Giving gives an occupant a role.
type Giving struct {
	Nick          string
	Who           jid.JID // real, bare
	Role          int     // of command.RoomRole; -1: they are shown out
	Reason, Actor string
}

// away is a device on another node.
type away struct {
	node string
	full jid.JID
}

// here reports whether the device is on this node.
func (v *visit) here() bool { return v.node == "" }

// here reports whether a device of the occupant is on this node. If none is, they
// are in the room as another node says, and only that changes it.
func (o *occupant) here() bool { return slices.ContainsFunc(o.visits, (*visit).here) }

// all gives every device in the room, on any node.
func (r *live) all(yield func(*visit) bool) {
	for _, v := range r.visits {
		if !yield(v) {
			return
		}
	}
	for _, v := range r.remotes {
		if !yield(v) {
			return
		}
	}
}

// tell says to the other nodes how an occupant's devices here are in a room, if
// that is not what they know.
func (h *Hub) tell(r *live, o *occupant, why Cause) {
	if h.o.Elsewhere == nil {
		return
	}
	for _, v := range o.visits {
		now := Visit{
			Place: Place{r.jid.String(), v.full}, Nick: o.nick, ID: o.id, Affiliation: o.affiliation, Role: o.role, Public: o.public, Presence: v.presence,
		}
		if !v.here() || v.told != nil && v.told.Same(&now) {
			continue
		}
		v.told = &now
		h.o.Elsewhere.Tell(now.Place, v.told, why)
	}
}

// tellLeft says to the other nodes that a device of this one is in a room no more.
func (h *Hub) tellLeft(r *live, v *visit, d *departure) {
	if h.o.Elsewhere != nil {
		h.o.Elsewhere.Tell(Place{r.jid.String(), v.full}, nil,
			Cause{Status: d.status, Reason: d.reason, Actor: d.actor, Affiliation: d.affiliation, Said: d.said})
	}
}

// Visited is told that a device on another node may be otherwise in a room than it
// was. It does not block.
func (h *Hub) Visited(node string, p Place, why Cause) {
	s := h.shard(p.Room)
	s.mu.Lock()
	open := s.rooms[p.Room] != nil
	pending := s.busy || len(s.queue) > 0 // somebody may be about to enter
	s.mu.Unlock()
	if open || pending {
		at := away{node, p.JID}
		if !h.queue(p.Room, queueMost, func() { h.visited(s, p.Room, at, why) }) {
			s.missed.Store(true)
		}
	}
	if !open && h.o.Elsewhere.Crowd(p.Room) == 0 {
		h.vacant.add(p.Room, vacantElsewhere)
	}
}

func (h *Hub) visited(s *shard, room string, at away, why Cause) {
	if r := s.rooms[room]; r != nil {
		h.seat(s, r, at, h.o.Elsewhere.Visit(at.node, Place{room, at.full}), why)
	}
}

// reconcile makes what a room shows of other nodes what is known of them.
func (h *Hub) reconcile(s *shard, r *live) {
	if h.o.Elsewhere == nil {
		return
	}
	there := h.o.Elsewhere.Visits(r.jid.String())
	known := make(map[away]bool, len(there))
	for _, v := range there {
		known[away{v.Node, v.JID}] = true
	}
	for at := range r.waiting {
		if !known[at] {
			delete(r.waiting, at)
		}
	}
	for at, v := range r.remotes {
		if !known[at] {
			h.leave(s, r, v, departure{})
		}
	}
	for _, v := range there {
		h.seat(s, r, away{v.Node, v.JID}, v.Visit, Cause{})
	}
}

// seat has a device on another node be in a room as that says; nil: it is not.
func (h *Hub) seat(s *shard, r *live, at away, now *Visit, why Cause) {
	old := r.remotes[at]
	delete(r.waiting, at)
	if now == nil {
		if old != nil {
			h.leave(s, r, old, departure{status: why.Status, reason: why.Reason, actor: why.Actor, affiliation: why.Affiliation, said: why.Said})
		}
		return
	}
	if o := r.occupants[now.Nick]; o != nil && o.who != now.JID.Bare() && !h.cede(s, r, o, now) {
		r.waiting[at] = now
		if old != nil {
			h.leave(s, r, old, departure{})
		}
		return
	}
	switch {
	case old == nil:
		h.seated(s, r, at, now)
	case old.is.nick != now.Nick:
		s.mu.Lock()
		if old.said, old.presence = now, now.Presence; !old.is.here() {
			old.is.affiliation, old.is.role = now.Affiliation, now.Role
		}
		s.mu.Unlock()
		h.rename(s, r, old, now.Nick, now.Presence)
	default:
		h.reseated(s, r, old, now, why)
	}
}

// seated lets a device on another node in.
func (h *Hub) seated(s *shard, r *live, at away, now *Visit) {
	s.mu.Lock()
	o := r.occupants[now.Nick]
	if o == nil {
		o = &occupant{nick: now.Nick, who: now.JID.Bare(), id: now.ID, affiliation: now.Affiliation, role: now.Role}
		r.occupants[now.Nick] = o
	}
	v := &visit{node: at.node, full: now.JID, to: now.JID.String(), is: o, presence: now.Presence, said: now}
	o.visits = append(o.visits[:len(o.visits):len(o.visits)], v)
	o.presence = now.Presence
	r.remotes[at] = v
	s.mu.Unlock()
	h.broadcast(r, shown{nick: o.nick, of: o, full: v.full})
}

// reseated has a device on another node be in the room otherwise.
func (h *Hub) reseated(s *shard, r *live, v *visit, now *Visit, why Cause) {
	o, was := v.is, v.said
	if was.Same(now) {
		return
	}
	s.mu.Lock()
	v.said, v.presence = now, now.Presence
	if !slices.Equal(was.Presence, now.Presence) {
		o.presence = now.Presence
	}
	if !o.here() {
		o.affiliation, o.role = now.Affiliation, now.Role
	}
	s.mu.Unlock()
	if !o.here() || !slices.Equal(was.Presence, now.Presence) {
		h.broadcast(r, shown{nick: o.nick, of: o, full: v.full, reason: why.Reason, actor: why.Actor})
	}
}

// cede has an occupant go whose nick somebody on another node has claimed, while the
// two nodes did not hear of each other: who holds it durably stays. It reports
// whether the nick is free now.
func (h *Hub) cede(s *shard, r *live, o *occupant, to *Visit) bool {
	if !o.here() {
		return false // their nodes see to it
	}
	holder, err := h.o.View.RoomNick(to.Room, o.nick)
	if err != nil || holder != to.JID.Bare().String() {
		return false
	}
	h.expel(s, r, o, departure{status: []int{statusTechnical}, reason: "somebody else has this nick"})
	return s.rooms[to.Room] == r && r.occupants[to.Nick] == nil
}

// retry looks again at devices on other nodes that wait for a nick: another one may
// have it durably now, or nobody.
func (h *Hub) retry(s *shard, r *live) {
	if len(r.waiting) == 0 {
		return
	}
	room := r.jid.String()
	if !h.queue(room, queueMost, func() {
		if r := s.rooms[room]; r != nil {
			for at := range r.waiting {
				h.visited(s, room, at, Cause{})
			}
		}
	}) {
		s.missed.Store(true)
	}
}

// somewhere gives the real bare JID of who is in a room under a nick on another
// node, zero when nobody is.
func (h *Hub) somewhere(room, nick string) jid.JID {
	if h.o.Elsewhere == nil {
		return jid.JID{}
	}
	for _, v := range h.o.Elsewhere.Visits(room) {
		if v.Nick == nick {
			return v.JID.Bare()
		}
	}
	return jid.JID{}
}
