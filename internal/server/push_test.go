// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bavard/internal/config"
	"bavard/internal/stanza"
	"bavard/internal/webpush/webpushtest"
	"bavard/internal/xmlstream"
)

// pushServer is a server whose people are notified by a push service of the
// test.
type pushServer struct {
	*testServer
	service *webpushtest.Service
	key     string
}

func startPushServer(t *testing.T) *pushServer {
	t.Helper()
	p := &pushServer{service: webpushtest.NewService(t)}
	cfg := config.Default()
	cfg.Data, cfg.InsecureLoopback = t.TempDir(), true
	cfg.Listen = config.Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	cfg.Push.Allow, cfg.Push.Roots = []string{"127.0.0.1"}, p.service.RootsFile()
	p.testServer = &testServer{t: t, cfg: cfg, made: map[string]bool{}}
	p.start()
	t.Cleanup(p.stop)
	for _, user := range []string{"alice", "bob"} {
		p.account(user)
	}
	return p
}

// arrive logs a device in, resumable, and shows it available.
func (p *pushServer) arrive(user, resource string, webSocket bool) *device {
	return p.appear(&device{t: p.t, user: user, resource: resource, dial: p.dial(webSocket)}, true)
}

// appear is arrive for a device that acknowledges what it gets, or does not.
func (p *pushServer) appear(d *device, acks bool) *device {
	d.login()
	d.bind()
	d.enable()
	d.managed = acks
	d.listen()
	d.send("<presence/>")
	d.await("presence", "")
	return d
}

// await gives the next stanza of a name and, unless it is "", an id.
func (d *device) await(name, id string) *xmlstream.Element {
	d.t.Helper()
	for {
		el, ok := d.next()
		if el == nil || !ok {
			d.t.Fatalf("%s/%s: no %s %s has come", d.user, d.resource, name, id)
		}
		if el.Name.Local == name && (id == "" || el.Get("id") == id) {
			return el
		}
	}
}

// ask sends an IQ and gives its answer.
func (d *device) ask(typ, to, payload string) *xmlstream.Element {
	d.t.Helper()
	id := fmt.Sprint("ask", d.received.Load())
	if to != "" {
		to = " to='" + to + "'"
	}
	d.send("<iq type='" + typ + "' id='" + id + "'" + to + ">" + payload + "</iq>")
	return d.await("iq", id)
}

// subscribe has a new browser notified for the device's account.
func (p *pushServer) subscribe(d *device) (*webpushtest.Browser, string) {
	p.t.Helper()
	p.key = d.ask("get", "push.localhost", "<key xmlns='urn:bavard:push:0'/>").First().Text()
	b := p.service.Subscribe(p.key)
	b64 := base64.RawURLEncoding
	r := d.ask("set", "push.localhost", "<register xmlns='urn:bavard:push:0'><endpoint>"+b.Endpoint+"</endpoint><p256dh>"+
		b64.EncodeToString(b.P256dh)+"</p256dh><auth>"+b64.EncodeToString(b.Auth)+"</auth></register>").First()
	enable := "<enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='" + r.Get("node") + "'><x xmlns='jabber:x:data' type='submit'>" +
		"<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
		"<field var='secret'><value>" + r.Get("secret") + "</value></field></x></enable>"
	if got := d.ask("set", "", enable); got.Get("type") != "result" {
		p.t.Fatal(text(got))
	}
	return b, enable
}

func (d *device) say(to, id string) {
	d.send("<message to='" + to + "' type='chat' id='" + id + "'><body>secret " + id + "</body></message>")
}

// notified is the next push, which is for the browser and of a kind.
func (p *pushServer) notified(b *webpushtest.Browser, kind string) {
	p.t.Helper()
	got := p.service.Next(p.t)
	var note struct {
		V         int
		Kind, Tag string
	}
	if err := json.Unmarshal(got.Text, &note); err != nil || note.V != 1 || note.Kind != kind || len(note.Tag) != 16 {
		p.t.Errorf("%s: %v", got.Text, err)
	}
	topic := kind
	if kind == "ended" {
		topic = "call" // so that it takes its place
	}
	if got.Subscription != b || got.Topic != topic || (got.Urgency == "high") != (topic == "call") || got.TTL == "" {
		p.t.Errorf("%+v", got)
	}
}

// asked holds that the push service was asked so many times in all.
func (p *pushServer) asked(want int) {
	p.t.Helper()
	p.service.None(p.t)
	if n := p.service.Asked(); n != want {
		p.t.Errorf("%d pushes, want %d", n, want)
	}
}

// TestPushAway: a device that is there is not notified. Once it has gone, is inactive or was cut
// off, a message notifies it once.
func TestPushAway(t *testing.T) {
	for name, leave := range map[string]func(p *pushServer, alice, bob *device){
		"closed": func(p *pushServer, alice, bob *device) {
			alice.send("</stream:stream>")
			for el, ok := alice.next(); el != nil && ok; el, ok = alice.next() {
			}
		},
		"inactive": func(p *pushServer, alice, bob *device) {
			alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
			alice.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
		},
		"detached": func(p *pushServer, alice, bob *device) {
			alice.pipe.cut()
			for p.sessionsDetached() == 0 {
				bob.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPushServer(t)
			alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", true)
			browser, _ := p.subscribe(alice)
			alice.send("<active xmlns='urn:xmpp:csi:0'/>")
			bob.say("alice@localhost", "m1")
			alice.await("message", "m1")
			leave(p, alice, bob)
			bob.say("alice@localhost", "m2")
			p.notified(browser, "message")
			p.asked(1)
			bob.send("<message to='alice@localhost' type='chat' id='c1'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>")
			p.notified(browser, "call") // it does not wait
			p.asked(2)
		})
	}
}

// sessionsDetached asks the node.
func (p *pushServer) sessionsDetached() int { return metric(p.testServer, "bavard_sessions_detached") }

// metric reads a figure of the node.
func metric(s *testServer, name string) int {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.cfg.Data, "admin.sock"))
	}, DisableKeepAlives: true}}
	res, err := c.Get("http://node/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return int(n)
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// TestPushUnacknowledged: what was written to a connection that turns out to be dead is told.
func TestPushUnacknowledged(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice := p.appear(&device{t: t, user: "alice", resource: "phone", dial: p.dial(false)}, false)
	bob := p.arrive("bob", "desk", false)
	browser, _ := p.subscribe(alice)
	bob.say("alice@localhost", "m1")
	alice.await("message", "m1")
	alice.pipe.cut()
	p.notified(browser, "message")
	p.asked(1)
}

// makeTeam has somebody make a group, enter it as Bob, and give one more a place in it.
func makeTeam(by *device, member string) (room string) {
	by.t.Helper()
	room = "team@rooms.localhost"
	by.send("<presence to='" + room + "/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	by.await("message", "")
	for _, payload := range []string{
		"<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
		"<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member' " + member + "/></query>",
	} {
		if got := by.ask("set", room, payload); got.Get("type") != "result" {
			by.t.Fatal(text(got))
		}
	}
	return room
}

// TestPushRoom: a member that is not there is notified of what is said.
func TestPushRoom(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	browser, _ := p.subscribe(alice)
	room := makeTeam(bob, "jid='alice@localhost'")
	bob.send("<message to='" + room + "' type='groupchat' id='r1'><body>hello</body></message>")
	bob.await("message", "r1")
	p.notified(browser, "message") // alice is there, but not in the room
	p.asked(1)
}

// TestPushGone: an endpoint that is no more is forgotten, one that asks for patience is not; what is
// registered outlives a restart, and goes with the account.
func TestPushGone(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	browser, enable := p.subscribe(alice)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	alice.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
	p.service.Answer(429, "1")
	bob.say("alice@localhost", "m1")
	p.notified(browser, "message")
	p.asked(2)

	info, err := os.Stat(filepath.Join(p.cfg.Data, "keys", "vapid.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	p.restart()
	bob = p.arrive("bob", "desk", false)
	bob.say("alice@localhost", "m2")
	p.notified(browser, "message")
	if key := bob.ask("get", "push.localhost", "<key xmlns='urn:bavard:push:0'/>").First().Text(); key != p.key {
		t.Error("another key after a restart")
	}
	alice = p.arrive("alice", "phone", false)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	alice.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
	p.service.Answer(410, "")
	bob.send("<message to='alice@localhost' type='chat' id='c1'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>")
	for range 1000 {
		if alice.ask("set", "", enable).Child(stanza.NSClient, "error") != nil {
			return
		}
	}
	t.Error("an endpoint that is no more is known")
}

// TestPushHangs: a push service that hangs delays no message.
func TestPushHangs(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	p.subscribe(alice)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	alice.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
	p.service.Hang(true)
	begun := time.Now()
	for i := range 200 {
		id := fmt.Sprint("m", i)
		bob.say("alice@localhost", id)
		alice.await("message", id)
	}
	// One is given up after 10 s, and tried again.
	if n := p.service.Asked(); n > 1+int(time.Since(begun)/(10*time.Second)) {
		t.Errorf("%d pushes for one browser at once", n)
	}
	if n := metric(p.testServer, `bavard_push_waiting`); n > 1 {
		t.Errorf("%d wait", n)
	}
}

// TestPushMuted: of a chat that is silent nobody is notified, until it is not any more.
func TestPushMuted(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	browser, _ := p.subscribe(alice)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	set := func(notify string) {
		t.Helper()
		got := alice.ask("set", "", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='"+stanza.NSChats+"'><item id='bob@localhost'>"+
			"<chat xmlns='"+stanza.NSChats+"'><notify xmlns='"+stanza.NSNotify+"'>"+notify+"</notify></chat></item></publish></pubsub>")
		if got.Get("type") != "result" {
			t.Fatal(text(got))
		}
	}
	set("<never/>")
	bob.say("alice@localhost", "m1")
	alice.await("message", "m1")
	set("<always/>")
	bob.say("alice@localhost", "m2")
	p.notified(browser, "message")
	p.asked(1)
}

// TestPushCallEnds: a call wakes at once, and so does its end, which stops the ringing.
func TestPushCallEnds(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	browser, _ := p.subscribe(alice)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	alice.ask("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>")
	bob.say("alice@localhost", "m1")
	p.notified(browser, "message")
	signal := func(name, id string) {
		bob.send("<message to='alice@localhost' type='chat' id='" + name + id + "'><" + name + " xmlns='urn:xmpp:jingle-message:0' id='" + id + "'/></message>")
	}
	signal("propose", "c1")
	p.notified(browser, "call")
	signal("retract", "c1")
	p.notified(browser, "ended")
	signal("retract", "c1")
	// Answered on another device.
	signal("propose", "c2")
	p.notified(browser, "call")
	laptop := p.arrive("alice", "laptop", false)
	laptop.send("<message to='bob@localhost' type='chat' id='a1'><proceed xmlns='urn:xmpp:jingle-message:0' id='c2'/></message>")
	p.notified(browser, "ended")
	p.asked(5)
}

// TestPushRequest: who wants to be a contact wakes the phones, over a restart, too.
func TestPushRequest(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	browser, _ := p.subscribe(p.arrive("alice", "phone", false))
	p.restart()
	bob := p.arrive("bob", "desk", false)
	bob.send("<presence to='alice@localhost' type='subscribe'/>")
	p.notified(browser, "request")
	p.asked(1)
}

// TestPushMutedRoom: of a room that is muted but for mentions only these wake the phones, and all
// once the time is over; what is silent says nothing at all, out of sight or not.
func TestPushMutedRoom(t *testing.T) {
	t.Parallel()
	p := startPushServer(t)
	alice, bob := p.arrive("alice", "phone", false), p.arrive("bob", "desk", false)
	browser, _ := p.subscribe(alice)
	alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	room := makeTeam(bob, "jid='alice@localhost' nick='Alice'")
	publish := func(node, item, payload string) {
		t.Helper()
		got := alice.ask("set", "", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='"+node+"'><item id='"+item+"'>"+payload+"</item></publish></pubsub>")
		if got.Get("type") != "result" {
			t.Fatal(text(got))
		}
	}
	mute := func(notify string) {
		t.Helper()
		publish(stanza.NSBookmarks, room, "<conference xmlns='"+stanza.NSBookmarks+"'><extensions><notify xmlns='"+stanza.NSNotify+"'>"+notify+"</notify></extensions></conference>")
	}
	until := func(stamp string) string {
		return "<advanced><until xmlns='" + stanza.NSChats + "' stamp='" + stamp + "'/></advanced>"
	}
	said := 0
	say := func(body string) {
		said++
		id := fmt.Sprint("r", said)
		bob.send("<message to='" + room + "' type='groupchat' id='" + id + "'>" + body + "</message>")
		bob.await("message", id)
	}
	mute("<on-mention>" + until("2099-01-01T00:00:00Z") + "</on-mention>")
	say("<body>hello</body>")
	p.asked(0)
	say("<body>yes</body><reply xmlns='urn:xmpp:reply:0' id='1' to='" + room + "/Alice'/>")
	p.notified(browser, "message")
	mute("<never>" + until("2099-01-01T00:00:00Z") + "</never>")
	say("<body>Alice?</body>")
	mute("<never>" + until("2020-01-01T00:00:00Z") + "</never>")
	p.asked(1)
	say("<body>hello</body>")
	p.notified(browser, "message")
	// A chat that was put out of sight comes back with a message, unless it is silent.
	publish(stanza.NSChats, "bob@localhost", "<chat xmlns='"+stanza.NSChats+"'><archived id='x'/><notify xmlns='"+stanza.NSNotify+"'><never/></notify></chat>")
	bob.say("alice@localhost", "m1")
	alice.await("message", "m1")
	p.asked(2)
	publish(stanza.NSChats, "bob@localhost", "<chat xmlns='"+stanza.NSChats+"'><archived id='x'/></chat>")
	bob.say("alice@localhost", "m2")
	p.notified(browser, "message")
	p.asked(3)
}
