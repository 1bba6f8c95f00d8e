// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// world is a view and the devices' side, in memory.
type world struct {
	mu     sync.Mutex
	roster map[string][]state.RosterItem
	last   map[string][]state.PubsubLast
	sent   []string

	relations []state.PubsubRelation
	hold      chan struct{} // not nil: deliveries wait for it
}

func (w *world) PubsubNode(string, string) (state.PubsubNode, error) {
	return state.PubsubNode{}, state.ErrNotFound
}
func (w *world) PubsubNodes(string) ([]state.PubsubNode, error) { return nil, nil }
func (w *world) PubsubItems(string, string, state.PubsubQuery) (state.PubsubPage, error) {
	return state.PubsubPage{}, state.ErrNotFound
}

func (w *world) PubsubRelation(account, node, who string) (state.PubsubRelation, error) {
	for _, r := range w.relations {
		if r.Node == node && r.JID == who {
			return r, nil
		}
	}
	return state.PubsubRelation{}, nil
}

func (w *world) PubsubRelations(_, node string) (out []state.PubsubRelation, _ error) {
	for _, r := range w.relations {
		if r.Node == node {
			out = append(out, r)
		}
	}
	return out, nil
}

func (w *world) PubsubRelationsOf(string, string) ([]state.PubsubRelation, error) { return nil, nil }

func (w *world) Blocked(string, string) (bool, error) { return false, nil }

func (w *world) RosterItem(account, peer string) (state.RosterItem, error) {
	for _, i := range w.roster[account] {
		if i.JID == peer {
			return i, nil
		}
	}
	return state.RosterItem{}, state.ErrNotFound
}

func (w *world) Roster(account string) ([]state.RosterItem, command.Position, error) {
	return w.roster[account], command.Position{}, nil
}

func (w *world) PubsubLast(account string, nodes []string) ([]state.PubsubLast, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []state.PubsubLast
	for _, l := range w.last[account] {
		for _, n := range nodes {
			if n == l.Node.Name {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

func (w *world) deliver(_ jid.JID, d route.Deliver) {
	if w.hold != nil {
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, d.To.String()+" "+string(xmlstream.AppendElement(nil, d.Stanza, stanza.NSClient)))
}

// take gives what was sent since, once all is quiet.
func (w *world) take() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sent
	w.sent = nil
	return out
}

func mustJID(t testing.TB, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func newNotifier(t testing.TB, w *world) *Notifier {
	t.Helper()
	n, err := NewNotifier(NotifierOptions{Domain: "localhost", View: w, Deliver: w.deliver, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func presence(t testing.TB, ver string) *xmlstream.Element {
	return parseXML(t, "<presence xmlns='jabber:client'><c xmlns='"+stanza.NSCaps+"' hash='sha-1' node='n' ver='"+ver+"'/></presence>")
}

func information(t testing.TB, ver string, nodes ...string) *xmlstream.Element {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString("<feature var='" + n + "+notify'/>")
	}
	return parseXML(t, "<iq xmlns='jabber:client' type='result' id='caps-"+ver+"'><query xmlns='"+stanza.NSDiscoInfo+"'>"+b.String()+"</query></iq>")
}

func change(node, payload string, model command.AccessModel) *state.PubsubEvent {
	c := command.DefaultPubsub()
	c.AccessModel = model.Enum()
	return &state.PubsubEvent{
		Kind: state.PubsubPublished, Node: node, Config: c,
		Item: state.PubsubItem{ID: "i", Payload: []byte("<p xmlns='p'>" + payload + "</p>")},
	}
}

func event(account string, e *state.PubsubEvent) []state.Event {
	return []state.Event{{Kind: state.EventPubsub, Account: account, Pubsub: e}}
}

// has reports whether something was sent to a device that holds a text.
func has(sent []string, to, text string) bool {
	for _, s := range sent {
		if strings.HasPrefix(s, to+" ") && strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// A device that says one thing and later another is sent the last items of what
// is new to it, and nothing when it repeats itself.
func TestInterestFollowsPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{last: map[string][]state.PubsubLast{}}
		for _, node := range []string{"a", "b"} {
			w.last["ann@localhost"] = append(w.last["ann@localhost"], state.PubsubLast{
				Node: state.PubsubNode{Name: node, Config: command.DefaultPubsub()},
				Item: state.PubsubItem{ID: "i", Payload: []byte("<p xmlns='p'/>"), Time: time.Unix(0, 0)},
			})
		}
		n := newNotifier(t, w)
		defer n.Close()
		ann := mustJID(t, "ann@localhost/x")
		n.Watch(ann, parseXML(t, "<presence xmlns='jabber:client'/>"))
		if sent := w.take(); len(sent) != 0 {
			t.Fatal(sent)
		}
		n.Watch(ann, presence(t, "1"))
		if sent := w.take(); len(sent) != 1 || !has(sent, "ann@localhost/x", "id='caps-1'") {
			t.Fatal(sent)
		}
		n.Answered(ann, information(t, "other", "a", "b")) // not what was asked for
		if sent := w.take(); len(sent) != 0 {
			t.Fatal(sent)
		}
		n.Answered(ann, information(t, "1", "a"))
		if sent := w.take(); len(sent) != 1 || !has(sent, "ann@localhost/x", "node='a'") {
			t.Fatal(sent)
		}
		n.Watch(ann, presence(t, "1"))
		n.Answered(ann, information(t, "1", "a", "b")) // nobody asked
		if sent := w.take(); len(sent) != 0 {
			t.Fatal(sent)
		}
		n.Watch(ann, presence(t, "2"))
		n.Answered(ann, information(t, "2", "a", "b"))
		if sent := w.take(); len(sent) != 2 || !has(sent, "ann@localhost/x", "node='b'") {
			t.Fatal(sent)
		}
		n.Watch(ann, nil)
		n.Offer(event("ann@localhost", change("a", "", command.AccessModel_ACCESS_MODEL_OPEN)))
		if sent := w.take(); len(sent) != 0 {
			t.Fatal(sent)
		}
		if len(n.devices) != 0 {
			t.Fatalf("%d accounts are remembered", len(n.devices))
		}
	})
}

// Who is told of a change, by access model.
func TestWhoIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{roster: map[string][]state.RosterItem{"ann@localhost": {
			{JID: "both@localhost", Subscription: "both", Listed: true},
			{JID: "from@localhost", Subscription: "from", Listed: true, Groups: []string{"g"}},
			{JID: "to@localhost", Subscription: "to", Listed: true, Groups: []string{"g"}},
		}}}
		n := newNotifier(t, w)
		defer n.Close()
		names := []string{"ann", "both", "from", "to", "stranger"}
		for _, name := range names {
			full := mustJID(t, name+"@localhost/x")
			n.Watch(full, presence(t, "1"))
			n.Answered(full, information(t, "1", "node"))
		}
		deaf := mustJID(t, "both@localhost/deaf")
		n.Watch(deaf, presence(t, "2"))
		n.Answered(deaf, information(t, "2", "other"))
		w.take()
		for model, want := range map[command.AccessModel]string{
			command.AccessModel_ACCESS_MODEL_OPEN:      "ann both from",
			command.AccessModel_ACCESS_MODEL_PRESENCE:  "ann both from",
			command.AccessModel_ACCESS_MODEL_ROSTER:    "ann from",
			command.AccessModel_ACCESS_MODEL_WHITELIST: "ann",
		} {
			e := change("node", "text", model)
			e.Config.RosterGroups = &command.PubsubGroups{Groups: []string{"g"}}
			n.Offer(event("ann@localhost", e))
			sent := w.take()
			var got []string
			for _, name := range names {
				if has(sent, name+"@localhost/x", "text") {
					got = append(got, name)
				}
			}
			if s := strings.Join(got, " "); s != want || len(sent) != len(got) {
				t.Errorf("%v: %s, want %s; %q", model, s, want, sent)
			}
		}
	})
}

// What a node is configured not to tell is not told.
func TestConfiguredNotToTell(t *testing.T) {
	quiet := command.DefaultPubsub()
	quiet.NotifyRetract, quiet.NotifyDelete, quiet.DeliverPayloads = new(bool), new(bool), new(bool)
	for _, kind := range []state.PubsubKind{state.PubsubRetracted, state.PubsubPurged, state.PubsubDeleted, state.PubsubConfigured} {
		if e := eventOf(&state.PubsubEvent{Kind: kind, Node: "n", Config: quiet}); e != nil {
			t.Errorf("%d tells %v", kind, e)
		}
	}
	if eventOf(&state.PubsubEvent{Kind: state.PubsubRetracted, Node: "n", Config: quiet, Notify: true}) == nil {
		t.Error("a retraction that asks for it is not told")
	}
	e := eventOf(&state.PubsubEvent{Kind: state.PubsubPublished, Node: "n", Config: quiet, Item: state.PubsubItem{ID: "i", Payload: []byte("<p xmlns='p'/>")}})
	if item := e.First().First(); item.Get("id") != "i" || item.First() != nil {
		t.Errorf("%v has a payload", item)
	}
}

// Changes of one account come in order; when nothing is taken off the queues,
// they fill up and the applier is not held up.
func TestNotifierIsBoundedAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		n := newNotifier(t, w)
		defer n.Close()
		ann := mustJID(t, "ann@localhost/x")
		n.Watch(ann, presence(t, "1"))
		n.Answered(ann, information(t, "1", "node"))
		w.take()
		w.hold = make(chan struct{})
		for i := range 2*jobsMost + 100 {
			n.Offer(event("ann@localhost", change("node", fmt.Sprint("n", i, "."), command.AccessModel_ACCESS_MODEL_OPEN)))
		}
		if n.Dropped() < 100 { // a worker has at most one full queue in hand
			t.Errorf("%d were dropped", n.Dropped())
		}
		close(w.hold)
		for i, s := range w.take() {
			if !strings.Contains(s, fmt.Sprint(">n", i, ".<")) {
				t.Fatalf("%d: %s", i, s)
			}
		}
	})
}

// Who has subscribed is told once: by the device that is interested, or else by
// the address that subscribed; who may not read the node any more is not.
func TestSubscribersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			roster: map[string][]state.RosterItem{"ann@localhost": {{JID: "bob@localhost", Subscription: "both", Listed: true}}},
			relations: []state.PubsubRelation{
				{Node: "a", JID: "bob@localhost", Subscribed: true},
				{Node: "a", JID: "eve@localhost/x", Subscribed: true},
				{Node: "a", JID: "dan@localhost", Affiliation: command.NodeAffiliation_NODE_AFFILIATION_MEMBER, Subscribed: true},
				{Node: "a", JID: "zoe@localhost", Affiliation: command.NodeAffiliation_NODE_AFFILIATION_OUTCAST, Subscribed: true},
			},
		}
		n := newNotifier(t, w)
		defer n.Close()
		bob := mustJID(t, "bob@localhost/desk")
		n.Watch(bob, presence(t, "v"))
		w.take()
		n.Answered(bob, information(t, "v", "a"))
		w.take()
		told := func(model command.AccessModel) (out []string) {
			n.Offer(event("ann@localhost", change("a", "1", model)))
			for _, s := range w.take() {
				to, _, _ := strings.Cut(s, " ")
				out = append(out, to)
			}
			slices.Sort(out)
			return out
		}
		for model, want := range map[command.AccessModel][]string{
			command.AccessModel_ACCESS_MODEL_OPEN:      {"bob@localhost/desk", "dan@localhost", "eve@localhost/x"},
			command.AccessModel_ACCESS_MODEL_PRESENCE:  {"bob@localhost/desk", "dan@localhost"},
			command.AccessModel_ACCESS_MODEL_WHITELIST: {"dan@localhost"},
		} {
			if got := told(model); !slices.Equal(got, want) {
				t.Errorf("%v: told %v, want %v", model, got, want)
			}
		}
	})
}
