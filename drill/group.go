// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	randv2 "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/drill/client"
	"bavard/drill/node"
	"bavard/drill/oracle"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// groupAddress is the room that the members of the group chat in.
const groupAddress = "group@rooms.localhost"

// group is a room of the drill, whose members chat in it, and publish about
// themselves, while the server is killed.
type group struct {
	d       *killing
	members []*member
}

// member is one person in the group: it enters again after each fresh login,
// and says again, unchanged, what it has no tick for.
type member struct {
	d        *killing
	n        int
	account  string
	random   *randv2.Rand // of the goroutine in live
	keys     client.Keys
	outbox   []entry // as of a device
	sent     int
	where    int           // which server it goes to
	inside   string        // the stream on which it is in the room
	entered  chan struct{} // it has got in
	progress chan struct{}
	idle     atomic.Bool

	mu                      sync.Mutex
	ticked                  map[string]bool
	refused                 int
	bodies                  map[string]string    // of what it said
	heard                   map[string][]string  // ids, by stream
	results                 []*xmlstream.Element // of a query of the archive
	published, acknowledged int                  // items: the last one that was sent, that was answered
	unanswered              map[int]bool         // items of which it is not known what became of them
}

func newGroup(d *killing, members int) *group {
	g := &group{d: d}
	for n := range members {
		g.members = append(g.members, &member{
			d: d, n: n, where: n, account: fmt.Sprintf("member%d@localhost", n), random: generator(d.cfg.Seed, uint64(1000+n)),
			entered: make(chan struct{}, 1), progress: make(chan struct{}, 1),
			ticked: map[string]bool{}, bodies: map[string]string{}, heard: map[string][]string{}, unanswered: map[int]bool{},
		})
	}
	return g
}

// open makes the room, a private group, and all members of it.
func (g *group) open(ctx context.Context) error {
	if len(g.all()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m := g.members[0]
	s, err := m.connect(ctx, nil)
	if err != nil {
		return err
	}
	defer s.Cut()
	if err := m.enter(ctx, s); err != nil {
		return err
	}
	form := xmlstream.New(stanza.NSData, "x", "type", "submit")
	_, err = s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", groupAddress).Add(xmlstream.New(stanza.NSMUCOwner, "query").Add(form)))
	if err != nil {
		return err
	}
	list := xmlstream.New(stanza.NSMUCAdmin, "query")
	for _, other := range g.members[1:] {
		list.Add(xmlstream.New(stanza.NSMUCAdmin, "item", "jid", other.account, "affiliation", "member"))
	}
	_, err = s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", groupAddress).Add(list))
	m.inside = ""
	return err
}

// all members; none of a drill that has no group.
func (g *group) all() []*member {
	if g == nil {
		return nil
	}
	return g.members
}

func (g *group) users() (out []node.User) {
	for _, m := range g.all() {
		out = append(out, node.User{Local: m.name(), Password: g.d.password})
	}
	return out
}

func (m *member) name() string { return "member" + strconv.Itoa(m.n) }

// live runs until ctx ends.
func (m *member) live(ctx context.Context) {
	var old *client.Session
	for failures := 0; ctx.Err() == nil; {
		s, err := m.connect(ctx, old)
		if err != nil {
			failures++
			m.where++
			_ = pause(ctx, time.Duration(m.random.Int64N(int64(min(20*time.Millisecond<<min(failures, 6), time.Second)))))
			continue
		}
		failures = 0
		m.use(ctx, s)
		s.Cut()
		old = s
		m.where = m.d.elsewhere(m.where, m.random)
	}
}

func (m *member) config() client.Config {
	return client.Config{
		JID: m.account, Password: m.d.password, Resource: "a", Keys: &m.keys, Addr: m.d.at(m.where).c2s,
		Handler: client.Handler{Message: m.hear, Presence: m.presence, Ticked: m.tick, Refused: m.refuse},
	}
}

func (m *member) connect(ctx context.Context, old *client.Session) (*client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	cfg := m.config()
	if old != nil && m.random.IntN(5) > 0 {
		cfg.Resume = old.Resumption()
	}
	return client.Dial(ctx, cfg)
}

// use is a session's life.
func (m *member) use(ctx context.Context, s *client.Session) {
	if m.inside != s.Stream() {
		entering, cancel := context.WithTimeout(ctx, requestTimeout)
		err := m.enter(entering, s)
		cancel()
		if err != nil {
			return
		}
	}
	m.prune()
	for i := range m.outbox {
		if m.outbox[i].stream != s.Stream() && m.send(ctx, s, &m.outbox[i]) != nil {
			return
		}
	}
	var publishing sync.WaitGroup
	publishing.Go(func() { m.publish(ctx, s) })
	m.chat(ctx, s)
	s.Cut()
	publishing.Wait()
}

func (m *member) enter(ctx context.Context, s *client.Session) error {
	select {
	case <-m.entered: // of an earlier time
	default:
	}
	x := xmlstream.New(stanza.NSMUC, "x").Add(xmlstream.New(stanza.NSMUC, "history", "maxstanzas", "0"))
	if err := s.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence", "to", groupAddress+"/"+m.name()).Add(x)); err != nil {
		return err
	}
	select {
	case <-m.entered:
		m.inside = s.Stream()
		return nil
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) presence(e *xmlstream.Element) {
	if e.Get("type") == "" && e.Get("from") == groupAddress+"/"+m.name() {
		wake(m.entered)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *member) send(ctx context.Context, s *client.Session, e *entry) error {
	if err := s.Send(ctx, e.o); err != nil {
		return err
	}
	e.stream = s.Stream()
	return nil
}

func (m *member) invoke(ctx context.Context, s *client.Session) error {
	m.sent++
	id := m.name() + "-" + strconv.Itoa(m.sent)
	o := client.NewMessageID(id, groupAddress, "to the group: "+id)
	o.Type = "groupchat"
	m.mu.Lock()
	m.bodies[id] = o.Body
	m.mu.Unlock()
	m.outbox = append(m.outbox, entry{o: o})
	return m.send(ctx, s, &m.outbox[len(m.outbox)-1])
}

func (m *member) draining() bool {
	select {
	case <-m.d.draining:
		return true
	default:
		return false
	}
}

func (m *member) prune() {
	kept := m.outbox[:0]
	for _, e := range m.outbox {
		if e.o.State() == client.Waiting {
			kept = append(kept, e)
		}
	}
	clear(m.outbox[len(kept):])
	m.outbox = kept
	m.idle.Store(len(kept) == 0 && m.draining())
}

// chat says things with a closed window until the session or its luck ends.
func (m *member) chat(ctx context.Context, s *client.Session) {
	think := time.NewTimer(0)
	defer think.Stop()
	cut := time.NewTimer(time.Duration(m.random.ExpFloat64() * float64(m.d.cfg.CutMean)))
	defer cut.Stop()
	draining := m.d.draining
	for {
		m.prune()
		var next <-chan time.Time
		if draining != nil && len(m.outbox) < m.d.cfg.Window {
			next = think.C
		}
		select {
		case <-next:
			if !m.draining() && m.invoke(ctx, s) != nil {
				return
			}
			think.Reset(time.Duration(m.random.ExpFloat64() * float64(4*m.d.cfg.Think)))
		case <-m.progress:
		case <-cut.C:
			if draining == nil {
				continue
			}
			for m.random.IntN(4) > 0 && !m.draining() && len(m.outbox) < m.d.cfg.Window { // right behind some that it does not wait for
				if m.invoke(ctx, s) != nil {
					return
				}
			}
			flushing, cancel := context.WithTimeout(ctx, requestTimeout)
			_ = s.Flush(flushing) // it may have been killed meanwhile
			cancel()
			return
		case <-draining:
			draining = nil
		case <-s.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

const groupNode = "urn:bavard:drill"

// publish publishes ever newer items about itself, one after the other (XEP-0163).
func (m *member) publish(ctx context.Context, s *client.Session) {
	for !m.draining() && ctx.Err() == nil {
		m.mu.Lock()
		m.published++
		n := m.published
		m.unanswered[n] = true
		m.mu.Unlock()
		item := xmlstream.New(stanza.NSPubsub, "item", "id", "current").Add(xmlstream.NewText("urn:bavard:drill", "n", strconv.Itoa(n)))
		iq := xmlstream.New(stanza.NSClient, "iq", "type", "set").
			Add(xmlstream.New(stanza.NSPubsub, "pubsub").Add(xmlstream.New(stanza.NSPubsub, "publish", "node", groupNode).Add(item)))
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err := s.IQ(asking, iq)
		cancel()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.acknowledged = n
		delete(m.unanswered, n)
		m.mu.Unlock()
		if pause(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

func (m *member) tick(o *client.Outgoing) {
	m.mu.Lock()
	m.ticked[o.ID] = true
	m.mu.Unlock()
	wake(m.progress)
}

func (m *member) refuse(string, stanza.Condition) {
	m.mu.Lock()
	m.refused++
	m.mu.Unlock()
	wake(m.progress)
}

func (m *member) hear(in *client.Inbound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := in.Stanza.Child(stanza.NSMAM, "result"); r != nil && in.From == groupAddress {
		m.results = append(m.results, r)
		return
	}
	// What it had said and says again comes back to it once more, whenever that is.
	if in.Type == "groupchat" && in.Body != "" && in.From != groupAddress+"/"+m.name() {
		m.heard[in.Stream] = append(m.heard[in.Stream], in.OriginID)
	}
}

// ticks is how many messages to the group are ticked.
func (g *group) ticks() (n int) {
	for _, m := range g.all() {
		m.mu.Lock()
		n += len(m.ticked)
		m.mu.Unlock()
	}
	return n
}

// settled reports whether nobody has anything left to be ticked.
func (g *group) settled() error {
	for _, m := range g.all() {
		if !m.idle.Load() {
			return fmt.Errorf("%s still has messages for the group without a tick", m.name())
		}
	}
	return nil
}

// judge reads the room's archive as each member sees it, and what each has
// published, and compares it with what was said, ticked and heard.
func (g *group) judge(ctx context.Context) (v oracle.Group, err error) {
	if len(g.all()) == 0 {
		return v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.d.readTimeout())
	defer cancel()
	archives := make([][]string, len(g.members))
	group, reading := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for i, m := range g.members {
		group.Go(func() error {
			ids, item, err := m.read(reading)
			if err != nil {
				return fmt.Errorf("%s reads the group: %w", m.name(), err)
			}
			archives[i] = ids
			mu.Lock()
			defer mu.Unlock()
			switch {
			case item >= m.acknowledged && item <= m.published:
			case m.unanswered[item]:
				v.Late++
			default:
				v.Unpublished++
			}
			v.Published += m.acknowledged
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return v, err
	}
	said, ticked := map[string]bool{}, map[string]bool{}
	var heard [][]string
	for _, m := range g.members {
		m.mu.Lock()
		for id := range m.bodies {
			said[id] = true
		}
		for id := range m.ticked {
			ticked[id] = true
		}
		for _, ids := range m.heard {
			heard = append(heard, ids)
		}
		v.Refused += m.refused
		m.mu.Unlock()
	}
	oracle.JudgeGroup(&v, archives, heard, said, ticked)
	return v, nil
}

// read gives the origin-ids of the room's archive, in its order, and the number
// of the item that is published. Whoever is sent away meanwhile comes back, and asks again.
func (m *member) read(ctx context.Context) (ids []string, item int, err error) {
	r := &returning{config: m.config()}
	defer r.cut()
	// ask gives the answer to a request, and what came of the archive with it.
	ask := func(request *xmlstream.Element) (answer *xmlstream.Element, results []*xmlstream.Element, err error) {
		err = r.ask(ctx, func(ctx context.Context, s *client.Session) (err error) {
			m.mu.Lock()
			m.results = nil
			m.mu.Unlock()
			answer, err = s.IQ(ctx, request)
			return err
		})
		m.mu.Lock()
		defer m.mu.Unlock()
		return answer, m.results, err
	}
	for after := ""; ; {
		set := xmlstream.New(stanza.NSRSM, "set").Add(xmlstream.NewText(stanza.NSRSM, "max", "250"))
		if after != "" {
			set.Add(xmlstream.NewText(stanza.NSRSM, "after", after))
		}
		answer, results, err := ask(xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", groupAddress).Add(xmlstream.New(stanza.NSMAM, "query").Add(set)))
		if err != nil {
			return nil, 0, err
		}
		for _, r := range results {
			said := r.Child(stanza.NSForward, "forwarded").Child(stanza.NSClient, "message")
			ids = append(ids, said.Child(stanza.NSSID, "origin-id").Get("id"))
			after = r.Get("id")
		}
		if fin := answer.Child(stanza.NSMAM, "fin"); fin.Get("complete") == "true" || len(results) == 0 {
			break
		}
	}
	items := xmlstream.New(stanza.NSPubsub, "pubsub").Add(xmlstream.New(stanza.NSPubsub, "items", "node", groupNode))
	answer, _, err := ask(xmlstream.New(stanza.NSClient, "iq", "type", "get").Add(items))
	if err != nil {
		return nil, 0, err
	}
	text := answer.Child(stanza.NSPubsub, "pubsub").Child(stanza.NSPubsub, "items").Child(stanza.NSPubsub, "item").Child("urn:bavard:drill", "n").Text()
	item, err = strconv.Atoi(strings.TrimSpace(text))
	return ids, item, err
}
