// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needNode leaves the test out when Node or the packages of interop/node are
// not installed.
func needNode(t *testing.T) {
	t.Helper()
	need(t, "node")
	_, err := os.Stat(filepath.Join("node", "node_modules", ".package-lock.json"))
	if err == nil {
		return
	}
	const why = "the packages of interop/node are not installed (make interop/node/node_modules/.package-lock.json)"
	if os.Getenv("CI") == "true" {
		t.Fatal(why + ", and CI leaves nothing out")
	}
	t.Skip("LEFT OUT: " + why)
}

// node starts a client of interop/node, which trusts the server's own authority
// besides those that Node brings.
func (s *server) node(t *testing.T, name string, connect map[string]any) *script {
	t.Helper()
	p := startScript(t, name, []string{"node", filepath.Join("node", name+".mjs")}, "NODE_EXTRA_CA_CERTS="+s.ca)
	args := map[string]any{"password": password}
	for k, v := range connect {
		args[k] = v
	}
	in := p.do("connect", args).(map[string]any)
	// With SASL2 the server adds to the resource.
	p.jid = fmt.Sprint(in["jid"])
	if jid := fmt.Sprint(connect["jid"]); p.jid != jid && !strings.HasPrefix(p.jid, jid+"/") || in["resumable"] != true {
		t.Errorf("%s: logged in: %v", name, in)
	}
	p.event("session", "jid", p.jid)
	return p
}

// webSocket is the address of the server's WebSocket, encrypted when it has
// such a listener.
func (s *server) webSocket(address string) string {
	scheme := "ws"
	if address == s.HTTPS {
		scheme = "wss"
	}
	return scheme + "://" + strings.Replace(address, "127.0.0.1", "localhost", 1) + "/xmpp-websocket"
}

const withHTTPS = "[listen]\nhttps = \"127.0.0.1:0\"\n"

func TestStrophe(t *testing.T) {
	needNode(t)
	t.Parallel()
	s := startServerWith(t, withHTTPS)
	network := newLine(t, s.HTTPS)
	url := strings.Replace(s.webSocket(s.HTTPS), s.HTTPS[strings.LastIndexByte(s.HTTPS, ':')+1:], network.port(), 1)
	ann := s.node(t, "strophe", map[string]any{"url": url, "jid": "ann@localhost/one"})
	bob := s.node(t, "strophe", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "bob@localhost/one"})
	cast := []*script{ann, bob}
	subtest(t, "features", cast, func(t *testing.T) { features(t, ann) })
	subtest(t, "contacts", cast, func(t *testing.T) { contacts(t, ann, bob) })
	subtest(t, "messages", cast, func(t *testing.T) { messages(t, ann, bob) })
	subtest(t, "carbons", cast, func(t *testing.T) {
		second := s.node(t, "strophe", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "ann@localhost/second"})
		carbons(t, ann, second, bob)
		second.do("disconnect", nil)
		second.event("disconnected")
	})
	subtest(t, "blocking", cast, func(t *testing.T) { blocks(t, ann, bob) })
	subtest(t, "personal nodes and cards", cast, func(t *testing.T) {
		ann.do("nick", map[string]any{"name": "Annie"})
		if got := fmt.Sprint(bob.do("items", map[string]any{"jid": "ann@localhost", "node": "http://jabber.org/protocol/nick"})); got != "[Annie]" {
			t.Errorf("nick %s", got)
		}
		ann.do("set_vcard", map[string]any{"name": "Ann Other"})
		if got := bob.do("vcard", map[string]any{"jid": "ann@localhost"}); got != "Ann Other" {
			t.Errorf("card %v", got)
		}
	})
	subtest(t, "archive", cast, func(t *testing.T) { pages(t, ann, bob) })
	subtest(t, "resumption", cast, func(t *testing.T) {
		network.cut()
		ann.event("disconnected")
		id := bob.do("send", map[string]any{"to": ann.jid, "body": "while away"}).(string)
		bob.do("settled", nil)
		network.mend()
		ann.do("reconnect", nil)
		ann.event("resumed", "jid", ann.jid)
		ann.event("message", "id", id)
		id = ann.do("send", map[string]any{"to": "bob@localhost", "body": "back"}).(string)
		ann.do("settled", nil)
		bob.event("message", "id", id)
		ann.never("message")
		ann.never("session")
	})
	subtest(t, "a wrong password", cast, func(t *testing.T) {
		eve := startScript(t, "strophe", []string{"node", "node/strophe.mjs"}, "NODE_EXTRA_CA_CERTS="+s.ca)
		if got := eve.refused("connect", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "eve@localhost/one", "password": "wrong"}); !strings.Contains(got, "AUTHFAIL") {
			t.Errorf("told: %s", got)
		}
	})
}

func TestXMPPjs(t *testing.T) {
	needNode(t)
	t.Parallel()
	s := startServerWith(t, withHTTPS)
	network := newLine(t, s.C2S)
	direct := s.C2STLS[strings.LastIndexByte(s.C2STLS, ':')+1:]
	ann := s.node(t, "xmpp", map[string]any{"service": "xmpp://localhost:" + network.port(), "jid": "ann@localhost/one"})
	bob := s.node(t, "xmpp", map[string]any{"service": "xmpps://localhost:" + direct, "jid": "bob@localhost/one"})
	cast := []*script{ann, bob}
	subtest(t, "features", cast, func(t *testing.T) { features(t, ann) })
	subtest(t, "contacts", cast, func(t *testing.T) { contacts(t, ann, bob) })
	subtest(t, "messages", cast, func(t *testing.T) { messages(t, ann, bob) })
	subtest(t, "carbons", cast, func(t *testing.T) {
		second := s.node(t, "xmpp", map[string]any{"service": s.webSocket(s.HTTPS), "jid": "ann@localhost/second"})
		carbons(t, ann, second, bob)
		second.do("stop", nil)
	})
	subtest(t, "blocking", cast, func(t *testing.T) { blocks(t, ann, bob) })
	subtest(t, "archive", cast, func(t *testing.T) { pages(t, ann, bob) })
	subtest(t, "resumption", cast, func(t *testing.T) {
		network.cut()
		ann.event("disconnected")
		id := bob.do("send", map[string]any{"to": ann.jid, "body": "while away"}).(string)
		bob.event("acked", "id", id)
		network.mend()
		ann.event("resumed")
		ann.event("message", "id", id)
		id = ann.do("send", map[string]any{"to": "bob@localhost", "body": "back"}).(string)
		ann.event("acked", "id", id)
		bob.event("message", "id", id)
		for _, p := range cast {
			p.never("message")
			p.never("session")
			p.never("failed")
		}
	})
	subtest(t, "refusals", cast, func(t *testing.T) {
		start := func(ca string) *script {
			return startScript(t, "xmpp", []string{"node", "node/xmpp.mjs"}, "NODE_EXTRA_CA_CERTS="+ca)
		}
		login := map[string]any{"service": "xmpp://localhost:" + s.port, "jid": "eve@localhost/one", "password": "wrong"}
		if got := start(s.ca).refused("connect", login); !strings.Contains(got, "not-authorized") {
			t.Errorf("with a wrong password: %s", got)
		}
		none := filepath.Join(t.TempDir(), "none")
		if err := os.WriteFile(none, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := start(none).refused("connect", login); !strings.Contains(got, "certificate") {
			t.Errorf("without trusting our authority: %s", got)
		}
	})
	subtest(t, "a token, after the server was killed", cast, func(t *testing.T) {
		finds := s.line(t)
		eve := s.node(t, "xmpp", map[string]any{"service": "xmpp://localhost:" + finds.port(), "jid": "eve@localhost/one"})
		eve.event("authenticate", "mechanism", "SCRAM-SHA-1")
		eve.event("token", "mechanism", "HT-SHA-256-NONE")
		s.kill(t)
		s.start(t)
		eve.event("authenticate", "mechanism", "HT-SHA-256-NONE")
		eve.event("session", "jid", eve.jid)
	})
}

func TestStanza(t *testing.T) {
	needNode(t)
	t.Parallel()
	s := startServerWith(t, withHTTPS)
	network := newLine(t, s.HTTPS)
	// Bob finds the WebSocket in host-meta; what is named is where it was asked.
	ann := s.node(t, "stanza", map[string]any{"url": "wss://localhost:" + network.port() + "/xmpp-websocket", "jid": "ann@localhost/one"})
	bob := s.node(t, "stanza", map[string]any{"discover": strings.Replace(s.HTTPS, "127.0.0.1", "localhost", 1), "jid": "bob@localhost/one"})
	cast := []*script{ann, bob}
	for _, p := range cast {
		p.do("interests", map[string]any{"nodes": []string{"http://jabber.org/protocol/nick", "urn:xmpp:avatar:metadata"}})
	}
	subtest(t, "features", cast, func(t *testing.T) { features(t, ann); stanzaFeatures(t, ann) })
	subtest(t, "contacts", cast, func(t *testing.T) { contacts(t, ann, bob); stanzaContacts(t, ann) })
	subtest(t, "messages", cast, func(t *testing.T) {
		messages(t, ann, bob)
		id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "helo"}).(string)
		ann.event("acked", "id", id)
		bob.event("message", "id", id)
		ann.do("send", map[string]any{"to": "bob@localhost", "body": "hello", "replaces": id})
		bob.event("replaced", "replaces", id, "body", "hello")
		bob.event("message", "replaces", id)
	})
	subtest(t, "carbons", cast, func(t *testing.T) {
		second := s.node(t, "stanza", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "ann@localhost/second"})
		carbons(t, ann, second, bob)
		second.do("disconnect", nil)
		second.event("disconnected")
	})
	subtest(t, "blocking", cast, func(t *testing.T) { blocks(t, ann, bob) })
	subtest(t, "personal nodes and cards", cast, func(t *testing.T) { stanzaNodes(t, ann, bob) })
	subtest(t, "archive", cast, func(t *testing.T) { pages(t, ann, bob) })
	subtest(t, "resumption", cast, func(t *testing.T) {
		network.cut()
		ann.event("disconnected")
		id := bob.do("send", map[string]any{"to": ann.jid, "body": "while away"}).(string)
		bob.event("acked", "id", id)
		mine := ann.do("send", map[string]any{"to": "bob@localhost", "body": "written while away"}).(string)
		network.mend()
		ann.event("resumed")
		ann.event("message", "id", id)
		bob.event("message", "id", mine) // stanza does not tell when what it sent again is acknowledged
		for _, p := range cast {
			p.never("message")
			p.never("session")
			p.never("failed")
		}
	})
	subtest(t, "account", cast, func(t *testing.T) {
		eve := s.node(t, "stanza", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "eve@localhost/one"})
		if got := fmt.Sprint(eve.do("account", nil)); !strings.Contains(got, "registered") || !strings.Contains(got, "username") {
			t.Errorf("account %s", got)
		}
		eve.do("password", map[string]any{"password": "a new password"})
		again := startScript(t, "stanza", []string{"node", "node/stanza.mjs"}, "NODE_EXTRA_CA_CERTS="+s.ca)
		login := map[string]any{"url": s.webSocket(s.HTTPS), "jid": "eve@localhost/two", "password": password}
		if got := again.refused("connect", login); !strings.Contains(got, "auth failed") {
			t.Errorf("with the old password: %s", got)
		}
		s.node(t, "stanza", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "eve@localhost/two", "password": "a new password"})
	})
}

func features(t *testing.T, ann *script) {
	all := fmt.Sprint(ann.do("info", map[string]any{"jid": "localhost"}), ann.do("info", map[string]any{"jid": "ann@localhost"}))
	for _, feature := range []string{"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:carbons:2", "urn:xmpp:blocking", "urn:xmpp:ping", "urn:xmpp:sid:0"} {
		if !strings.Contains(all, feature) {
			t.Errorf("%s is not advertised: %s", feature, all)
		}
	}
	ann.do("ping", map[string]any{"jid": "localhost"})
}

func stanzaFeatures(t *testing.T, ann *script) {
	if got := ann.do("version", map[string]any{"jid": "localhost"}); got != "bavard" {
		t.Errorf("version %v", got)
	}
	if got := fmt.Sprint(ann.do("time", map[string]any{"jid": "localhost"})); !strings.HasPrefix(got, "20") {
		t.Errorf("time %s", got)
	}
	if got := ann.do("last_activity", map[string]any{"jid": "localhost"}).(float64); got < 0 || got > 1000 {
		t.Errorf("up for %v s", got)
	}
	ann.do("items", map[string]any{"jid": "localhost"})
}

// contacts: a subscription both ways, and the presence that comes with it.
func contacts(t *testing.T, ann, bob *script) {
	for _, p := range []*script{ann, bob} {
		p.do("roster", nil)
		p.do("available", nil)
	}
	for _, pair := range [][2]*script{{ann, bob}, {bob, ann}} {
		asks, answers := pair[0], pair[1]
		who, whom := "ann", "bob"
		if asks == bob {
			who, whom = whom, who
		}
		asks.do("subscribe", map[string]any{"to": whom + "@localhost"})
		answers.event("subscribe", "from", who+"@localhost")
		answers.do("approve", map[string]any{"to": who + "@localhost"})
		asks.event("subscribed", "from", whom+"@localhost")
		asks.event("presence", "from", answers.jid, "type", "available")
	}
	ann.event("item", "jid", "bob@localhost", "subscription", "both")
	bob.do("available", map[string]any{"show": "dnd", "status": "writing"})
	ann.event("presence", "from", bob.jid, "show", "dnd", "status", "writing")
	if got := fmt.Sprint(ann.do("roster", nil)); got != "map[bob@localhost:both]" {
		t.Errorf("roster of ann: %s", got)
	}
}

func stanzaContacts(t *testing.T, ann *script) {
	ann.do("rename", map[string]any{"jid": "bob@localhost", "name": "Robert"})
	ann.event("item", "jid", "bob@localhost", "subscription", "both")
	if e := ann.event("caps", "from", "bob@localhost/one"); e["ver"] == "" {
		t.Errorf("capabilities %v", e)
	}
}

// messages: both ways, with receipts, markers, typing, and what happens to one
// for nobody.
func messages(t *testing.T, ann, bob *script) {
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "Grüße & <Küsse> 🎈", "receipt": true, "markable": true}).(string)
	m := bob.event("message", "id", id, "body", "Grüße & <Küsse> 🎈", "from", ann.jid)
	if m["stanza_id"] == "" {
		t.Errorf("received %v", m)
	}
	ann.event("receipt", "id", id, "from", bob.jid)
	bob.do("displayed", map[string]any{"to": "ann@localhost", "id": id})
	ann.event("displayed", "id", id, "from", bob.jid)
	for _, state := range []string{"composing", "paused"} {
		bob.do("chat_state", map[string]any{"to": "ann@localhost", "state": state})
		ann.event("state", "state", state, "from", bob.jid)
	}
	id = bob.do("send", map[string]any{"to": "ann@localhost", "body": "bonjour"}).(string)
	ann.event("message", "id", id, "body", "bonjour")
	ann.do("send", map[string]any{"to": "nobody@localhost", "body": "hello?"})
	ann.event("message_error", "from", "nobody@localhost", "condition", "service-unavailable")
}

// carbons: what the one device of ann sends and receives, the other sees.
func carbons(t *testing.T, ann, second, bob *script) {
	second.do("carbons", nil)
	second.do("available", nil)
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "from one"}).(string)
	if m := second.event("carbon_sent", "id", id, "body", "from one"); m["from"] != ann.jid || m["by"] != "ann@localhost" {
		t.Errorf("carbon %v", m)
	}
	bob.event("message", "id", id)
	id = bob.do("send", map[string]any{"to": ann.jid, "body": "to one"}).(string)
	ann.event("message", "id", id)
	if m := second.event("carbon_received", "id", id, "body", "to one"); m["from"] != bob.jid {
		t.Errorf("carbon %v", m)
	}
}

func blocks(t *testing.T, ann, bob *script) {
	ann.do("blocklist", nil)
	ann.do("block", map[string]any{"jid": "bob@localhost"})
	ann.event("blocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", ann.jid, "type", "unavailable")
	bob.do("send", map[string]any{"to": "ann@localhost", "body": "do you hear me"})
	bob.event("message_error", "condition", "service-unavailable")
	if got := fmt.Sprint(ann.do("blocklist", nil)); got != "[bob@localhost]" {
		t.Errorf("blocklist %s", got)
	}
	ann.do("unblock", map[string]any{"jid": "bob@localhost"})
	ann.event("unblocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", ann.jid, "type", "available")
	ann.never("message")
}

// pages reads the archive of a conversation, two at a time.
func pages(t *testing.T, ann, bob *script) {
	var want []string
	for n := range 5 {
		want = append(want, fmt.Sprint("page ", n))
		id := bob.do("send", map[string]any{"to": "ann@localhost", "body": want[n]}).(string)
		ann.event("message", "id", id)
	}
	for _, p := range []*script{ann, bob} {
		with := "bob@localhost"
		if p == bob {
			with = "ann@localhost"
		}
		var got []string
		for _, body := range p.do("history", map[string]any{"peer": with, "page": 2}).([]any) {
			got = append(got, body.(string))
		}
		if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
			t.Errorf("%s's archive: %q", with, got)
		}
	}
}

func stanzaNodes(t *testing.T, ann, bob *script) {
	ann.do("nick", map[string]any{"name": "Annie"})
	bob.event("nick", "from", "ann@localhost", "value", "Annie")
	id := ann.do("avatar", map[string]any{"data": pixel}).(string)
	bob.event("avatar", "from", "ann@localhost", "source", "pubsub", "ids", "["+id+"]")
	if got := bob.do("get_avatar", map[string]any{"jid": "ann@localhost", "id": id}); got != pixel {
		t.Errorf("picture %v", got)
	}
	if got := fmt.Sprint(ann.do("nodes", map[string]any{"jid": "ann@localhost"})); got != "[http://jabber.org/protocol/nick urn:xmpp:avatar:data urn:xmpp:avatar:metadata]" {
		t.Errorf("nodes %s", got)
	}
	if got := fmt.Sprint(ann.do("configuration", map[string]any{"node": "urn:xmpp:avatar:data"})); !strings.Contains(got, "pubsub#access_model:presence") {
		t.Errorf("configuration %s", got)
	}
	ann.do("bookmark", map[string]any{"jid": "tea@rooms.example", "name": "Tea"})
	if got := fmt.Sprint(ann.do("bookmarks", nil)); got != "[Tea tea@rooms.example]" {
		t.Errorf("bookmarks %s", got)
	}
	ann.do("set_vcard", map[string]any{"name": "Ann Other"})
	if got := bob.do("vcard", map[string]any{"jid": "ann@localhost"}); got != "Ann Other" {
		t.Errorf("card %v", got)
	}
}
