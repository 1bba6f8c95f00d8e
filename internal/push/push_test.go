// SPDX-License-Identifier: Apache-2.0

package push_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/push"
	"bavard/internal/route"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	ann    = "ann@example.org"
	bob    = "bob@example.org"
	lounge = "lounge@rooms.example.org"
)

// view is one that holds what a test says.
type view struct {
	mu      sync.Mutex
	pushes  map[string][]state.Push
	members []state.RoomMember
	blocked map[string]bool
}

func (v *view) Pushes(account string) ([]state.Push, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pushes[account], nil
}

func (v *view) Pushing() ([]string, error) { return []string{ann}, nil }

func (v *view) RoomMembers(room string) ([]state.RoomMember, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if room != lounge {
		return nil, errors.New("no such room")
	}
	return v.members, nil
}

func (v *view) RoomMember(room, account string) (state.RoomMember, error) {
	all, err := v.RoomMembers(room)
	for i := range all {
		if all[i].JID == account {
			return all[i], err
		}
	}
	return state.RoomMember{JID: account}, err
}

func (v *view) Blocked(_, address string) (bool, error) { return v.blocked[address], nil }

// world is a Pusher and what it is told.
type world struct {
	t        *testing.T
	view     *view
	pusher   *push.Pusher
	mu       sync.Mutex
	devices  []push.Device
	inRoom   bool
	inRoomOn string // the node
	wish     map[string]push.Wish
	notes    []push.Note
}

func full(t testing.TB, text string) jid.JID {
	t.Helper()
	j, err := jid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// inWorld has ann notified at two devices, phone and tablet.
func inWorld(t *testing.T, do func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, view: &view{blocked: map[string]bool{}, pushes: map[string][]state.Push{ann: {
			{JID: "push.example.org", Node: "n1", Device: state.PushDevice{Resource: "phone"}, Service: &state.PushService{Endpoint: "https://a/1"}},
			{JID: "push.example.org", Node: "n2", Device: state.PushDevice{Resource: "tablet"}, Service: &state.PushService{Endpoint: "https://a/2"}},
			{JID: "push.elsewhere", Node: "n3", Device: state.PushDevice{Resource: "other"}},
		}}}}
		var err error
		w.pusher, err = push.NewPusher(push.PusherOptions{
			Domain: "example.org", View: w.view, TagKey: []byte("key"), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Devices: func(account string) []push.Device {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.devices
			},
			InRoom: func(_ jid.JID, d *push.Device) bool { return w.inRoom && d.Node == w.inRoomOn },
			Wants:  func(_, with string) push.Wish { return w.wish[with] },
			Send: func(n push.Note) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.notes = append(w.notes, n)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer w.pusher.Close()
		do(w)
	})
}

// told gives the nodes that were notified since, with ! for calls, . for their end and
// ? for who wants to be a contact.
func (w *world) told() string {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var words []string
	for _, n := range w.notes {
		words = append(words, n.To.Node+map[push.Kind]string{push.Call: "!", push.Ended: ".", push.Request: "?"}[n.Kind])
	}
	w.notes = nil
	return strings.Join(words, " ")
}

func (w *world) says(from, to, payload string) {
	w.pusher.Offer([]state.Event{{
		Kind: state.EventMessage, Account: full(w.t, to).Bare().String(), Incoming: true,
		Message: &command.Message{From: from, To: to, Payload: []byte(payload)},
	}})
}

// whispers something in a room, from one occupant to another.
func (w *world) whispers(nick, to, payload string) {
	w.pusher.Offer([]state.Event{{
		Kind: state.EventMessage, Account: to, Incoming: true, Whisper: lounge,
		Message: &command.Message{From: lounge + "/" + nick, To: to, Payload: []byte(payload)},
	}})
}

func (w *world) said(from, nick, payload string) {
	w.pusher.Offer([]state.Event{{Kind: state.EventRoom, Account: lounge, Room: &state.RoomEvent{
		Message: &command.RoomMessage{Room: lounge, From: from, Nick: nick, Payload: []byte(payload)},
	}}})
}

const body = "<body>hi</body>"

// TestWorth: what is worth a notification, and what is not.
func TestWorth(t *testing.T) {
	for payload, want := range map[string]string{
		body: "n1 n2",
		"<encrypted xmlns='urn:xmpp:omemo:2'><payload>x</payload></encrypted>":                        "n1 n2",
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><header/><payload>x</payload></encrypted>": "n1 n2",
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>":                     "",
		"<x xmlns='jabber:x:conference' jid='a@b'/>":                                                  "n1 n2",
		"<propose xmlns='urn:xmpp:jingle-message:0' id='1'/><store xmlns='urn:xmpp:hints'/>":          "n1! n2!",
		"<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>":                                         "",
		"<received xmlns='urn:xmpp:receipts' id='1'/>":                                                "",
		"<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>":                                         "",
		"<composing xmlns='http://jabber.org/protocol/chatstates'/>":                                  "",
		"<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>" + body:    "",
		"<replace xmlns='urn:xmpp:message-correct:0' id='1'/>" + body:                                 "",
		"<retract xmlns='urn:xmpp:message-retract:1' id='1'/>" + body:                                 "",
		"<subject>x</subject>": "",
		"<unclosed>":           "",
	} {
		inWorld(t, func(w *world) {
			w.says(bob+"/desk", ann, payload)
			if got := w.told(); got != want {
				t.Errorf("%s: told %q, want %q", payload, got, want)
			}
		})
	}
}

// TestWhoIsThere: nobody is told of what a device shows them.
func TestWhoIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		devices []push.Device
		to      string
		want    string
	}{
		"nobody":                       {nil, ann, "n1 n2"},
		"somebody looks":               {[]push.Device{{Here: true, Looking: true, Messages: true}}, ann, ""},
		"without getting it":           {[]push.Device{{Here: true, Looking: true}}, ann, "n1 n2"},
		"but is addressed":             {[]push.Device{{Here: true, Looking: true}}, ann + "/desk", ""},
		"inactive or waiting":          {[]push.Device{{Messages: true}}, ann, "n1 n2"},
		"left alone":                   {[]push.Device{{Here: true, Messages: true}}, ann, "n1 n2"},
		"the device itself":            {[]push.Device{{JID: full(t, ann+"/phone"), Here: true, Messages: true}}, ann, "n2"},
		"the device itself, inactive":  {[]push.Device{{JID: full(t, ann+"/phone"), Messages: true}}, ann, "n1 n2"},
		"another one that looks":       {[]push.Device{{Messages: true}, {Here: true, Looking: true, Messages: true}}, ann, ""},
		"both devices, nobody looking": {[]push.Device{{JID: full(t, ann+"/phone"), Here: true, Messages: true}, {JID: full(t, ann+"/tablet"), Here: true, Messages: true}}, ann, ""},
	} {
		inWorld(t, func(w *world) {
			for _, d := range c.devices {
				if d.JID.IsZero() {
					d.JID = full(t, ann+"/desk")
				}
				w.devices = append(w.devices, d)
			}
			w.says(bob+"/desk", c.to, body)
			if got := w.told(); got != c.want {
				t.Errorf("%s: told %q, want %q", name, got, c.want)
			}
		})
	}
}

// TestRights: nobody is told of whom they block, of what they muted, and of
// themselves; accounts without pushes cost nothing.
func TestRights(t *testing.T) {
	inWorld(t, func(w *world) {
		w.view.blocked[bob+"/desk"] = true
		w.says(bob+"/desk", ann, body)
		w.says(ann+"/desk", ann, body)
		w.says(ann+"/desk", bob, body)
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
		w.wish = map[string]push.Wish{bob: push.None}
		w.says(bob+"/phone", ann, body)
		if got := w.told(); got != "" {
			t.Errorf("told %q of what is muted", got)
		}
		w.says(bob+"/phone", ann, "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>")
		if got := w.told(); got != "n1! n2!" {
			t.Errorf("told %q of a call", got)
		}
		// Another account begins to have pushes, and stops.
		w.view.mu.Lock()
		w.view.pushes[bob] = w.view.pushes[ann][:1]
		w.view.mu.Unlock()
		w.pusher.Offer([]state.Event{{Kind: state.EventPush, Account: bob}})
		w.says(ann+"/desk", bob, body)
		if got := w.told(); got != "n1" {
			t.Errorf("told %q", got)
		}
		w.view.mu.Lock()
		delete(w.view.pushes, bob)
		w.view.mu.Unlock()
		w.pusher.Offer([]state.Event{{Kind: state.EventPush, Account: bob}})
		w.says(ann+"/desk", bob, body)
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
	})
}

// TestCallEnds: phones that were told of a call are told of its end, whoever ends it
// and whatever else is there by then, and no others.
func TestCallEnds(t *testing.T) {
	jmi := func(name, id string) string {
		return "<" + name + " xmlns='urn:xmpp:jingle-message:0' id='" + id + "'/>"
	}
	inWorld(t, func(w *world) {
		own := func(to, payload string) {
			w.pusher.Offer([]state.Event{{Kind: state.EventMessage, Account: ann, Message: &command.Message{From: ann + "/desk", To: to, Payload: []byte(payload)}}})
		}
		desk := push.Device{JID: full(t, ann+"/desk"), Here: true, Looking: true, Messages: true}
		for name, end := range map[string]func(){
			"given up":        func() { w.says(bob+"/desk", ann, jmi("retract", "c")) },
			"declined":        func() { own(bob, jmi("reject", "c")) },
			"taken":           func() { own(bob, jmi("proceed", "c")) },
			"told to its own": func() { w.says(ann+"/desk", ann, jmi("accept", "c")) },
		} {
			w.devices = nil
			w.says(bob+"/desk", ann, jmi("propose", "c"))
			if got := w.told(); got != "n1! n2!" {
				t.Errorf("told %q of a call", got)
			}
			w.says("eve@example.org/x", ann, jmi("retract", "c")) // not hers
			w.says(bob+"/desk", ann, jmi("retract", "another"))
			own(bob, "<body>busy</body>")
			if got := w.told(); got != "" {
				t.Errorf("%s: told %q", name, got)
			}
			w.devices = []push.Device{desk, {JID: full(t, ann+"/tablet"), Here: true, Messages: true}}
			end()
			end()
			if got := w.told(); got != "n1." {
				t.Errorf("%s: told %q of its end", name, got)
			}
		}
		// A call that nobody was told of, and one that rings no more.
		w.devices = []push.Device{desk}
		w.says(bob+"/desk", ann, jmi("propose", "d"))
		if got := w.told(); got != "" {
			t.Errorf("told %q of a call that is seen", got)
		}
		w.devices = nil
		w.says(bob+"/desk", ann, jmi("retract", "d"))
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
		w.says(bob+"/desk", ann, jmi("propose", "e"))
		<-time.After(time.Hour)
		w.says(bob+"/desk", ann, jmi("finish", "e"))
		if got := w.told(); got != "n1! n2!" {
			t.Errorf("told %q an hour later", got)
		}
	})
}

// TestContactRequest: who asks to become a contact wakes the phones, unless it is seen.
func TestContactRequest(t *testing.T) {
	inWorld(t, func(w *world) {
		asks := func(typ command.SubscriptionType) {
			w.pusher.Offer([]state.Event{{Kind: state.EventSubscription, Account: ann, Presence: state.Subscription{From: bob, To: ann, Type: typ}}})
		}
		asks(command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE)
		if got := w.told(); got != "n1? n2?" {
			t.Errorf("told %q", got)
		}
		for typ := range command.SubscriptionType_name {
			if command.SubscriptionType(typ) != command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE {
				asks(command.SubscriptionType(typ))
			}
		}
		w.wish = map[string]push.Wish{bob: push.None}
		asks(command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE)
		if got := w.told(); got != "" {
			t.Errorf("told %q of who is silent", got)
		}
		w.wish = nil
		w.devices = []push.Device{{JID: full(t, ann+"/desk"), Here: true, Looking: true, Messages: true}}
		asks(command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE)
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
	})
}

// TestRooms: who has an affiliation is told, there or not, but not of what they said.
func TestRooms(t *testing.T) {
	inWorld(t, func(w *world) {
		member := command.Affiliation_AFFILIATION_MEMBER
		w.view.members = []state.RoomMember{{JID: ann, Affiliation: member, Nicks: []string{"Ann"}}, {JID: bob, Affiliation: member, Nicks: []string{"Bob"}}, {JID: "example.org", Affiliation: member}}
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("told %q", got)
		}
		w.said(ann+"/phone", "Ann", body)
		w.said("", "", body)
		w.said(bob+"/desk", "Bob", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
		w.devices = []push.Device{{JID: full(t, ann+"/desk"), Here: true, Looking: true, Messages: true}}
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("told %q while the device that is active is not in the room", got)
		}
		w.inRoom = true
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "" {
			t.Errorf("told %q by two", got)
		}
		w.devices[0].Node = "b"
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("told %q while the device that is active, on another node, is not in the room", got)
		}
		w.inRoomOn = "b"
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "" {
			t.Errorf("told %q while a device in the room, on another node, is looked at", got)
		}
		w.devices[0].Looking = false
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("told %q while nobody looks at a device on another node", got)
		}
		w.devices, w.inRoom = nil, false
		w.wish = map[string]push.Wish{lounge: push.Mentions}
		for payload, want := range map[string]string{
			"<body>x</body><reply xmlns='urn:xmpp:reply:0' id='1' to='" + lounge + "/Ann'/>":              "n1 n2",
			"<body>x</body><reply xmlns='urn:xmpp:reply:0' id='1' to='" + lounge + "/Bob'/>":              "",
			"<body>x</body><mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#channel'/>": "n1 n2",
			"<body>ann</body><encrypted xmlns='urn:xmpp:omemo:2'><payload>x</payload></encrypted>":        "",
			body: "", "<body>ann?</body>": "n1 n2", "<body>hi ANN</body>": "n1 n2", "<body>Annie</body>": "",
			"<body>x</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:" + ann + "'/>": "n1 n2",
			"<body>x</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:" + bob + "'/>": "",
		} {
			w.said(bob+"/desk", "Bob", payload)
			if got := w.told(); got != want {
				t.Errorf("%s: told %q, want %q", payload, got, want)
			}
		}
		w.wish = nil
		w.view.blocked[lounge+"/Bob"] = true
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "" {
			t.Errorf("told %q of whom she blocks", got)
		}
		// Who is thrown out is told no more.
		w.view.mu.Lock()
		w.view.blocked, w.view.members = map[string]bool{}, nil
		w.view.mu.Unlock()
		w.pusher.Offer([]state.Event{{Kind: state.EventRoom, Account: lounge, Room: &state.RoomEvent{Changes: []state.RoomChange{{JID: ann}}}}})
		w.said(bob+"/desk", "Bob", body)
		if got := w.told(); got != "" {
			t.Errorf("told %q of a room that she is not in", got)
		}
	})
}

func out(t testing.TB, raw string) route.Out {
	t.Helper()
	el, err := xmlstream.ParseElement([]byte(strings.Replace(raw, "<message", "<message xmlns='jabber:client'", 1)), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	return route.Serialise(el)
}

// TestMissed: what a device did not acknowledge is told once it has had time to
// come back, a conversation once.
func TestMissed(t *testing.T) {
	inWorld(t, func(w *world) {
		phone := full(t, ann+"/phone")
		lost := []route.Out{
			out(t, "<message from='bob@example.org/desk' to='ann@example.org' type='chat'><body>1</body></message>"),
			out(t, "<message from='bob@example.org/desk' to='ann@example.org' type='chat'><body>2</body></message>"),
			out(t, "<message from='ann@example.org' to='ann@example.org/phone'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='eve@example.org/x'><body>3</body></message></forwarded></received></message>"),
			out(t, "<message from='ann@example.org' to='ann@example.org/phone'><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='ann@example.org/x'><body>3</body></message></forwarded></sent></message>"),
			out(t, "<message from='dan@example.org/desk' to='ann@example.org'><received xmlns='urn:xmpp:receipts' id='1'/></message>"),
			out(t, "<message from='lounge@rooms.example.org/Ann' to='ann@example.org/phone' type='groupchat'><body>own</body></message>"),
		}
		w.view.members = []state.RoomMember{{JID: ann, Affiliation: command.Affiliation_AFFILIATION_MEMBER, Nicks: []string{"Ann"}}}
		w.pusher.Missed(phone, lost)
		<-time.After(5 * time.Second)
		if got := w.told(); got != "" {
			t.Errorf("told %q at once", got)
		}
		<-time.After(6 * time.Second)
		if got := w.told(); got != "n1 n2 n1 n2" { // bob, and eve
			t.Errorf("told %q", got)
		}
		w.pusher.Missed(phone, lost[:1])
		w.mu.Lock()
		w.devices = []push.Device{{JID: phone, Here: true, Looking: true, Messages: true}} // it is back
		w.mu.Unlock()
		<-time.After(11 * time.Second)
		if got := w.told(); got != "" {
			t.Errorf("told %q although it is back", got)
		}
		w.pusher.Missed(full(t, bob+"/phone"), lost[:1]) // has no pushes
		w.pusher.Missed(phone, []route.Out{{Name: "message", Rest: []byte("><")}})
		<-time.After(11 * time.Second)
		if got := w.told(); got != "" {
			t.Errorf("told %q", got)
		}
	})
}

// TestBound: a flood is dropped, counted and over.
func TestBound(t *testing.T) {
	inWorld(t, func(w *world) {
		w.view.mu.Lock() // the pusher waits for it
		events := make([]state.Event, 40000)
		for i := range events {
			events[i] = state.Event{Kind: state.EventMessage, Account: ann, Incoming: true, Message: &command.Message{From: bob + "/x", To: ann, Payload: []byte(body)}}
		}
		w.pusher.Offer(events)
		if w.pusher.Dropped() == 0 {
			t.Error("nothing is dropped")
		}
		w.view.mu.Unlock()
		synctest.Wait()
		w.notes = nil
		w.says(bob+"/desk", ann, body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("told %q afterwards", got)
		}
	})
}

// TestTags: the same for a conversation, another for others and for other registrations.
func TestTags(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, from := range []string{bob, bob, "eve@example.org"} {
			w.says(from+"/x", ann, body)
		}
		synctest.Wait()
		var tags []string
		for _, n := range w.notes {
			tags = append(tags, n.Tag)
		}
		if len(tags) != 6 || tags[0] != tags[2] || tags[1] != tags[3] || tags[0] == tags[1] || tags[0] == tags[4] || tags[4] == tags[5] {
			t.Error(tags)
		}
		if i := slices.IndexFunc(tags, func(s string) bool { return strings.Contains(s, "bob") }); i >= 0 {
			t.Error(fmt.Sprint(tags[i], " tells who it is"))
		}
	})
}

func FuzzWorth(f *testing.F) {
	f.Add(body)
	f.Add("<x xmlns='jabber:x:conference'/>")
	f.Fuzz(func(t *testing.T, payload string) {
		inWorld(t, func(w *world) {
			w.says(bob+"/desk", ann, payload)
			switch got := w.told(); got {
			case "", "n1 n2", "n1! n2!":
			default:
				t.Errorf("told %q", got)
			}
		})
	})
}

// A private message in a room is shown by the devices that are in it; where none
// is, it is one like others.
func TestWhispers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.devices = []push.Device{{JID: full(t, ann+"/phone"), Here: true, Looking: true, Messages: true}}
		w.whispers("Bob", ann, body)
		if got := w.told(); got != "" {
			t.Errorf("nobody in the room: %q", got)
		}
		w.inRoom, w.devices[0].Messages = true, false
		w.whispers("Bob", ann, body)
		if got := w.told(); got != "" {
			t.Errorf("in the room: %q", got)
		}
		w.devices[0].Here, w.devices[0].Looking = false, false
		w.whispers("Bob", ann, body)
		if got := w.told(); got != "n1 n2" {
			t.Errorf("in the room, and nobody looks: %q", got)
		}
	})
}
