// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/jid"
	"bavard/internal/journal"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// silence is a stream that keeps nothing but the count of stanzas that were
// written to it.
type silence struct {
	take func(*xmlstream.Element, error) bool

	mu       sync.Mutex
	stanzas  int
	presence bool
	pong     chan struct{} // closed when the ping and the own presence are answered
	answered bool
}

func (s *silence) Receive(take func(*xmlstream.Element, error) bool) { s.take = take }
func (s *silence) WebSocket() bool                                   { return true }
func (s *silence) Close(*stanza.StreamError)                         {}

func (s *silence) Write(elements ...[]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range elements {
		if bytes.Contains(e, []byte(stanza.NSSM)) {
			continue
		}
		s.stanzas++
		s.presence = s.presence || bytes.HasPrefix(e, []byte("<presence"))
		s.answered = s.answered || bytes.Contains(e, []byte("'pong'"))
	}
	if s.presence && s.answered && s.pong != nil {
		close(s.pong)
		s.pong = nil
	}
	return nil
}

// login does what clients do, acks what it got and falls silent.
func (s *silence) login(t *testing.T) {
	t.Helper()
	done := s.pong
	iq := func(typ, id string, payload *xmlstream.Element) *xmlstream.Element {
		return xmlstream.New(stanza.NSClient, "iq", "type", typ, "id", id).Add(payload)
	}
	for _, el := range []*xmlstream.Element{
		xmlstream.New(stanza.NSSM, "enable", "resume", "true"),
		iq("set", "carbons", xmlstream.New(stanza.NSCarbons, "enable")),
		iq("get", "roster", xmlstream.New(stanza.NSRoster, "query")),
		xmlstream.New(stanza.NSClient, "presence").Add(xmlstream.NewText(stanza.NSClient, "status", "here")),
		iq("get", "pong", xmlstream.New(stanza.NSPing, "ping")),
	} {
		// Parsed, as on a socket: what is kept of it must not hold the rest.
		el, err := xmlstream.ParseElement(xmlstream.AppendElement(nil, el, ""), xmlstream.AfterAuth)
		if err != nil || !s.take(el, nil) {
			t.Fatalf("the session has ended: %v", err)
		}
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
	}
	s.mu.Lock()
	h := strconv.Itoa(s.stanzas)
	s.mu.Unlock()
	if !s.take(xmlstream.New(stanza.NSSM, "a", "h", h), nil) {
		t.Fatal("the ack was refused")
	}
}

// TestIdleMemory bounds what a session costs on which nothing happens, its
// connection left out: presence, roster, carbons and stream management are on.
// The median of some rounds is taken: now and then what all share grows, too.
func TestIdleMemory(t *testing.T) {
	const rounds, sessions, most = 5, 400, 2560
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(1, 0)), disk: vfs.NewCrashableMem(),
		cluster: journal.NewCluster(journal.ClusterOptions{Linger: time.Microsecond}),
	}
	w.start()
	defer func() { w.teardown(w.node) }()
	keys := w.derive()
	// Accounts are on the disk, which is in memory here: they are made before.
	devices := make([]jid.JID, rounds*sessions+1)
	for i := range devices {
		w.createAccount(bare(i), keys)
		full, err := jid.Parse(bare(i) + "/device")
		if err != nil {
			t.Fatal(err)
		}
		devices[i] = full
	}
	streams := make([]*silence, 0, len(devices))
	login := func(devices []jid.JID) {
		for _, full := range devices {
			s := &silence{pong: make(chan struct{})}
			w.node.sessions.Serve(full, s)
			s.login(t)
			streams = append(streams, s)
		}
	}
	login(devices[:1]) // what all share is made with it
	costs := make([]int, 0, rounds)
	for batch := range slices.Chunk(devices[1:], sessions) {
		before := memory()
		login(batch)
		costs = append(costs, int(int64(memory()-before))/sessions)
	}
	runtime.KeepAlive(streams)
	slices.Sort(costs)
	if cost := costs[rounds/2]; cost > most {
		t.Errorf("%d bytes a session, more than %d: %d", cost, most, costs)
	} else {
		t.Logf("%d bytes a session, bound %d: %d", cost, most, costs)
	}
}

// memory gives the bytes of heap objects and stacks in use.
func memory() uint64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}
