// SPDX-License-Identifier: Apache-2.0

// Package dispatch knows which devices are connected to this node and hands
// them what concerns them: archived messages as the view applies them, carbons,
// roster pushes, presence and other soft stanzas. Its state is soft: it is
// lost with the process and rebuilt as devices come back.
//
// Accounts are spread over shards. Each shard has one goroutine that works
// through a bounded queue in order, so that one account's devices see one
// order, and a slow shard holds up neither the others nor the applier.
package dispatch

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/archive"
	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	shards = 16
	// queueMost bounds the jobs of a shard.
	queueMost = 1 << 16
	// softMost: above it soft stanzas are shed, so that messages have room.
	softMost = queueMost / 2
	// ResourcesMost bounds the connected resources of one account.
	ResourcesMost = 50
)

// Device is a session, as dispatch sees it. Its methods must not block and
// must not call dispatch.
type Device interface {
	// Enqueue queues a stanza; when its queue is full the device ends itself,
	// and the client finds what it missed in the archive.
	Enqueue(route.Out)
	// Replaced: another device has taken its resource, or, while this one was
	// away, its place among those of the account.
	Replaced()
	// Away reports whether it has no stream and waits to resume.
	Away() bool
	// Attention says whether it has what is queued for it, and whether somebody
	// will see it there.
	Attention() Attention
	// Behind: events for it were dropped; it must end so that its client reads
	// the archive.
	Behind()
	// Dismissed: its account may no longer be used by who logged in; text says
	// why.
	Dismissed(text string)
}

// Attention is what is known of who looks at a device.
type Attention struct {
	// Here: it has a stream that answers, and has not said that nobody looks.
	Here bool
	// Looking: and there is reason to think that somebody does.
	Looking bool
}

// Reader is what dispatch reads from the view.
type Reader interface {
	Archive(ctx context.Context, q state.Query) (state.Page, error)
	OfflineCursor(account string) (command.Position, error)
	Applied() command.Position
	Roster(account string) ([]state.RosterItem, command.Position, error)
	RosterItem(account, peer string) (state.RosterItem, error)
	// Blocked reports whether an account's blocklist holds an address.
	Blocked(account, address string) (bool, error)
	// AvatarHash tells which picture an account has; it is in memory.
	AvatarHash(account string) state.AvatarHash
	// Hidden reports whether nobody is to see an account's presence; it is in memory.
	Hidden(account string) bool
}

// Options of a hub.
type Options struct {
	Domain string
	View   Reader
	IDs    *archive.IDs
	// Save moves an account's offline cursor. With wait it returns once that is
	// done, so that the device's next login finds it; bounded.
	Save func(account string, p command.Position, wait bool)
	// Left is told that an account's last device has gone; it must not block
	// for long. May be nil.
	Left func(account string)
	// Lost is told the same of one that was on another node, which has died or is not
	// heard; it must not block. May be nil.
	Lost   func(account string)
	Logger *slog.Logger
	// Watch is told of each presence of a resource, nil when it is unavailable.
	// It is called under the lock of a shard: it must not block and must not call
	// dispatch. nil ignores.
	Watch func(jid.JID, *xmlstream.Element)
	// InRoom reports whether a device has entered a room: private messages in it
	// are for those of the account that have. nil: none has.
	InRoom func(room, device jid.JID) bool
	// Elsewhere are the other nodes, of which this is Node; nil: there is none.
	Elsewhere Elsewhere
	Node      string
}

// Hub is the registry of this node's devices.
type Hub struct {
	o      Options
	seed   maphash.Seed
	shards [shards]shard
	wg     sync.WaitGroup
	stop   chan struct{}
	shed   atomic.Uint64
	behind atomic.Uint64
	count  atomic.Int64
	guests guests
}

// Resource is a bound device. Fields below the line are guarded by its
// shard's lock.
type Resource struct {
	JID    jid.JID
	device Device
	client string // names the software on the device; "" when that is not known
	since  time.Time
	// ---
	available  bool
	priority   int8
	presence   *xmlstream.Element
	noPhoto    bool // the device says itself that it has no picture
	carbons    bool
	interested bool
	blocklist  bool // gets pushes of it
	queried    bool
	gone       bool
	flushed    bool
	// While flushing, live messages are held back: the flush comes to them.
	flushing  bool
	flushedTo command.Position
	awaited   command.Position // its ack asks for the next part
	// floor: archived messages up to it were handed over by a flush.
	floor    command.Position
	directed map[jid.JID]struct{}
	turn     uint64 // see Bound
	// lastWords is the presence that it became unavailable with.
	lastWords *xmlstream.Element
	told      Attention // what other nodes know of it
}

type shard struct {
	mu       sync.Mutex
	accounts map[string]*account
	queue    []job
	wake     chan struct{}
	closed   bool
	// targets is what the shard's goroutine copies into for an event.
	targets []target
}

// account is one account with devices connected here.
type account struct {
	resources []*Resource
	// acked is what a device has acked, saved what was submitted of it: the
	// offline cursor.
	acked, saved command.Position
}

// job is one thing to do for an account: an event, or a function.
type job struct {
	event state.Event
	do    func(*shard)
}

// New starts a hub. Close ends it.
func New(o Options) *Hub {
	h := &Hub{o: o, seed: maphash.MakeSeed(), stop: make(chan struct{})}
	for i := range h.shards {
		s := &h.shards[i]
		s.accounts = map[string]*account{}
		s.wake = make(chan struct{}, 1)
		h.wg.Add(1)
		go h.work(s)
	}
	h.wg.Add(1)
	go h.saver()
	return h
}

// Close ends the dispatchers; queued jobs are dropped.
func (h *Hub) Close() {
	close(h.stop)
	h.saveAll()
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		s.closed = true
		s.queue = nil
		s.mu.Unlock()
		s.poke()
	}
	h.wg.Wait()
}

func (h *Hub) shard(account string) *shard {
	return &h.shards[maphash.String(h.seed, account)%shards]
}

// resources of an account. The slice is never written to once made.
func (s *shard) resources(bare string) []*Resource {
	if a := s.accounts[bare]; a != nil {
		return a.resources
	}
	return nil
}

func (s *shard) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// work is a shard's goroutine.
func (h *Hub) work(s *shard) {
	defer h.wg.Done()
	var batch []job
	for range s.wake {
		for {
			s.mu.Lock()
			if s.closed {
				s.mu.Unlock()
				return
			}
			batch, s.queue = s.queue, batch[:0]
			s.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for i := range batch {
				if batch[i].do != nil {
					batch[i].do(s)
				} else {
					h.event(s, &batch[i].event)
				}
				batch[i] = job{}
			}
		}
	}
}

// Displaced is a resource that had to make room: who saw it is to be told that
// it is gone, before they hear of the one that came.
type Displaced struct {
	JID       jid.JID
	Available bool
	Directed  []jid.JID // who got its directed presence
}

// Register binds a device to its full JID. One that holds it already is
// replaced (RFC 6120 §7.7.2.2), and one of the same client, unless that is ""
// (XEP-0386 §bind-request @1.1.0). When the account has as many resources as it
// may have, one that is away makes room; r is nil when there is none.
func (h *Hub) Register(full jid.JID, client string, d Device) (r *Resource, displaced []*Displaced) {
	r = &Resource{JID: full, device: d, client: client, since: time.Now().Truncate(time.Millisecond)}
	bare := full.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	a := s.accounts[bare]
	if a == nil {
		a = &account{}
		s.accounts[bare] = a
	}
	there := h.others(bare)
	outs := a.remove(func(other *Resource) bool { return other.JID == full || client != "" && other.client == client })
	if len(outs) == 0 && len(a.resources)+staying(full, client, there) >= ResourcesMost {
		away := slices.IndexFunc(a.resources, func(other *Resource) bool { return other.device.Away() })
		if away < 0 {
			if len(a.resources) == 0 {
				delete(s.accounts, bare)
			}
			s.mu.Unlock()
			return nil, nil
		}
		leaves := a.resources[away]
		outs = a.remove(func(other *Resource) bool { return other == leaves })
	}
	r.turn = turn(full, client, r.since, outs, there)
	for _, out := range outs {
		displaced = append(displaced, h.displace(out))
	}
	a.resources = append(a.resources[:len(a.resources):len(a.resources)], r)
	h.tell(r, false)
	s.mu.Unlock()
	h.count.Add(int64(1 - len(outs)))
	for _, out := range outs {
		out.device.Replaced()
	}
	return r, displaced
}

// Room reports whether Register would give a device its resource now.
func (h *Hub) Room(full jid.JID) bool {
	bare := full.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.resources(bare)
	if len(list)+staying(full, "", h.others(bare)) < ResourcesMost {
		return true
	}
	return slices.ContainsFunc(list, func(r *Resource) bool { return r.JID == full || r.device.Away() })
}

// remove takes out the resources that match. It makes a new slice: dispatchers
// may hold the old one.
func (a *account) remove(match func(*Resource) bool) (out []*Resource) {
	if !slices.ContainsFunc(a.resources, match) {
		return nil
	}
	kept := make([]*Resource, 0, len(a.resources))
	for _, r := range a.resources {
		if match(r) {
			out = append(out, r)
		} else {
			kept = append(kept, r)
		}
	}
	a.resources = kept
	return out
}

// Unregister removes a device; it reports whether it held its resource still
// and was available, and the addresses that got its directed presence.
func (h *Hub) Unregister(r *Resource) (wasAvailable bool, directed []jid.JID) {
	_, wasAvailable, directed = h.unregister(r, func() { h.tell(r, true) })
	return wasAvailable, directed
}

// unregister removes a device; tell, under the lock of its shard, says so to the other nodes
// if it held its resource still.
func (h *Hub) unregister(r *Resource, tell func()) (held, wasAvailable bool, directed []jid.JID) {
	bare := r.JID.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	directed = r.directedTo()
	wasAvailable = r.available
	var save command.Position
	var last bool
	if held = !r.gone; held {
		tell()
		r.gone, r.available = true, false
		h.watch(r, nil)
		h.count.Add(-1)
		a := s.accounts[bare]
		a.remove(func(other *Resource) bool { return other == r })
		save = a.unsaved()
		if len(a.resources) == 0 {
			delete(s.accounts, bare)
			last = len(h.others(bare)) == 0
		}
	}
	s.mu.Unlock()
	h.save(bare, save, true)
	if last && h.o.Left != nil {
		h.o.Left(bare)
	}
	return held, wasAvailable, directed
}

// Update changes a resource's soft state.
func (h *Hub) Update(r *Resource, change func(*Resource)) {
	s := h.shard(r.JID.Bare().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	was, carbons := r.available, r.carbons
	change(r)
	if was && !r.available {
		h.watch(r, nil)
	}
	if !r.gone && (was != r.available || carbons != r.carbons) {
		h.tell(r, false)
	}
}

func (h *Hub) watch(r *Resource, presence *xmlstream.Element) {
	if h.o.Watch != nil {
		h.o.Watch(r.JID, presence)
	}
}

// SetCarbons switches XEP-0280; for use in Update, like those below.
func (r *Resource) SetCarbons(on bool) { r.carbons = on }

// SetInterested makes it get roster pushes.
func (r *Resource) SetInterested() { r.interested = true }

// SetBlocklisted makes it get pushes of the blocklist.
func (r *Resource) SetBlocklisted() { r.blocklist = true }

// SetQueried spares it the flush of what waits.
func (r *Resource) SetQueried() { r.queried = true }

// SetUnavailable ends its presence by this one, and gives who got directed presence.
func (r *Resource) SetUnavailable(presence *xmlstream.Element) (directed []jid.JID) {
	directed = r.directedTo()
	r.available, r.presence, r.directed, r.lastWords = false, nil, nil, presence
	return directed
}

// directedTo gives who got directed presence, in a steady order.
func (r *Resource) directedTo() []jid.JID {
	return slices.SortedFunc(maps.Keys(r.directed), func(a, b jid.JID) int { return strings.Compare(a.String(), b.String()) })
}

// directedMost bounds the remembered targets of directed presence.
const directedMost = 512

// SetDirected remembers or forgets who got directed presence.
func (r *Resource) SetDirected(to jid.JID, available bool) {
	switch {
	case !available:
		delete(r.directed, to)
	case len(r.directed) < directedMost:
		if r.directed == nil {
			r.directed = map[jid.JID]struct{}{}
		}
		r.directed[to] = struct{}{}
	}
}

// Offer takes the events of an applied batch. It never blocks: when a shard is
// full, the devices of the accounts concerned are told that they are behind.
func (h *Hub) Offer(events []state.Event) {
	for i := range events {
		e := &events[i]
		s := h.shard(e.Account)
		s.mu.Lock()
		list := s.resources(e.Account)
		switch {
		case len(list) == 0 || s.closed:
			s.mu.Unlock()
			continue
		case len(s.queue) >= queueMost:
			s.mu.Unlock()
			h.behind.Add(1)
			for _, r := range list {
				r.device.Behind()
			}
			continue
		}
		s.queue = append(s.queue, job{event: *e})
		first := len(s.queue) == 1
		s.mu.Unlock()
		if first {
			s.poke()
		}
	}
}

// post queues a soft job; it reports false when it was shed.
func (h *Hub) post(account string, do func(*shard)) bool {
	s := h.shard(account)
	s.mu.Lock()
	if s.closed || len(s.queue) >= softMost {
		s.mu.Unlock()
		h.shed.Add(1)
		return false
	}
	s.queue = append(s.queue, job{do: do})
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.poke()
	}
	return true
}

// Stats of a hub.
type Stats struct {
	Resources int64  // bound
	Queued    int    // jobs waiting
	Shed      uint64 // soft stanzas dropped
	Behind    uint64 // events dropped, devices told to read the archive
}

// Stats counts.
func (h *Hub) Stats() Stats {
	st := Stats{Resources: h.count.Load(), Shed: h.shed.Load(), Behind: h.behind.Load()}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		st.Queued += len(s.queue)
		s.mu.Unlock()
	}
	return st
}
