// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"crypto/rand"
	"slices"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// asked remembers which IQs were passed on to occupants, so that the answers
// find back to the device that asked. The oldest are forgotten.
type asked struct {
	by    map[string]question // by the id that the asked occupant sees
	order []string
}

type question struct {
	id   string
	from *visit
	to   string // the occupant's address, which the answer comes from
	node string // that the question has come from; with it, nothing of the above
}

// askedMost bounds the questions of a room that wait for an answer.
const askedMost = 1024

func (a *asked) add(id string, q question) {
	if a.by == nil {
		a.by = map[string]question{}
	}
	if len(a.order) >= askedMost {
		delete(a.by, a.order[0])
		a.order = slices.Clone(a.order[1:])
	}
	a.by[id] = q
	a.order = append(a.order, id)
}

func (a *asked) take(id string) (question, bool) {
	q, ok := a.by[id]
	if ok {
		delete(a.by, id)
		a.order = slices.DeleteFunc(a.order, func(s string) bool { return s == id })
	}
	return q, ok
}

// toOccupant answers what is asked of an occupant, or passes it on (XEP-0045
// §bizrules-iq @1.35.5).
func (f *rooms) toOccupant(r *route.Request) []route.Effect {
	who, inside := f.hub.Find(r.To.Bare(), r.From)
	if !inside {
		return r.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room")
	}
	get := r.Stanza.Get("type") == "get"
	if r.To.Resource() == who.Nick && get && r.Payload.Is(stanza.NSPing, "ping") {
		return r.Result() // XEP-0410 §serveroptimization @1.1.0
	}
	whose := f.hub.Occupant(r.To.Bare(), r.To.Resource())
	if whose.IsZero() {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick")
	}
	if get && r.Payload.Is(stanza.NSVCard, "vCard") {
		return []route.Effect{r.Read(func(context.Context) []route.Effect {
			b, err := f.o.View.VCard(whose.String())
			if err != nil || len(b) == 0 {
				return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no vCard")
			}
			return parsed(r, b)
		})}
	}
	return []route.Effect{route.Visit{Do: func(v route.Visitor) { f.hub.ask(v, r) }}}
}

// parsed answers with an element that was stored.
func parsed(r *route.Request, b []byte) []route.Effect {
	e, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
	if err != nil {
		return r.Err(stanza.Wait, stanza.InternalServerError, "what is stored cannot be read")
	}
	return r.Result(e)
}

// withOccupant has something done, in the order of what happens in the room,
// between the device that a request is from and the occupant that it is to. What
// that refuses, and what stands in its way, is answered with an error.
func (h *Hub) withOccupant(v route.Visitor, q *route.Request, do func(r *live, from *visit, to *occupant) *stanza.Error) {
	room := q.To.Bare().String()
	s := h.shard(room)
	refuse := func(e *stanza.Error) {
		if e != nil {
			v.Enqueue(route.Serialise(e.Reply(q.Stanza)))
		}
	}
	ok := h.post(room, softMost, func() {
		r := s.rooms[room]
		if r == nil || r.devices[q.From] == nil {
			refuse(stanza.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room"))
			return
		}
		to := r.occupants[q.To.Resource()]
		if to == nil {
			refuse(stanza.Err(stanza.Cancel, stanza.ItemNotFound, "nobody is in the room under this nick"))
			return
		}
		refuse(do(r, r.devices[q.From], to))
	})
	if !ok {
		refuse(stanza.Err(stanza.Wait, stanza.ResourceConstraint, "the room is overloaded: try again in a while"))
	}
}

// ask passes an IQ on to the occupant's newest device.
func (h *Hub) ask(v route.Visitor, q *route.Request) {
	h.withOccupant(v, q, func(r *live, from *visit, to *occupant) *stanza.Error {
		room, target := r.jid.String(), to.visits[len(to.visits)-1]
		id := "muc-" + rand.Text()
		r.asked.add(id, question{id: q.Stanza.Get("id"), from: from, to: room + "/" + to.nick})
		if !h.give(r, target, q.Stanza.Clone().Set("id", id).Set("from", room+"/"+from.is.nick)) {
			r.asked.take(id)
			return unreached()
		}
		return nil
	})
}

// answer carries an occupant's answer to who had asked.
func (f *rooms) answer(r *route.Request) []route.Effect {
	room := r.To.Bare().String()
	if r.To.Local() == "" {
		return nil
	}
	s := f.hub.shard(room)
	return []route.Effect{route.Visit{Do: func(route.Visitor) {
		f.hub.post(room, softMost, func() {
			live := s.rooms[room]
			if live == nil || live.devices[r.From] == nil {
				return
			}
			f.hub.answered(live, r.Stanza)
		})
	}}}
}

// answered gives an answer to who has asked, on whichever node.
func (h *Hub) answered(r *live, answer *xmlstream.Element) {
	q, ok := r.asked.take(answer.Get("id"))
	switch {
	case !ok:
	case q.node != "":
		h.o.Elsewhere.Pass(q.node, &Passed{Room: r.jid.String(), Stanza: answer})
	default:
		r.hand(q.from, route.Serialise(answer.Clone().Set("id", q.id).Set("from", q.to).Set("to", q.from.to)))
	}
}
