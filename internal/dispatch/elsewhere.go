// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"
	"sync"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Elsewhere is what the hub knows of the other nodes of the cell and says to
// them. Its methods must not block and must not call the hub.
type Elsewhere interface {
	// Tell says how a resource of this node is from now on; gone: that it is no
	// more. It is called under the lock of a shard, so that what is said of one
	// resource is in order.
	Tell(b Bound, gone bool)
	// Bound gives the resources of an account on other nodes; read-only.
	Bound(account string) []Remote
	// All calls f with each resource on another node.
	All(f func(Remote))
	// Pass hands a stanza to a node. It reports false when that is not reached
	// now, or too much waits for it.
	Pass(node string, p Passed) bool
	// Whole reports whether it is known of every node who is there, or that
	// the node is gone.
	Whole() bool
}

// Bound is the state of a resource, as the other nodes know it. What it points
// to is never changed.
type Bound struct {
	JID    jid.JID
	Client string // names the software on the device; "" when that is not known
	Since  time.Time
	// Turn is higher than that of what was bound before of the same resource, or the
	// same software: the highest holds it, wherever it is.
	Turn      uint64
	Available bool
	Priority  int8
	Carbons   bool
	// Hidden: the account hides its presence from others.
	Hidden bool
	// Presence is its last, nil when it has sent none; unavailable, with what it
	// said, when it is not available any more.
	Presence *xmlstream.Element
	Attention
}

// Remote is a resource on another node.
type Remote struct {
	Bound
	Node string
}

// Messages reports whether messages to the account reach it, or copies of them.
func (b *Bound) Messages() bool { return b.Available && b.Priority >= 0 || b.Carbons }

// Way says what a node is to do with a stanza that it is handed.
type Way uint8

// Ways.
const (
	// Whole: give it to whom it is for.
	Whole Way = iota
	// Received: only copy it to the recipient's devices (XEP-0280).
	Received
	// Sent: only copy it to the sender's devices.
	Sent
	waysMost
)

// Valid reports whether it is one of the above.
func (w Way) Valid() bool { return w < waysMost }

// Passed is a stanza from one node to another. No blocklist keeps it back: that
// was looked at where it comes from.
type Passed struct {
	From, To jid.JID
	Stanza   *xmlstream.Element
	Way      Way
	// Carbons and Bounce as in route.Deliver.
	Carbons, Bounce bool
}

// guests remembers to whom resources of other nodes have sent directed presence.
type guests struct {
	mu   sync.Mutex // a leaf
	seen map[jid.JID]map[jid.JID]struct{}
}

func (g *guests) note(from, to jid.JID, available bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	set := g.seen[from]
	switch {
	case !available:
		if delete(set, to); len(set) == 0 {
			delete(g.seen, from)
		}
	case len(set) < directedMost:
		if set == nil {
			if g.seen == nil {
				g.seen = map[jid.JID]map[jid.JID]struct{}{}
			}
			set = map[jid.JID]struct{}{}
			g.seen[from] = set
		}
		set[to] = struct{}{}
	}
}

// take forgets a resource and gives who got its directed presence.
func (g *guests) take(from jid.JID) []jid.JID {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := Resource{directed: g.seen[from]}
	delete(g.seen, from)
	return r.directedTo()
}

// tell says to the other nodes how a resource is; the lock of its shard is held.
func (h *Hub) tell(r *Resource, gone bool) {
	if h.o.Elsewhere == nil {
		return
	}
	b := h.bound(r)
	r.told = b.Attention
	h.o.Elsewhere.Tell(b, gone)
}

func (h *Hub) bound(r *Resource) Bound {
	return Bound{
		JID: r.JID, Client: r.client, Since: r.since, Turn: r.turn, Available: r.available, Priority: r.priority, Carbons: r.carbons,
		Hidden: h.o.View.Hidden(r.JID.Bare().String()), Presence: r.said(), Attention: r.device.Attention(),
	}
}

// said is the presence that a resource is seen with; the lock of its shard is held.
func (r *Resource) said() *xmlstream.Element {
	if r.available {
		return r.presence
	}
	return r.lastWords
}

// Noticed is told that somebody may have begun or ceased to look at a device.
func (h *Hub) Noticed(r *Resource) {
	if h.o.Elsewhere == nil {
		return
	}
	s := h.shard(r.JID.Bare().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.gone && r.told != r.device.Attention() {
		h.tell(r, false)
	}
}

// others gives the resources of an account on other nodes.
func (h *Hub) others(account string) []Remote {
	if h.o.Elsewhere == nil {
		return nil
	}
	return h.o.Elsewhere.Bound(account)
}

// turn is that of a resource that is being bound: it comes after those that it
// replaces, here and elsewhere. Of some that were bound by nodes that did not hear of
// each other, the clock tells.
func turn(full jid.JID, client string, since time.Time, here []*Resource, there []Remote) uint64 {
	last := uint64(max(since.UnixMilli(), 1)) - 1
	for _, r := range here {
		last = max(last, r.turn)
	}
	for i := range there {
		if there[i].JID == full || client != "" && there[i].Client == client {
			last = max(last, there[i].Turn)
		}
	}
	return last + 1
}

// staying counts the resources on other nodes that the binding of one here does
// not replace.
func staying(full jid.JID, client string, there []Remote) (n int) {
	for i := range there {
		if there[i].JID != full && (client == "" || there[i].Client != client) {
			n++
		}
	}
	return n
}

// hand gives a soft stanza to whom it is for, on any node. It gives the error
// for the sender when nobody took what has to be answered.
func (h *Hub) hand(s *shard, account string, from jid.JID, d route.Deliver) *stanza.Error {
	if d.Told || h.o.Elsewhere == nil {
		if asks(d.Stanza) && !h.acquainted(s, from, d.To) || !h.soft(s, account, d) {
			return unheard(d)
		}
		return nil
	}
	there := h.others(account)
	exact := !d.To.IsBare()
	if exact && !h.holds(s, account, d.To) {
		if i := slices.IndexFunc(there, func(r Remote) bool { return r.JID == d.To }); i >= 0 {
			return h.handOver(s, account, from, d, there, there[i].Node)
		}
		exact = false
	}
	if asks(d.Stanza) && !h.acquainted(s, from, d.To) {
		return unheard(d)
	}
	got := h.soft(s, account, d)
	if exact {
		h.passCarbons(Received, from, d.To, d, there, "")
		return nil
	}
	if h.passAll(from, d, there) || got || !d.Bounce {
		return nil
	}
	if !d.To.IsBare() && !h.o.Elsewhere.Whole() {
		return untold()
	}
	return unheard(d)
}

// handOver gives a stanza to the node that has the resource that it is for.
func (h *Hub) handOver(s *shard, account string, from jid.JID, d route.Deliver, there []Remote, node string) *stanza.Error {
	ok := h.o.Elsewhere.Pass(node, Passed{From: from, To: d.To, Stanza: d.Stanza, Carbons: d.Carbons, Bounce: d.Bounce && !d.Quiet})
	if d.Carbons {
		h.softCarbons(s, "received", account, d.Stanza.Get("from"), d.Stanza, nil)
		h.passCarbons(Received, from, d.To, d, there, node)
	}
	if !ok && d.Bounce {
		return untold()
	}
	return nil
}

// passAll gives what is for all devices of an account to the other nodes. It
// reports whether any has a device that gets it.
func (h *Hub) passAll(from jid.JID, d route.Deliver, there []Remote) (got bool) {
	if len(there) == 0 || d.Stanza.Name.Local == "iq" || !d.To.IsBare() && !forPerson(d.Stanza) {
		return false
	}
	nodes := map[string]bool{}
	for i := range there {
		r := &there[i]
		gets := r.Available && (r.Priority >= 0 || d.Stanza.Name.Local == "presence")
		if gets || d.Carbons && r.Carbons {
			nodes[r.Node] = nodes[r.Node] || gets
		}
	}
	for node, gets := range nodes {
		if h.o.Elsewhere.Pass(node, Passed{From: from, To: d.To, Stanza: d.Stanza, Carbons: d.Carbons}) && gets {
			got = true
		}
	}
	return got
}

// passCarbons has nodes but one copy a stanza to the devices that want copies.
func (h *Hub) passCarbons(way Way, from, to jid.JID, d route.Deliver, there []Remote, but string) {
	if !d.Carbons {
		return
	}
	var nodes []string
	for i := range there {
		if n := there[i].Node; there[i].Carbons && n != but && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
			h.o.Elsewhere.Pass(n, Passed{From: from, To: to, Stanza: d.Stanza, Way: way})
		}
	}
}

// holds reports whether a resource is bound here.
func (h *Hub) holds(s *shard, account string, full jid.JID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.resources(account), func(r *Resource) bool { return r.JID == full })
}

// unheard is what the sender of a stanza that nobody took is told, if anything.
func unheard(d route.Deliver) *stanza.Error {
	if !d.Bounce {
		return nil
	}
	return stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
}

// untold: the device may be on a node that is not reached.
func untold() *stanza.Error {
	return stanza.Err(stanza.Wait, stanza.RemoteServerTimeout, "where that device may be is not reached at the moment; try again")
}

// Arrived takes a stanza from another node. It does not block.
func (h *Hub) Arrived(node string, p Passed) {
	account := p.To.Bare().String()
	if p.Way == Sent {
		account = p.From.Bare().String()
	}
	d := route.Deliver{To: p.To, Stanza: p.Stanza, Carbons: p.Carbons, Bounce: p.Bounce}
	posted := h.post(account, func(s *shard) {
		switch p.Way {
		case Received:
			h.softCarbons(s, "received", account, p.Stanza.Get("from"), p.Stanza, nil)
			return
		case Sent:
			h.softCarbons(s, "sent", account, p.From.String(), p.Stanza, nil)
			return
		}
		if p.Stanza.Name.Local == "presence" {
			h.guests.note(p.From, p.To, p.Stanza.Get("type") == "")
		}
		if asks(p.Stanza) && !h.acquainted(s, p.From, p.To) || !h.soft(s, account, d) {
			h.bounce(node, p, unheard(d))
		}
	})
	if !posted {
		h.bounce(node, p, unheard(d))
	}
}

// bounce answers who sent a stanza from another node.
func (h *Hub) bounce(node string, p Passed, err *stanza.Error) {
	if err != nil && p.Way == Whole {
		h.o.Elsewhere.Pass(node, Passed{From: p.To, To: p.From, Stanza: err.Reply(p.Stanza)})
	}
}

// Changed takes that a resource on another node was so and is so now; nil: it was
// not, or is no more. lost: nobody has said that it goes. It is called in order for
// one resource, and reads the view.
func (h *Hub) Changed(node string, was, is *Bound, lost bool) {
	if is != nil {
		h.yield(node, is)
	}
	var told []string
	if p := seen(was, is); p != nil {
		told = h.spread(p, is)
	}
	if is == nil {
		for _, to := range h.guests.take(was.JID) {
			if lost && !h.shown(was.JID) && !slices.Contains(told, to.Bare().String()) {
				h.passHere(gone(was.JID.String(), to.String()))
			}
		}
		if account := was.JID.Bare().String(); lost && h.o.Lost != nil && !h.here(account) && len(h.others(account)) == 0 {
			h.o.Lost(account)
		}
	}
}

// seen gives the presence that tells of a change, nil when nobody is to see one.
func seen(was, is *Bound) *xmlstream.Element {
	before := was != nil && was.Available
	switch {
	case is != nil && is.Available && is.Presence != nil:
		if before && was.Presence == is.Presence {
			return nil
		}
		return is.Presence
	case !before:
		return nil
	case is != nil && is.Presence != nil && is.Presence.Get("type") == "unavailable":
		return is.Presence
	}
	return gone(was.JID.String(), "")
}

// shown reports whether a resource is available, on any node.
func (h *Hub) shown(full jid.JID) bool {
	bare := full.Bare().String()
	s := h.shard(bare)
	s.mu.Lock()
	here := slices.ContainsFunc(s.resources(bare), func(r *Resource) bool { return r.JID == full && r.available })
	s.mu.Unlock()
	return here || slices.ContainsFunc(h.others(bare), func(r Remote) bool { return r.JID == full && r.Available })
}

// spread shows the devices here the presence of one on another node, as far as
// their accounts may see it, and gives these.
func (h *Hub) spread(p *xmlstream.Element, is *Bound) (told []string) {
	full, err := jid.Parse(p.Get("from"))
	if err != nil || h.count.Load() == 0 || p.Get("type") == "unavailable" && h.shown(full) {
		return nil
	}
	account := full.Bare().String()
	to := []string{account}
	if !h.o.View.Hidden(account) && (is == nil || !is.Hidden) {
		to = append(to, h.watchers(account)...)
	}
	for _, contact := range to {
		if h.here(contact) && h.passTo(p, contact, h.passHere) {
			told = append(told, contact)
		}
	}
	return told
}

// here reports whether an account has a device on this node.
func (h *Hub) here(account string) bool {
	s := h.shard(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.resources(account)) > 0
}

// yield ends the devices here that one on another node has replaced (RFC 6120
// §7.7.2.2; XEP-0386 §bind-request @1.1.0).
func (h *Hub) yield(node string, b *Bound) {
	bare := b.JID.Bare().String()
	s := h.shard(bare)
	var save command.Position
	s.mu.Lock()
	a := s.accounts[bare]
	if a == nil {
		s.mu.Unlock()
		return
	}
	outs := a.remove(func(r *Resource) bool {
		return (r.JID == b.JID || b.Client != "" && r.client == b.Client) && h.before(r, node, b)
	})
	var displaced []*Displaced
	for _, out := range outs {
		displaced = append(displaced, h.displace(out))
	}
	if len(outs) > 0 && len(a.resources) == 0 {
		save = a.unsaved()
		delete(s.accounts, bare)
	}
	s.mu.Unlock()
	h.count.Add(-int64(len(outs)))
	h.save(bare, save, false)
	for i, out := range outs {
		out.device.Replaced()
		if displaced[i].Available {
			h.spread(gone(out.JID.String(), ""), nil)
		}
		for _, to := range displaced[i].Directed {
			h.pass(gone(out.JID.String(), to.String()))
		}
	}
}

// before reports whether a device here was bound before one on another node.
func (h *Hub) before(r *Resource, node string, b *Bound) bool {
	if r.turn != b.Turn {
		return r.turn < b.Turn
	}
	return h.o.Node < node
}

// displace notes that a resource has been taken out; the lock of its shard is held.
func (h *Hub) displace(out *Resource) *Displaced {
	d := &Displaced{JID: out.JID, Available: out.available, Directed: out.directedTo()}
	out.gone, out.available, out.directed = true, false, nil
	h.watch(out, nil)
	h.tell(out, true)
	return d
}
