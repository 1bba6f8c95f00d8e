// SPDX-License-Identifier: Apache-2.0

package push

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Reader is what a Pusher reads from.
type Reader interface {
	Pushes(account string) ([]state.Push, error)
	// Pushing gives the accounts that have any.
	Pushing() ([]string, error)
	RoomMembers(room string) ([]state.RoomMember, error)
	RoomMember(room, account string) (state.RoomMember, error)
	// Blocked reports whether an account's blocklist holds an address.
	Blocked(account, address string) (bool, error)
}

// Device is one that an account is connected with, or that may resume.
type Device struct {
	JID jid.JID
	// Here: what is sent to it arrives, and it has not said that nobody looks.
	Here bool
	// Looking: and there is reason to think that somebody does.
	Looking bool
	// Messages to the account reach it.
	Messages bool
	// Node on which it is bound; "" is this one.
	Node string
}

// Note is one notification.
type Note struct {
	Account string
	To      state.Push
	Kind    Kind // never Nothing
	// Tag is the same for the notifications of one conversation of one
	// subscription, and tells nothing else.
	Tag string
}

// PusherOptions of a Pusher.
type PusherOptions struct {
	Domain string
	View   Reader
	// Devices gives an account's.
	Devices func(account string) []Device
	// InRoom reports whether a device has entered a room.
	InRoom func(room jid.JID, d *Device) bool
	// Wants says of which messages of a conversation, given by its bare JID, an account is
	// to be notified; nil is all.
	Wants func(account, with string) Wish
	// OccupantID is what an account is known by in a room (XEP-0421), "" when it is not
	// known; nil knows none.
	OccupantID func(room, account string) string
	// Send hands a note on. It must not block.
	Send func(Note)
	// TagKey makes tags.
	TagKey []byte
	Logger *slog.Logger
}

// Wish is of which messages somebody wants to be notified.
type Wish uint8

// Wishes.
const (
	All      Wish = iota
	Mentions      // that are meant for them
	None
)

// Bounds of a Pusher.
const (
	// jobsMost bounds what waits to be looked at; what comes above it is not
	// pushed: the next message of the account will be.
	jobsMost = 1 << 14
	// resumesWithin is how long a device that was cut off has to come back before its
	// account is told elsewhere of what it may have missed.
	resumesWithin = 10 * time.Second
	// latersMost bounds the devices that are waited for.
	latersMost = 1 << 14
	// membersMost bounds the members of rooms that are remembered.
	membersMost = 200000
)

// Pusher decides who is to be notified of what.
type Pusher struct {
	o       PusherOptions
	wg      sync.WaitGroup
	wake    chan struct{}
	dropped atomic.Uint64
	laters  atomic.Int64

	mu      sync.Mutex // guards all below; a leaf
	queue   []job
	pushing map[string]bool // accounts that may have pushes
	closed  bool

	// Of its goroutine alone.
	rooms   map[string][]string // members of rooms, by bare JID
	members int
	rings   map[ring]rung // calls that were told of
}

// job is something to look at.
type job struct {
	event  state.Event
	missed []route.Out // or what a device did not get
	device jid.JID
}

// NewPusher starts a pusher; Close ends it.
func NewPusher(o PusherOptions) (*Pusher, error) {
	p := &Pusher{o: o, wake: make(chan struct{}, 1), pushing: map[string]bool{}, rooms: map[string][]string{}, rings: map[ring]rung{}}
	all, err := o.View.Pushing()
	if err != nil {
		return nil, err
	}
	for _, account := range all {
		p.pushing[account] = true
	}
	p.wg.Go(p.run)
	return p, nil
}

// Close ends it; what waits is dropped.
func (p *Pusher) Close() {
	p.mu.Lock()
	p.closed, p.queue = true, nil
	p.mu.Unlock()
	p.poke()
	p.wg.Wait()
}

// Dropped counts what was not looked at because too much waited.
func (p *Pusher) Dropped() uint64 { return p.dropped.Load() }

func (p *Pusher) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Offer takes the events of an applied batch. It never blocks.
func (p *Pusher) Offer(events []state.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case state.EventPush:
			p.pushing[e.Account] = true // at most
		case state.EventMessage:
			// What the account says itself may end a call that its phones were told of.
			if !p.pushing[e.Account] || !e.Incoming && !bytes.Contains(e.Message.Payload, []byte(stanza.NSJMI)) {
				continue
			}
		case state.EventSubscription:
			if e.Presence.Type != command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE || !p.pushing[e.Account] {
				continue
			}
		case state.EventRoom:
			// What else happens there is always looked at: members may change.
			if e.Room.Message != nil && (len(p.pushing) == 0 || !e.Room.Duplicate.IsZero()) {
				continue
			}
		default:
			continue
		}
		p.put(job{event: *e})
	}
}

// put queues a job; mu is held.
func (p *Pusher) put(j job) {
	if p.closed {
		return
	}
	if len(p.queue) >= jobsMost {
		p.dropped.Add(1)
		return
	}
	p.queue = append(p.queue, j)
	p.poke()
}

// Missed is told of messages that a device of an account was thought to get, and
// has not acknowledged. If it does not come back soon, the account is told
// elsewhere. It does not block.
func (p *Pusher) Missed(device jid.JID, messages []route.Out) {
	p.mu.Lock()
	pushing := p.pushing[device.Bare().String()]
	p.mu.Unlock()
	if !pushing {
		return
	}
	if p.laters.Add(1) > latersMost {
		p.laters.Add(-1)
		p.dropped.Add(1)
		return
	}
	time.AfterFunc(resumesWithin, func() {
		p.laters.Add(-1)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.put(job{missed: messages, device: device})
	})
}

func (p *Pusher) run() {
	var batch []job
	for range p.wake {
		for {
			p.mu.Lock()
			if p.closed {
				p.mu.Unlock()
				return
			}
			batch, p.queue = p.queue, batch[:0]
			p.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for i := range batch {
				p.look(&batch[i])
				batch[i] = job{}
			}
		}
	}
}

func (p *Pusher) look(j *job) {
	e := &j.event
	switch {
	case j.missed != nil:
		p.missed(j.device, j.missed)
	case e.Kind == state.EventPush:
		p.refresh(e.Account)
	case e.Kind == state.EventMessage:
		p.wrote(e)
	case e.Kind == state.EventSubscription:
		with := e.Presence.From
		p.notify(something{account: e.Account, with: with, sender: with, kind: Request, mentions: always},
			func(d *Device) bool { return d.Messages })
	case e.Room.Message != nil:
		p.said(e.Account, e.Room.Message)
	default:
		p.forgetRoom(e.Account)
	}
}

// wrote notifies of a message between two people.
func (p *Pusher) wrote(e *state.Event) {
	m := stanza.Message(e.Message.Payload)
	if m == nil {
		return
	}
	from, to := bare(e.Message.From), e.Message.To
	it := something{account: e.Account, with: from, sender: e.Message.From, mentions: always}
	takes := func(d *Device) bool { return d.Messages || d.JID.String() == to }
	if at, err := jid.ParseBare(e.Whisper); err == nil {
		// For the devices in the room; where none is, dispatch gives it to all.
		inside := func(d *Device) bool { return p.o.InRoom(at, d) }
		if devices := p.o.Devices(e.Account); slices.ContainsFunc(devices, func(d Device) bool { return inside(&d) }) {
			takes = inside
		}
	}
	var id string
	switch it.kind, id = worth(m); {
	case it.kind == Ended:
		p.ended(&it, ring{e.Account, id})
	case it.kind == Nothing, from == e.Account:
	case p.notify(it, takes) && it.kind == Call:
		p.rang(ring{e.Account, id}, from)
	}
}

// refresh learns whether an account has pushes.
func (p *Pusher) refresh(account string) {
	all, err := p.o.View.Pushes(account)
	if err != nil || len(all) > 0 {
		return // not known: at most
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pushing, account)
}

func bare(j string) string {
	b, _, _ := strings.Cut(j, "/")
	return b
}

// said notifies the members of a room, present or not, of what was said there.
func (p *Pusher) said(room string, m *command.RoomMessage) {
	if m.From == "" || m.Moderates != nil {
		return
	}
	to := p.among(p.membersOf(room), bare(m.From))
	if len(to) == 0 {
		return
	}
	said := stanza.Message(m.Payload)
	if said == nil {
		return
	}
	if k, _ := worth(said); k == Nothing || k == Ended {
		return
	}
	at, err := jid.Parse(room)
	if err != nil {
		return
	}
	for _, account := range to {
		p.notify(something{
			account: account, with: room, sender: room + "/" + m.Nick, kind: Message,
			mentions: func() bool { return mentions(said, p.somebody(room, account)) },
		}, func(d *Device) bool { return p.o.InRoom(at, d) })
	}
}

// among gives those of some accounts that may have pushes, but for one.
func (p *Pusher) among(accounts []string, but string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, account := range accounts {
		if account != but && p.pushing[account] {
			out = append(out, account)
		}
	}
	return out
}

// membersOf gives who is told of what is said in a room.
func (p *Pusher) membersOf(room string) []string {
	if all, ok := p.rooms[room]; ok {
		return all
	}
	members, err := p.o.View.RoomMembers(room)
	if err != nil {
		return nil // it is gone
	}
	all := make([]string, 0, len(members))
	for i := range members {
		if members[i].Affiliation >= command.Affiliation_AFFILIATION_MEMBER && strings.HasSuffix(members[i].JID, "@"+p.o.Domain) {
			all = append(all, members[i].JID)
		}
	}
	if p.members += len(all) + 1; p.members > membersMost {
		clear(p.rooms)
		p.members = len(all) + 1
	}
	p.rooms[room] = all
	return all
}

func (p *Pusher) forgetRoom(room string) {
	if all, ok := p.rooms[room]; ok {
		p.members -= len(all) + 1
		delete(p.rooms, room)
	}
}

// somebody is an account as a room knows it.
func (p *Pusher) somebody(room, account string) *state.Somebody {
	who := &state.Somebody{Room: room, JID: account}
	if m, err := p.o.View.RoomMember(room, account); err == nil {
		who.Nicks = m.Nicks
	}
	if p.o.OccupantID != nil {
		who.Occupant = p.o.OccupantID(room, account)
	}
	return who
}

// something is worth a notification of an account.
type something struct {
	account  string // whose notification
	with     string // bare JID of the conversation
	sender   string
	kind     Kind
	mentions func() bool // it is meant for the account
}

func always() bool { return true }

// wanted reports whether the account wants to be told.
func (p *Pusher) wanted(it *something) bool {
	if blocked, err := p.o.View.Blocked(it.account, it.sender); blocked || err != nil {
		return false
	}
	if it.kind == Call || p.o.Wants == nil {
		return true
	}
	wish := p.o.Wants(it.account, it.with)
	return wish == All || wish == Mentions && it.mentions()
}

// notify sends an account's notifications of something, but not to where it is
// seen anyway: nobody is told what another device shows them, and no device what it shows
// itself. It reports whether anybody was told.
func (p *Pusher) notify(it something, takes func(*Device) bool) bool {
	if !p.wanted(&it) {
		return false
	}
	all, err := p.o.View.Pushes(it.account)
	if err != nil || len(all) == 0 {
		return false
	}
	here := map[string]bool{}
	for _, d := range p.o.Devices(it.account) {
		if !d.Here || !takes(&d) {
			continue
		}
		if d.Looking {
			return false
		}
		here[d.JID.Resource()] = true
	}
	return p.send(&it, all, here)
}

// send tells where an account is to be told, but for devices that are here.
func (p *Pusher) send(it *something, all []state.Push, here map[string]bool) (told bool) {
	for i := range all {
		if to := &all[i]; to.Service != nil && !here[to.Device.Resource] {
			p.o.Send(Note{Account: it.account, To: *to, Kind: it.kind, Tag: p.tag(to.Node, it.with)})
			told = true
		}
	}
	return told
}

// tag makes a Note's.
func (p *Pusher) tag(node, with string) string {
	mac := hmac.New(sha256.New, p.o.TagKey)
	mac.Write([]byte(node + "\x00" + with))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}
