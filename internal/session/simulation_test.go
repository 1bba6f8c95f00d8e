// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/drill/oracle"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

var (
	seeds = flag.Int("seeds", 20, "how many random histories TestSimulation plays") // immutable after flags are parsed
	seed0 = flag.Uint64("seed", 1, "the first of them")                             // immutable after flags are parsed
)

// TestSimulation plays random histories on the deterministic core: real
// sessions, routing, view and dispatch on fake time, over an in-memory journal
// that loses, delays and refuses attempts, with connections that break and
// nodes that lose their power. Clients send what has no tick again. The oracle
// must count nothing.
func TestSimulation(t *testing.T) {
	for i := range uint64(*seeds) {
		seed := *seed0 + i
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			v := simulate(t, seed, false)
			if !v.Clean() || v.Unread > 0 || v.Ticked < 50 {
				t.Errorf("seed %d: %v\n%s", seed, v, strings.Join(v.Findings, "\n"))
			}
		})
	}
}

// TestSimulationWithoutDedupe shows that the histories would catch a server
// that stores repetitions.
func TestSimulationWithoutDedupe(t *testing.T) {
	duplicated := 0
	for seed := range uint64(10) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { duplicated += simulate(t, seed, true).Duplicated })
	}
	if duplicated == 0 {
		t.Error("no history found the missing dedupe")
	}
}

func simulate(t *testing.T, seed uint64, noDedupe bool) (v oracle.Verdict) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, noDedupe)
		w.play()
		v = oracle.Judge(w.log.History())
	})
	return v
}

// play runs a history: a minute of traffic with faults, then everything heals
// and is read.
func (w *world) play() {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range accounts {
		c := &client{w: w, n: i, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 3)), sent: map[string]uint32{}}
		w.clients = append(w.clients, c)
		wg.Go(func() { c.run(stop) })
	}
	for range 8 {
		time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Millisecond) // fake time
		switch w.rng.IntN(4) {
		case 0:
			w.crash()
			time.Sleep(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
			w.start()
		default:
			w.clients[w.rng.IntN(accounts)].cut()
		}
	}
	close(stop)
	wg.Wait()
	w.read()
	w.teardown(w.up())
}

// read gives every archive to the oracle.
func (w *world) read() {
	n := w.up()
	if err := n.cell.Current(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	for i := range accounts {
		a := oracle.Archive{Node: "a", Account: bare(i)}
		q := state.Query{Account: bare(i), Max: 100}
		for {
			page, err := n.cell.Archive(context.Background(), q)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, e := range page.Entries {
				a.Entries = append(a.Entries, oracle.Entry{
					ArchiveID: n.ids.ID(e.Position), OriginID: e.Message.OriginId,
					From: e.Message.From[:strings.IndexByte(e.Message.From, '/')], To: e.Message.To, Body: body(e.Message.Payload),
				})
				q.After = e.Position
			}
			if page.Complete {
				break
			}
		}
		w.log.Read(a)
	}
}

func body(payload []byte) string {
	el, err := xmlstream.ParseElement(append(append([]byte("<m xmlns='jabber:client'>"), payload...), "</m>"...), xmlstream.AfterAuth)
	if err != nil {
		return "unreadable"
	}
	return el.Child(stanza.NSClient, "body").Text()
}

// client is a device with an outbox: what has no tick is sent again.
type client struct {
	w   *world
	n   int
	rng *rand.Rand

	mu     sync.Mutex
	wire   *wire
	outbox []*xmlstream.Element // no tick yet, the oldest first
	sent   map[string]uint32    // their counts on this stream
	count  uint32               // stanzas sent on this stream
	got    uint32               // stanzas received
	previd string
	next   int
	name   string
	ready  bool // this connection may send: its stream is new or resumed
}

func (c *client) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire != nil {
		c.wire.sever()
	}
}

// run connects again and again until told to stop and nothing is left in the
// outbox.
func (c *client) run(stop chan struct{}) {
	for stream := range 1000 {
		if n := c.w.up(); n != nil && !c.connect(n, stream, stop) {
			return
		}
		time.Sleep(time.Duration(50+c.rng.IntN(300)) * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.t.Errorf("client %d does not come to an end: %d in the outbox, %d sent, counts %v", c.n, len(c.outbox), c.count, c.sent)
}

// connect has one connection; it reports whether another is needed.
func (c *client) connect(n *node, stream int, stop chan struct{}) bool {
	full, err := jid.Parse(bare(c.n) + "/device")
	if err != nil {
		c.w.t.Error(err)
		return false
	}
	w := newWire()
	c.mu.Lock()
	previd, got := c.previd, c.got
	c.wire, c.ready = w, false
	c.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	if previd != "" {
		if r, _, _ := n.sessions.Resume(full.Bare(), previd, got); r != nil {
			wg.Go(func() { n.sessions.ServeResumed(r, w, nil) })
			return c.converse(w, stop)
		}
	}
	c.mu.Lock()
	c.previd, c.got, c.count, c.sent = "", 0, 0, map[string]uint32{}
	c.name = fmt.Sprintf("%d-%d", c.n, stream)
	c.ready = true
	c.mu.Unlock()
	wg.Go(func() { n.sessions.Serve(full, w) })
	w.send(xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
	c.stanza(w, xmlstream.New(stanza.NSClient, "presence"), "")
	c.mu.Lock()
	again := c.outbox
	c.mu.Unlock()
	for _, m := range again {
		c.stanza(w, m.Clone(), m.Get("id"))
	}
	return c.converse(w, stop)
}

// stanza sends one and counts it.
func (c *client) stanza(w *wire, el *xmlstream.Element, id string) {
	c.mu.Lock()
	c.count++
	if id != "" {
		c.sent[id] = c.count
	}
	c.mu.Unlock()
	w.send(el)
}

// converse sends at random moments and takes what comes, until the connection
// ends.
func (c *client) converse(w *wire, stop chan struct{}) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			el, ok := w.receive()
			if !ok {
				return
			}
			c.take(w, el)
		}
	}()
	for {
		select {
		case <-done:
			return true
		case <-stop:
			if c.drained(w, done) {
				w.hangUp()
				<-done
				return false
			}
			<-done
			return true
		case <-time.After(time.Duration(c.rng.IntN(400)) * time.Millisecond):
			c.say(w)
		}
	}
}

// drained waits until the outbox is empty or the connection ended.
func (c *client) drained(w *wire, done chan struct{}) bool {
	for range 200 {
		c.mu.Lock()
		empty := len(c.outbox) == 0
		c.mu.Unlock()
		if empty {
			return true
		}
		w.send(xmlstream.New(stanza.NSSM, "r"))
		select {
		case <-done:
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
	c.w.t.Errorf("client %d: the outbox does not drain", c.n)
	w.sever()
	return false
}

func (c *client) say(w *wire) {
	to := bare((c.n + 1 + c.rng.IntN(accounts-1)) % accounts)
	if c.rng.IntN(6) == 0 { // presence is held back and let go meanwhile
		w.send(xmlstream.New(stanza.NSCSI, []string{"active", "inactive"}[c.rng.IntN(2)]))
	}
	c.mu.Lock()
	if !c.ready {
		c.mu.Unlock()
		return
	}
	c.next++
	id := fmt.Sprintf("m%d-%d", c.n, c.next)
	m := xmlstream.New(stanza.NSClient, "message", "to", to, "type", "chat", "id", id).Add(
		xmlstream.NewText(stanza.NSClient, "body", "text of "+id), xmlstream.New(stanza.NSSID, "origin-id", "id", id))
	c.outbox = append(c.outbox, m)
	c.mu.Unlock()
	c.w.log.Invoke(oracle.Message{ID: id, Sender: strconv.Itoa(c.n), From: bare(c.n), To: to, Body: "text of " + id})
	c.stanza(w, m.Clone(), id)
}

// take handles one element from the server.
func (c *client) take(w *wire, el *xmlstream.Element) {
	if el.Name.Space == stanza.NSSM {
		c.manage(w, el)
		return
	}
	c.mu.Lock()
	c.got++
	stream := c.name
	c.mu.Unlock()
	if el.Name.Local != "message" {
		return
	}
	if el.Get("type") == "error" {
		c.w.t.Errorf("client %d: %s was refused", c.n, el.Get("id"))
		return
	}
	from, err := jid.Parse(el.Get("from"))
	if err != nil {
		c.w.t.Error(err)
		return
	}
	c.w.log.See(oracle.Sighting{Device: strconv.Itoa(c.n), Account: bare(c.n), Stream: stream, Entry: oracle.Entry{
		ArchiveID: el.Child(stanza.NSSID, "stanza-id").Get("id"), OriginID: el.Child(stanza.NSSID, "origin-id").Get("id"),
		From: from.Bare().String(), To: el.Get("to"), Body: el.Child(stanza.NSClient, "body").Text(),
	}})
}

func (c *client) manage(w *wire, el *xmlstream.Element) {
	switch el.Name.Local {
	case "enabled":
		c.mu.Lock()
		c.previd = el.Get("id")
		c.mu.Unlock()
	case "r":
		c.mu.Lock()
		h := c.got
		c.mu.Unlock()
		w.send(xmlstream.New(stanza.NSSM, "a", "h", strconv.FormatUint(uint64(h), 10)))
	case "a", "resumed":
		h, err := strconv.ParseUint(el.Get("h"), 10, 32)
		if err != nil {
			c.w.t.Error(err)
			return
		}
		again := c.ticked(uint32(h))
		if el.Name.Local == "resumed" {
			c.repeat(w, uint32(h), again)
		}
	}
}

// ticked takes what h covers out of the outbox and gives what is left.
func (c *client) ticked(h uint32) []*xmlstream.Element {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h > c.count {
		c.w.log.Contradict("", fmt.Sprintf("h %d of %d sent", h, c.count))
	}
	var left []*xmlstream.Element
	for _, m := range c.outbox {
		if n, ok := c.sent[m.Get("id")]; ok && n <= h {
			c.w.log.Tick(m.Get("id"))
			continue
		}
		left = append(left, m)
	}
	c.outbox = left
	return append([]*xmlstream.Element(nil), left...)
}

// repeat sends after a resumption what the server has not counted.
func (c *client) repeat(w *wire, h uint32, again []*xmlstream.Element) {
	c.mu.Lock()
	c.count = h
	c.mu.Unlock()
	for _, m := range again {
		c.stanza(w, m.Clone(), m.Get("id"))
	}
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
}
