// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/lane"
	"bavard/internal/route"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	shards = 16
	// queueMost bounds the jobs of a shard, softMost those of them that may be
	// shed, so that what was said has room.
	queueMost = 1 << 16
	softMost  = queueMost / 4
	// handMost is how many devices get something before a shard gives way to
	// others, handMostSmall while that is in a room of no more; a multiple of it
	// while jobs wait.
	handMost      = 8
	handMostSmall = 128
	// roomsMost bounds the rooms that one device is in.
	roomsMost = 500
)

// Hub knows who is in the rooms that a device of this node is in. That is soft: it is
// lost with the process, and devices enter again. Who is there on other nodes it
// shows as these say.
//
// Rooms are spread over shards. Each shard has one goroutine that works
// through a bounded queue in order: entering, leaving, what the view has
// applied. So everybody in a room sees one order, and a large room holds up
// neither the applier nor, but for those of its shard, other rooms.
type Hub struct {
	o      Options
	seed   maphash.Seed
	shards [shards]shard
	wg     sync.WaitGroup
	shed   atomic.Uint64
	behind atomic.Uint64
	vacant vacancies
	cancel context.CancelFunc

	mu sync.Mutex
	// where has the rooms that a device is in or was let towards.
	where map[route.Visitor]map[string]struct{}
}

type shard struct {
	mu     sync.Mutex
	rooms  map[string]*live
	queue  []func()
	wake   chan struct{}
	busy   bool // jobs that were taken from the queue are not done
	closed bool
	// missed: what was told of other nodes found no room in the queue.
	missed atomic.Bool
	// handed counts what devices got in rooms of the shard.
	handed atomic.Uint64

	// Of its goroutine: how much was handed over since it gave way, how many jobs
	// it has taken that wait.
	since, waiting int
	yielder        *lane.Yielder
}

// live is a room that a device of this node is in. Only its shard's goroutine
// changes it, under the shard's lock; others read under that lock.
type live struct {
	jid       jid.JID
	shard     *shard
	config    *command.RoomConfig
	pictures  []string             // hashes of config's picture
	occupants map[string]*occupant // by nick
	public    map[string]*occupant // those of them that everybody sees
	devices   map[jid.JID]*visit   // of this node, by real full JID
	// visits are all devices of this node in the room. What is in the slice is never
	// written over; it only grows, or another one takes its place.
	visits  []*visit
	remotes map[away]*visit // devices on other nodes
	// waiting are devices on other nodes whose nick somebody else has here.
	waiting map[away]*Visit
	asked   asked
}

// occupant is a person under one nick, with one or more devices.
type occupant struct {
	nick        string
	who         jid.JID // real, bare
	id          string  // occupant-id
	affiliation command.Affiliation
	role        command.RoomRole
	public      bool // everybody in the room sees them
	visits      []*visit
	presence    []*xmlstream.Element // children of the latest
}

// visit is one device in a room.
type visit struct {
	device route.Visitor // nil on another node
	node   string        // "" is this one
	full   jid.JID
	to     string // full, as text
	is     *occupant
	all    bool // it sees everybody in the room
	// floor: what was said up to it came with the history.
	floor    command.Position
	presence []*xmlstream.Element // children of its last
	told     *Visit               // what other nodes know of it; of a device here
	said     *Visit               // what its node says; of one on another
}

// NewHub starts a hub. Close ends it.
func NewHub(o Options) *Hub {
	h := &Hub{o: o, seed: maphash.MakeSeed(), where: map[route.Visitor]map[string]struct{}{}}
	if h.o.Logger == nil {
		h.o.Logger = slog.New(slog.DiscardHandler)
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.rooms = map[string]*live{}
		s.wake = make(chan struct{}, 1)
		h.wg.Add(1)
		go h.work(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	if h.o.Elsewhere != nil {
		h.wg.Go(func() { h.watchVacant(ctx) })
	}
	return h
}

// Close ends the workers; queued jobs are dropped.
func (h *Hub) Close() {
	h.cancel()
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		s.closed, s.queue = true, nil
		s.mu.Unlock()
		s.poke()
	}
	h.wg.Wait()
}

func (h *Hub) shard(room string) *shard { return &h.shards[maphash.String(h.seed, room)%shards] }

func (s *shard) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) work(s *shard) {
	defer h.wg.Done()
	s.yielder = lane.NewYielder()
	defer s.yielder.Close()
	var batch []func()
	for range s.wake {
		for {
			s.mu.Lock()
			if s.closed {
				s.mu.Unlock()
				return
			}
			batch, s.queue = s.queue, batch[:0]
			s.busy = len(batch) > 0
			s.mu.Unlock()
			if s.missed.CompareAndSwap(true, false) {
				for _, r := range maps.Clone(s.rooms) {
					h.reconcile(s, r)
				}
			}
			if len(batch) == 0 {
				break
			}
			for i, do := range batch {
				s.waiting = len(batch) - 1 - i
				do()
				batch[i] = nil
			}
		}
	}
}

// hand gives a device in the room something, if it is on this node. Now and then the shard gives way, so
// that what is said to many does not hold up what is said to few: that is on its
// way through one goroutine after the other. The more jobs wait, the less often,
// so that a shard gets through its work on a machine that is never idle; and in a
// small room hardly, so that devices get all that was said meanwhile in one write.
func (r *live) hand(v *visit, out route.Out) {
	if !v.here() {
		return // its node does
	}
	v.device.Enqueue(out)
	s, most := r.shard, handMost
	if len(r.visits) <= handMostSmall {
		most = handMostSmall
	}
	s.handed.Add(1)
	if s.since++; s.since < most*(1+s.waiting) {
		return
	}
	s.mu.Lock()
	waiting := s.waiting + len(s.queue)
	s.mu.Unlock()
	if s.since < most*(1+waiting) {
		return
	}
	s.since = 0
	s.yielder.Yield()
}

// post queues a job of a room; false when there are too many.
func (h *Hub) post(room string, most int, do func()) bool {
	ok := h.queue(room, most, do)
	if !ok {
		h.shed.Add(1)
	}
	return ok
}

func (h *Hub) queue(room string, most int, do func()) bool {
	s := h.shard(room)
	s.mu.Lock()
	if s.closed || len(s.queue) >= most {
		s.mu.Unlock()
		return false
	}
	s.queue = append(s.queue, do)
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.poke()
	}
	return true
}

// Offer takes the events of an applied batch that are about rooms. It never
// blocks: where a shard is full, the devices in the room have to read its
// archive.
func (h *Hub) Offer(events []state.Event) {
	for i := range events {
		e := events[i]
		if e.Kind != state.EventRoom {
			continue
		}
		s := h.shard(e.Account)
		s.mu.Lock()
		r := s.rooms[e.Account]
		pending := s.busy || len(s.queue) > 0 // somebody may be about to enter
		s.mu.Unlock()
		if r == nil && !pending {
			continue
		}
		if h.queue(e.Account, queueMost, func() { h.event(s, &e) }) {
			continue
		}
		h.behind.Add(1)
		if r != nil {
			s.mu.Lock()
			visits := r.visits
			s.mu.Unlock()
			for _, v := range visits {
				v.device.Behind()
			}
		}
	}
}

// towards notes that a device may come to be in a room; false when it is in
// too many.
func (h *Hub) towards(v route.Visitor, room string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	rooms := h.where[v]
	if rooms == nil {
		rooms = map[string]struct{}{}
		h.where[v] = rooms
	}
	if _, in := rooms[room]; !in && len(rooms) >= roomsMost {
		return false
	}
	rooms[room] = struct{}{}
	return true
}

func (h *Hub) away(v route.Visitor, room string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.where[v], room); len(h.where[v]) == 0 {
		delete(h.where, v)
	}
}

// Gone: a device's session has ended or is unavailable; it leaves all rooms.
func (h *Hub) Gone(v route.Visitor) {
	h.mu.Lock()
	rooms := h.where[v]
	delete(h.where, v)
	h.mu.Unlock()
	for room := range rooms {
		s := h.shard(room)
		// Never shed: a room would show somebody who is gone for ever.
		h.post(room, 2*queueMost, func() { h.gone(s, room, v) })
	}
}

func (h *Hub) gone(s *shard, room string, v route.Visitor) {
	r := s.rooms[room]
	if r == nil {
		return
	}
	for _, visit := range r.visits {
		if visit.device == v {
			h.leave(s, r, visit, departure{})
		}
	}
}

// Who is in a room as an occupant with a device: its nick and role.
type Who struct {
	Nick string
	Role command.RoomRole
}

// Find gives who a device is in a room, false when it is not in it.
func (h *Hub) Find(room, full jid.JID) (Who, bool) {
	s := h.shard(room.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[room.String()]
	if r == nil || r.devices[full] == nil {
		return Who{}, false
	}
	o := r.devices[full].is
	return Who{o.nick, o.role}, true
}

// Occupant gives the real bare JID behind a nick, zero when nobody is there
// under it.
func (h *Hub) Occupant(room jid.JID, nick string) jid.JID {
	s := h.shard(room.String())
	s.mu.Lock()
	r := s.rooms[room.String()]
	if r == nil {
		s.mu.Unlock()
		return h.somewhere(room.String(), nick)
	}
	defer s.mu.Unlock()
	if o := r.occupants[nick]; o != nil {
		return o.who
	}
	return jid.JID{}
}

// Count gives the number of occupants of a room, on all nodes.
func (h *Hub) Count(room string) int {
	s := h.shard(room)
	s.mu.Lock()
	r := s.rooms[room]
	if r != nil || h.o.Elsewhere == nil {
		defer s.mu.Unlock()
		return r.count()
	}
	s.mu.Unlock()
	nicks := map[string]struct{}{}
	for _, v := range h.o.Elsewhere.Visits(room) {
		nicks[v.Nick] = struct{}{}
	}
	return len(nicks)
}

func (r *live) count() int {
	if r == nil {
		return 0
	}
	return len(r.occupants)
}

// Stats of a hub.
type Stats struct {
	Rooms  int // that a device of this node is in
	Visits int // these devices
	Queued int
	Shed   uint64 // jobs dropped, or refused to who asked for them
	Behind uint64 // events dropped, devices told to read the archive
	Handed uint64 // stanzas that devices got in rooms
}

// Stats counts.
func (h *Hub) Stats() Stats {
	st := Stats{Shed: h.shed.Load(), Behind: h.behind.Load()}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		st.Rooms += len(s.rooms)
		st.Queued += len(s.queue)
		st.Handed += s.handed.Load()
		for _, r := range s.rooms {
			st.Visits += len(r.visits)
		}
		s.mu.Unlock()
	}
	return st
}

// occupantID is the same for one person in one room, and tells nothing else
// (XEP-0421 §id-generation @1.0.1). account tells the person from others who had
// the name before; 0 where it is not known.
func (h *Hub) occupantID(room, who string, account uint64) string {
	mac := hmac.New(sha256.New, h.o.OccupantKey)
	mac.Write([]byte(room))
	mac.Write([]byte{0})
	mac.Write([]byte(who))
	if account != 0 {
		mac.Write(binary.BigEndian.AppendUint64([]byte{0}, account))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}
