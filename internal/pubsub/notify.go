// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	workers = 4
	// jobsMost bounds the jobs of a worker; what comes above it is dropped: a
	// device finds it when it comes back or asks.
	jobsMost = 1 << 14
)

// Readers is what a Notifier reads from.
type Readers interface {
	Reader
	Roster(account string) ([]state.RosterItem, command.Position, error)
	PubsubLast(account string, nodes []string) ([]state.PubsubLast, error)
}

// NotifierOptions of a Notifier.
type NotifierOptions struct {
	Domain string
	View   Readers
	// Deliver hands a soft stanza to a connected device.
	Deliver func(from jid.JID, d route.Deliver)
	Logger  *slog.Logger
}

// Notifier tells devices what changed in the nodes that they are interested
// in (XEP-0163 §notify @1.2.2). Which ones these are they say by their
// capabilities. All that it knows is soft.
//
// Everything about the nodes of one account is done by one worker, in order:
// what a device is told last of a node is its latest state.
type Notifier struct {
	o       NotifierOptions
	domain  jid.JID
	seed    maphash.Seed
	workers [workers]worker
	wg      sync.WaitGroup
	dropped atomic.Uint64

	mu      sync.Mutex // guards all below; a leaf but for a worker's lock
	devices map[string][]*device
	known   known
}

// device is an available resource that has told its capabilities.
type device struct {
	jid      jid.JID
	caps     caps
	asked    bool
	gone     bool
	interest []string // sorted; never written to once made
}

type worker struct {
	mu     sync.Mutex
	queue  []func()
	wake   chan struct{}
	closed bool
}

// NewNotifier starts a notifier; Close ends it.
func NewNotifier(o NotifierOptions) (*Notifier, error) {
	domain, err := jid.Parse(o.Domain)
	if err != nil {
		return nil, err
	}
	n := &Notifier{o: o, domain: domain, seed: maphash.MakeSeed(), devices: map[string][]*device{}}
	for i := range n.workers {
		w := &n.workers[i]
		w.wake = make(chan struct{}, 1)
		n.wg.Go(w.run)
	}
	return n, nil
}

// Close ends the workers; queued jobs are dropped.
func (n *Notifier) Close() {
	for i := range n.workers {
		w := &n.workers[i]
		w.mu.Lock()
		w.closed, w.queue = true, nil
		w.mu.Unlock()
		w.poke()
	}
	n.wg.Wait()
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) run() {
	var batch []func()
	for range w.wake {
		for {
			w.mu.Lock()
			if w.closed {
				w.mu.Unlock()
				return
			}
			batch, w.queue = w.queue, batch[:0]
			w.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for i, do := range batch {
				do()
				batch[i] = nil
			}
		}
	}
}

func (n *Notifier) worker(account string) int {
	return int(maphash.String(n.seed, account) % workers)
}

// post queues a job for a worker; it never blocks.
func (n *Notifier) post(worker int, do func()) {
	w := &n.workers[worker]
	w.mu.Lock()
	if w.closed || len(w.queue) >= jobsMost {
		w.mu.Unlock()
		n.dropped.Add(1)
		return
	}
	w.queue = append(w.queue, do)
	first := len(w.queue) == 1
	w.mu.Unlock()
	if first {
		w.poke()
	}
}

// Dropped counts what could not be queued.
func (n *Notifier) Dropped() uint64 { return n.dropped.Load() }

// Offer takes the events of an applied batch. It never blocks.
func (n *Notifier) Offer(events []state.Event) {
	for i := range events {
		e := &events[i]
		switch {
		case e.Kind == state.EventPubsub && e.Pubsub != nil:
			account, at, change := e.Account, e.Position, e.Pubsub
			n.post(n.worker(account), func() { n.changed(account, at, change) })
		case e.Kind == state.EventSubscription && e.Presence.Type == command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED:
			owner, subscriber := e.Presence.From, e.Account
			n.post(n.worker(owner), func() { n.subscribed(owner, subscriber) })
		}
	}
}

// Watch learns of a resource's presence, nil when it is unavailable. It never
// blocks and calls nobody.
func (n *Notifier) Watch(full jid.JID, presence *xmlstream.Element) {
	bare := full.Bare().String()
	if presence == nil {
		n.forget(full, bare)
		return
	}
	id, ok := capsOf(presence)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.device(full)
	if d == nil {
		d = &device{jid: full}
		n.devices[bare] = append(n.devices[bare], d)
	} else if d.caps == id {
		return
	}
	d.caps, d.asked = id, false
	names, ok := n.known.get(id)
	if ok {
		n.learn(d, names)
		return
	}
	d.asked = true
	n.post(n.worker(bare), func() {
		n.o.Deliver(n.domain, route.Deliver{To: full, Quiet: true, Stanza: xmlstream.New(stanza.NSClient, "iq", "type", "get",
			"id", id.queryID(), "from", n.o.Domain, "to", full.String()).Add(id.query())})
	})
}

// device finds one; mu is held.
func (n *Notifier) device(full jid.JID) *device {
	for _, d := range n.devices[full.Bare().String()] {
		if d.jid == full {
			return d
		}
	}
	return nil
}

func (n *Notifier) forget(full jid.JID, bare string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.devices[bare]
	i := slices.IndexFunc(list, func(d *device) bool { return d.jid == full })
	if i < 0 {
		return
	}
	list[i].gone = true
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(n.devices, bare)
		return
	}
	n.devices[bare] = list
}

// Answered takes a device's answer to a request of the server; others than
// those about capabilities are passed over. It never blocks and calls nobody.
func (n *Notifier) Answered(full jid.JID, iq *xmlstream.Element) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.device(full)
	if d == nil || !d.asked || iq.Get("id") != d.caps.queryID() {
		return
	}
	d.asked = false
	asked := d.caps
	info := iq.Child(stanza.NSDiscoInfo, "query")
	if iq.Get("type") != "result" || info == nil {
		return
	}
	n.post(n.worker(full.Bare().String()), func() {
		names, verified := interests(info), asked.verified(info)
		n.mu.Lock()
		defer n.mu.Unlock()
		if verified {
			n.known.put(asked, names)
		}
		// What does not hash to what was said holds for this device alone.
		if d.caps == asked {
			n.learn(d, names)
		}
	})
}

// learn notes what a device is interested in, and has it sent the last items of
// the nodes that are new to it (XEP-0163 §notify-last @1.2.2); mu is held.
func (n *Notifier) learn(d *device, names []string) {
	var fresh []string
	for _, name := range names {
		if _, had := slices.BinarySearch(d.interest, name); !had {
			fresh = append(fresh, name)
		}
	}
	d.interest = names
	if d.gone || len(fresh) == 0 {
		return
	}
	n.post(n.worker(d.jid.Bare().String()), func() { n.arrived(d, fresh) })
}

// arrived has a device sent the last items of its account and of those whose
// presence the account is subscribed to, by the workers of each.
func (n *Notifier) arrived(d *device, names []string) {
	own := d.jid.Bare().String()
	var owners [workers][]string
	add := func(account string) {
		w := n.worker(account)
		owners[w] = append(owners[w], account)
	}
	add(own)
	items, _, err := n.o.View.Roster(own)
	if err != nil {
		n.o.Logger.Debug("read a roster", "err", err)
	}
	for i := range items {
		if to(&items[i]) {
			add(items[i].JID)
		}
	}
	for w, list := range owners {
		if len(list) > 0 {
			n.post(w, func() {
				for _, owner := range list {
					n.last(owner, d, names, false)
				}
			})
		}
	}
}

// subscribed sends the last items of an account to the devices of a contact
// that may see its presence from now on.
func (n *Notifier) subscribed(owner, subscriber string) {
	n.mu.Lock()
	list := slices.Clone(n.devices[subscriber])
	interests := make([][]string, len(list))
	for i, d := range list {
		interests[i] = d.interest
	}
	n.mu.Unlock()
	for i, d := range list {
		if len(interests[i]) > 0 {
			n.last(owner, d, interests[i], true)
		}
	}
}

// last sends a device the last items of these nodes of an account, as far as
// it may see them. Errors are soft: the client can ask.
func (n *Notifier) last(owner string, d *device, names []string, subscribed bool) {
	n.mu.Lock()
	gone := d.gone
	n.mu.Unlock()
	if gone {
		return
	}
	found, err := n.o.View.PubsubLast(owner, names)
	if err != nil {
		n.o.Logger.Debug("read the last items of an account", "err", err)
		return
	}
	for i := range found {
		c := found[i].Node.Config
		when := c.GetSendLast()
		if when == command.SendLast_SEND_LAST_NEVER || when == command.SendLast_SEND_LAST_ON_SUB && !subscribed {
			continue
		}
		if !c.GetDeliverNotifications() || denied(n.o.View, owner, d.jid.Bare().String(), found[i].Node.Name, c) != nil {
			continue
		}
		event := published(found[i].Node.Name, c, &found[i].Item)
		if event == nil {
			continue
		}
		n.send(owner, d.jid, c, event, delayed(&found[i].Item))
	}
}

// delayed says when an item was published that is sent later.
func delayed(i *state.PubsubItem) *xmlstream.Element {
	return xmlstream.New(stanza.NSDelay, "delay", "stamp", i.Time.UTC().Format(route.TimeLayout))
}

// send addresses a notification as XEP-0163 §notify-addressing @1.2.2 has it.
func (n *Notifier) send(owner string, to jid.JID, c *command.PubsubConfig, children ...*xmlstream.Element) {
	from, err := jid.ParseBare(owner)
	if err != nil {
		return
	}
	typ := "headline"
	if c.GetNormal() {
		typ = ""
	}
	n.o.Deliver(from, route.Deliver{To: to, Quiet: true, Stanza: xmlstream.New(stanza.NSClient, "message",
		"from", owner, "to", to.String(), "type", typ).Add(children...)})
}

// eventOf is the payload that tells of a change, nil when the node is
// configured not to tell.
func eventOf(e *state.PubsubEvent) *xmlstream.Element {
	c, event := e.Config, xmlstream.New(stanza.NSPubsubEvent, "event")
	switch {
	case e.Kind == state.PubsubPublished:
		return published(e.Node, c, &e.Item)
	case e.Kind == state.PubsubRetracted && (e.Notify || c.GetNotifyRetract()):
		return event.Add(xmlstream.New(stanza.NSPubsubEvent, "items", "node", e.Node).
			Add(xmlstream.New(stanza.NSPubsubEvent, "retract", "id", e.Item.ID)))
	case e.Kind == state.PubsubPurged && c.GetNotifyRetract():
		return event.Add(xmlstream.New(stanza.NSPubsubEvent, "purge", "node", e.Node))
	case e.Kind == state.PubsubDeleted && c.GetNotifyDelete():
		return event.Add(xmlstream.New(stanza.NSPubsubEvent, "delete", "node", e.Node))
	case e.Kind == state.PubsubConfigured && c.GetNotifyConfig():
		configuration := xmlstream.New(stanza.NSPubsubEvent, "configuration", "node", e.Node)
		if c.GetDeliverPayloads() {
			configuration.Add(form("result", nodeConfig, c))
		}
		return event.Add(configuration)
	}
	return nil
}

// published is the event of an item, with its payload unless the node is
// configured otherwise.
func published(node string, c *command.PubsubConfig, i *state.PubsubItem) *xmlstream.Element {
	item := xmlstream.New(stanza.NSPubsubEvent, "item", "id", i.ID)
	if c.GetDeliverPayloads() {
		payload, err := xmlstream.ParseElement(i.Payload, xmlstream.AfterAuth)
		if err != nil {
			return nil // it was an element when it was published
		}
		item.Add(payload)
	}
	return xmlstream.New(stanza.NSPubsubEvent, "event").Add(xmlstream.New(stanza.NSPubsubEvent, "items", "node", node).Add(item))
}
