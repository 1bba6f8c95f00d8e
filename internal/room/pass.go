// SPDX-License-Identifier: Apache-2.0

package room

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// give gives a device a stanza, on whichever node it is. It reports false when that
// is not reached.
func (h *Hub) give(r *live, v *visit, st *xmlstream.Element) bool {
	st.Set("to", v.to)
	if v.here() {
		r.hand(v, route.Serialise(st))
		return true
	}
	return h.o.Elsewhere.Pass(v.node, &Passed{Room: r.jid.String(), To: v.full, Stanza: st})
}

// giveRole gives an occupant a role, -1 for none, on each node that they have a
// device on. It reports false when one of these is not reached.
func (h *Hub) giveRole(s *shard, r *live, o *occupant, role int, reason, actor string) bool {
	g := &Giving{Nick: o.nick, Who: o.who, Role: role, Reason: reason, Actor: actor}
	var nodes []string
	for _, v := range o.visits {
		if !v.here() && !slices.Contains(nodes, v.node) {
			nodes = append(nodes, v.node)
		}
	}
	if o.here() {
		h.given(s, r, g)
	}
	ok := true
	for _, node := range nodes {
		ok = h.o.Elsewhere.Pass(node, &Passed{Room: r.jid.String(), Giving: g}) && ok
	}
	return ok
}

// given gives an occupant's devices here a role.
func (h *Hub) given(s *shard, r *live, g *Giving) {
	o := r.occupants[g.Nick]
	switch {
	case o == nil || o.who != g.Who || !o.here():
	case g.Role < 0:
		h.expel(s, r, o, departure{status: []int{statusKicked}, reason: g.Reason, actor: g.Actor})
	default:
		h.setRole(s, r, o, command.RoomRole(g.Role), g.Reason, g.Actor) //nolint:gosec // small
	}
}

// unreached is what is answered when the node of an occupant is not reached.
func unreached() *stanza.Error {
	return stanza.Err(stanza.Wait, stanza.RemoteServerTimeout, "where this occupant is connected is not reached at the moment; try again")
}

// Arrived takes what another node hands on. It does not block.
func (h *Hub) Arrived(node string, p *Passed) {
	s := h.shard(p.Room)
	if !h.post(p.Room, softMost, func() { h.arrived(s, node, p) }) {
		h.unanswered(node, p)
	}
}

func (h *Hub) arrived(s *shard, node string, p *Passed) {
	r := s.rooms[p.Room]
	if r == nil {
		h.unanswered(node, p)
		return
	}
	switch {
	case p.Giving != nil:
		h.given(s, r, p.Giving)
	case !p.To.IsZero():
		v := r.devices[p.To]
		if v == nil {
			h.unanswered(node, p)
			return
		}
		if asks(p.Stanza) {
			r.asked.add(p.Stanza.Get("id"), question{node: node})
		}
		r.hand(v, route.Serialise(p.Stanza))
	case p.Stanza.Name.Local == "iq":
		h.answered(r, p.Stanza)
	default:
		_, nick, _ := splitNick(p.Stanza.Get("from"))
		if from := r.occupants[nick]; from != nil {
			h.spread(r, from, p.Stanza)
		}
	}
}

func asks(st *xmlstream.Element) bool {
	return st != nil && st.Name.Local == "iq" && (st.Get("type") == "get" || st.Get("type") == "set")
}

// unanswered tells who has asked a device here that it does not answer.
func (h *Hub) unanswered(node string, p *Passed) {
	if asks(p.Stanza) {
		e := stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
		h.o.Elsewhere.Pass(node, &Passed{Room: p.Room, Stanza: e.Reply(p.Stanza)})
	}
}

// spread gives what an occupant says, and is not kept, to all devices here.
func (h *Hub) spread(r *live, from *occupant, st *xmlstream.Element) {
	out, heard := route.Serialise(st), h.heard(st.Get("from"))
	for _, v := range r.visits {
		if v.is != from && !heard(v) {
			continue
		}
		out.To = v.to
		r.hand(v, out)
	}
}

// passAll hands a stanza to all nodes that have a device in the room.
func (h *Hub) passAll(r *live, st *xmlstream.Element) {
	nodes := map[string]struct{}{}
	for at := range r.remotes {
		if _, done := nodes[at.node]; !done {
			nodes[at.node] = struct{}{}
			h.o.Elsewhere.Pass(at.node, &Passed{Room: r.jid.String(), Stanza: st})
		}
	}
}
