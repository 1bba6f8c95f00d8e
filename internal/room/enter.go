// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// entering is a request to enter a room, to change the nick, or to change the
// presence in it.
type entering struct {
	*route.Request
	room    string
	nick    string
	created bool
	x       *xmlstream.Element // <x xmlns='…muc'/>, nil when it is not there
	account uint64             // of who enters
}

func (q *entering) refuse(v route.Visitor, t stanza.ErrorType, c stanza.Condition, text string) {
	v.Enqueue(route.Serialise(q.answer(stanza.Err(t, c, text))))
}

// answer is the error's reply. It shows that it is about entering, as in
// XEP-0045 §enter-errorcodes @1.35.5; clients look for that.
func (q *entering) answer(e *stanza.Error) *xmlstream.Element {
	e.By = q.room
	r := e.Reply(q.Stanza)
	if q.x != nil {
		r.Children = append([]xmlstream.Node{{Element: xmlstream.New(stanza.NSMUC, "x")}}, r.Children...)
	}
	return r
}

// enter has a device enter, in the order of what happens in the room.
func (h *Hub) enter(v route.Visitor, q *entering) {
	if !h.towards(v, q.room) {
		q.refuse(v, stanza.Wait, stanza.ResourceConstraint, "you are in too many rooms")
		return
	}
	s := h.shard(q.room)
	if !h.post(q.room, softMost, func() { h.entered(s, v, q) }) {
		q.refuse(v, stanza.Wait, stanza.ResourceConstraint, "the room is overloaded: try again in a while")
	}
}

// entered decides upon one who wants to enter (XEP-0045 §enter @1.35.5).
func (h *Hub) entered(s *shard, v route.Visitor, q *entering) {
	st, err := h.o.View.Room(q.room)
	if err != nil {
		h.unentered(s, v, q)
		if errors.Is(err, state.ErrNotFound) {
			q.refuse(v, stanza.Cancel, stanza.ItemNotFound, "there is no such room")
			return
		}
		q.refuse(v, stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
		return
	}
	who := q.From.Bare()
	m, err := h.o.View.RoomMember(q.room, who.String())
	if err == nil {
		q.account, err = h.o.View.AccountID(who.String())
	}
	if err != nil {
		h.unentered(s, v, q)
		q.refuse(v, stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
		return
	}
	r := s.rooms[q.room]
	e := q.bar(&st, r, &m)
	if e == nil && r == nil {
		r = h.open(s, q.To.Bare(), &st)
	}
	if e == nil {
		e = h.conflict(&st, r, &m, q)
	}
	if e != nil {
		h.unentered(s, v, q)
		v.Enqueue(route.Serialise(q.answer(e)))
		return
	}
	s.mu.Lock()
	r.configure(st.Config)
	s.rooms[q.room] = r
	old := r.devices[q.From]
	s.mu.Unlock()
	switch {
	case old == nil:
		h.arrive(s, r, v, q, &st, m.Affiliation)
	case old.device != v: // the session that held this resource before
		h.arrive(s, r, v, q, &st, m.Affiliation)
		h.leave(s, r, old, departure{quiet: true}) // last, so that the room is never empty
	case old.is.nick != q.nick:
		old.presence = stripped(q.Stanza)
		h.rename(s, r, old, q.nick, old.presence)
	case q.x != nil: // it has lost track of the room: from the beginning
		h.update(s, old, q)
		h.welcome(r, old, q, &st)
	default:
		h.update(s, old, q)
		h.broadcast(r, shown{nick: old.is.nick, of: old.is, full: old.full})
	}
}

// unentered: a device that did not come in, and was not in before, is no
// longer on its way.
func (h *Hub) unentered(s *shard, v route.Visitor, q *entering) {
	if r := s.rooms[q.room]; r == nil || r.devices[q.From] == nil || r.devices[q.From].device != v {
		h.away(v, q.room)
	}
}

// open makes a room that no device of this node is in yet, with who is in it on
// other nodes.
func (h *Hub) open(s *shard, room jid.JID, st *state.Room) *live {
	r := &live{
		jid: room, shard: s, occupants: map[string]*occupant{}, public: map[string]*occupant{}, devices: map[jid.JID]*visit{},
		remotes: map[away]*visit{}, waiting: map[away]*Visit{},
	}
	r.configure(st.Config)
	h.reconcile(s, r)
	return r
}

// bar refuses who may not enter (XEP-0045 §enter-errorcodes @1.35.5); r is nil while
// no device of this node is in the room.
func (q *entering) bar(st *state.Room, r *live, m *state.RoomMember) *stanza.Error {
	member := m.Affiliation >= command.Affiliation_AFFILIATION_MEMBER
	owner := m.Affiliation == command.Affiliation_AFFILIATION_OWNER
	switch {
	case m.Affiliation == command.Affiliation_AFFILIATION_OUTCAST:
		return stanza.Err(stanza.Auth, stanza.Forbidden, "you have been banned from this room")
	case st.Locked && !owner:
		return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "the room is not ready yet")
	case st.Config.GetMembersOnly() && !member:
		return stanza.Err(stanza.Auth, stanza.RegistrationRequired, "only members may enter this room")
	}
	inside := r != nil && r.devices[q.From] != nil
	if !inside && !q.knows(st.Config, m) {
		return stanza.Err(stanza.Auth, stanza.NotAuthorized, "the room has a password")
	}
	return nil
}

// conflict refuses who has no room left, or no nick (XEP-0045 §enter-errorcodes
// @1.35.5).
func (h *Hub) conflict(st *state.Room, r *live, m *state.RoomMember, q *entering) *stanza.Error {
	full := len(r.visits)+len(r.remotes) >= int(st.Config.GetMaxOccupants())
	if full && r.devices[q.From] == nil && m.Affiliation < command.Affiliation_AFFILIATION_ADMIN {
		return stanza.Err(stanza.Wait, stanza.ServiceUnavailable, "the room is full")
	}
	holder, err := h.o.View.RoomNick(q.room, q.nick)
	if err != nil {
		return stanza.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
	}
	taken := holder != "" && holder != q.From.Bare().String()
	if r.occupants[q.nick] != nil {
		taken = r.occupants[q.nick].who != q.From.Bare()
	}
	if taken {
		return stanza.Err(stanza.Cancel, stanza.Conflict, "somebody else has this nick")
	}
	return nil
}

// knows reports whether who enters says the room's password, or needs none.
func (q *entering) knows(c *command.RoomConfig, m *state.RoomMember) bool {
	got := q.x.Child(stanza.NSMUC, "password").Text()
	return c.GetPassword() == "" || m.Affiliation == command.Affiliation_AFFILIATION_OWNER ||
		subtle.ConstantTimeCompare([]byte(got), []byte(c.GetPassword())) == 1
}

// arrive lets a device in.
func (h *Hub) arrive(s *shard, r *live, v route.Visitor, q *entering, st *state.Room, a command.Affiliation) {
	s.mu.Lock()
	o := r.occupants[q.nick]
	if o == nil {
		o = &occupant{nick: q.nick, who: q.From.Bare(), id: h.occupantID(q.room, q.From.Bare().String(), q.account), affiliation: a, role: defaultRole(r.config, a)}
		r.occupants[q.nick] = o
	}
	visit := &visit{device: v, full: q.From, to: q.From.String(), is: o, presence: stripped(q.Stanza)}
	o.visits = append(o.visits[:len(o.visits):len(o.visits)], visit)
	o.presence = visit.presence
	r.devices[q.From] = visit
	r.visits = append(r.visits, visit) // behind what others still read
	s.mu.Unlock()
	h.welcome(r, visit, q, st)
}

// update takes what a device says of itself.
func (h *Hub) update(s *shard, v *visit, q *entering) {
	s.mu.Lock()
	v.presence = stripped(q.Stanza)
	v.is.presence = v.presence
	s.mu.Unlock()
}

// welcome tells a device who is there, tells all that it has come, and hands
// over what was said (XEP-0045 §order @1.35.5).
func (h *Hub) welcome(r *live, v *visit, q *entering, st *state.Room) {
	there := r.public
	if v.all = v.all || v.is.role == command.RoomRole_ROOM_ROLE_MODERATOR; v.all {
		there = r.occupants
	}
	for _, nick := range sorted(there) {
		if o := there[nick]; o != v.is {
			h.show(r, v, shown{nick: nick, of: o})
		}
	}
	p := shown{nick: v.is.nick, of: v.is, full: v.full}
	if r.config.GetNonAnonymous() {
		p.self = append(p.self, statusNonAnonymous)
	}
	if !r.config.GetUnarchived() { // XEP-0045 §enter-logging @1.35.5
		p.self = append(p.self, statusLogged)
	}
	if q.created {
		p.self = append(p.self, statusCreated)
	}
	if _, asked, _ := splitNick(q.Stanza.Get("to")); asked != v.is.nick {
		p.self = append(p.self, statusNickChanged)
	}
	h.broadcast(r, p)
	if len(r.pictures) > 0 {
		r.paint(v)
	}
	h.history(r, v, q.x, st)
}

func sorted(occupants map[string]*occupant) []string {
	nicks := make([]string, 0, len(occupants))
	for n := range occupants {
		nicks = append(nicks, n)
	}
	slices.Sort(nicks)
	return nicks
}

const (
	// historyDefault and historyMost bound the messages that come with
	// entering; the rest is in the room's archive.
	historyDefault = 20
	historyMost    = 100
	historyWithin  = 5 * time.Second
)

// history hands over what was said last, and the subject (XEP-0045
// §enter-history @1.35.5, §enter-subject @1.35.5).
func (h *Hub) history(r *live, v *visit, x *xmlstream.Element, st *state.Room) {
	ctx, cancel := context.WithTimeout(context.Background(), historyWithin)
	defer cancel()
	q, chars := historyQuery(x.Child(stanza.NSMUC, "history"))
	q.Room = st.JID
	v.floor = h.o.View.Applied()
	if q.Max > 0 {
		page, err := h.o.View.Archive(ctx, q)
		if err != nil {
			h.o.Logger.Warn("read the history of a room", "err", err)
		}
		for _, e := range tail(page.Entries, chars) {
			if v.floor.Before(e.Position) {
				break // it comes live
			}
			if e.Room.Flags&command.FlagSubject != 0 {
				continue // the latest one comes last
			}
			out := h.Message(e, &e.Time)
			out.To = v.to
			r.hand(v, out)
		}
	}
	h.subject(r, st, v)
}

// historyQuery reads what a device asks for (XEP-0045 §enter-managehistory
// @1.35.5); chars bounds the size of the messages, -1 does not.
func historyQuery(e *xmlstream.Element) (q state.Query, chars int) {
	q = state.Query{Backward: true, Max: historyDefault}
	number := func(name string, def int) int {
		s, ok := e.Lookup(name)
		if !ok {
			return def
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return def
		}
		return n
	}
	if e == nil {
		return q, -1
	}
	chars = number("maxchars", -1)
	seconds := number("seconds", -1)
	if seconds >= 0 {
		q.Start, q.Max = time.Now().Add(-time.Duration(min(seconds, 1<<30))*time.Second), historyMost
	}
	if since, err := time.Parse(time.RFC3339Nano, e.Get("since")); err == nil {
		q.Start, q.Max = since, historyMost
	}
	q.Max = min(number("maxstanzas", q.Max), historyMost)
	if chars == 0 {
		q.Max = 0
	}
	return q, chars
}

// tail gives the last entries that fit.
func tail(entries []state.Entry, chars int) []state.Entry {
	if chars < 0 {
		return entries
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if chars -= len(entries[i].Room.Payload); chars < 0 {
			return entries[i+1:]
		}
	}
	return entries
}

// departure says why somebody leaves; the zero value is by themselves.
type departure struct {
	status      []int
	reason      string
	actor       string
	affiliation *command.Affiliation // from now on
	said        []*xmlstream.Element // children of the device's own farewell
	quiet       bool                 // the device is told nothing
}

// leave takes a device out of a room (XEP-0045 §exit @1.35.5).
func (h *Hub) leave(s *shard, r *live, v *visit, d departure) {
	o := v.is
	s.mu.Lock()
	o.visits = remove(o.visits, v)
	taken := true // another session holds its resource
	if v.here() {
		r.visits = remove(r.visits, v)
		taken = r.devices[v.full] != v
	} else {
		delete(r.remotes, away{v.node, v.full})
	}
	if !taken {
		delete(r.devices, v.full)
	}
	last := len(o.visits) == 0
	if last {
		delete(r.occupants, o.nick)
		delete(r.public, o.nick)
	}
	empty := v.here() && len(r.visits) == 0
	if empty {
		delete(s.rooms, r.jid.String())
	}
	if d.affiliation != nil {
		o.affiliation = *d.affiliation
	}
	s.mu.Unlock()
	if v.here() {
		h.away(v.device, r.jid.String())
	}
	if !taken {
		h.tellLeft(r, v, &d)
	}
	p := shown{nick: o.nick, of: o, full: v.full, gone: true, status: d.status, reason: d.reason, actor: d.actor, said: d.said}
	if !d.quiet {
		r.hand(v, route.Out{Name: "presence", To: v.to, Rest: h.render(r, &p, true, true)})
	}
	if last {
		h.broadcast(r, p)
		h.retry(s, r)
	}
	if empty && !r.config.GetPersistent() {
		h.removeEmpty(r.jid.String())
	}
}

// removeEmpty removes a temporary room that nobody of this node is in any more
// (XEP-0045 §terms-rooms @1.35.5), if nobody is on another. Who comes in meanwhile is
// told that it is gone.
func (h *Hub) removeEmpty(room string) {
	if h.o.Elsewhere != nil {
		h.vacant.add(room, vacantHere)
		return
	}
	h.wg.Go(func() { h.removed(context.Background(), room) })
}

func remove(list []*visit, v *visit) []*visit {
	i := slices.Index(list, v)
	if i < 0 {
		return list
	}
	return append(list[:i:i], list[i+1:]...)
}

// rename changes the nick of a device (XEP-0045 §changenick @1.35.5). When it
// was the only one under its nick, the occupant has a new nick; else the
// device becomes, or joins, another occupant.
func (h *Hub) rename(s *shard, r *live, v *visit, nick string, presence []*xmlstream.Element) {
	o := v.is
	gone := shown{nick: o.nick, of: o, full: v.full, gone: true, newNick: nick, status: []int{statusNewNick}}
	if len(o.visits) == 1 {
		h.broadcast(r, gone)
	} else {
		r.hand(v, route.Out{Name: "presence", To: v.to, Rest: h.render(r, &gone, true, true)})
	}
	s.mu.Lock()
	if o.visits = remove(o.visits, v); len(o.visits) == 0 {
		delete(r.occupants, o.nick)
		delete(r.public, o.nick)
	}
	to := r.occupants[nick]
	if to == nil {
		to = &occupant{nick: nick, who: o.who, id: o.id, affiliation: o.affiliation, role: o.role}
		r.occupants[nick] = to
		if o.public {
			r.publish(to)
		}
	}
	to.presence = presence
	to.visits = append(to.visits[:len(to.visits):len(to.visits)], v)
	v.is = to
	s.mu.Unlock()
	h.broadcast(r, shown{nick: nick, of: to, full: v.full})
	h.retry(s, r)
}

// exit: a device leaves by itself.
func (h *Hub) exit(v route.Visitor, r *route.Request) {
	room := r.To.Bare().String()
	s := h.shard(room)
	h.post(room, 2*queueMost, func() {
		live := s.rooms[room]
		if live == nil || live.devices[r.From] == nil {
			return
		}
		if visit := live.devices[r.From]; visit.device == v {
			h.leave(s, live, visit, departure{said: stripped(r.Stanza)})
		}
	})
}
