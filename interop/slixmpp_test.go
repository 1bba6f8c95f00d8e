// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bavard/drill/client"
)

// -B: it leaves no compiled files in testdata.
var slixmppLine = []string{python, "-B", "testdata/slixmpp_peer.py"}

// slixmpp starts a peer and logs it in over STARTTLS, trusting the server's own
// authority and nothing else.
func (s *server) slixmpp(t *testing.T, jid string) *script {
	t.Helper()
	return s.slixmppAt(t, jid, "localhost", s.port)
}

// slixmppAt is slixmpp by another way to the server.
func (s *server) slixmppAt(t *testing.T, jid, host, port string) *script {
	t.Helper()
	p := startScript(t, "slixmpp", slixmppLine)
	p.do("connect", map[string]any{"jid": jid, "password": password, "host": host, "port": atoi(t, port), "ca": s.ca})
	p.event("sm_enabled")
	p.event("session_start", "jid", jid)
	return p
}

func TestSlixmpp(t *testing.T) {
	needModule(t, "slixmpp")
	s := startServer(t)
	ann := s.slixmpp(t, "ann@localhost/one")
	ann.do("roster", nil)
	ann.do("carbons", nil)
	ann.do("available", nil)

	t.Run("features", func(t *testing.T) {
		ann.t = t
		info := fmt.Sprint(ann.do("disco", map[string]any{"jid": "ann@localhost"}), ann.do("disco", map[string]any{"jid": "localhost"}))
		for _, feature := range []string{"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:sid:0", "urn:xmpp:carbons:2", "urn:xmpp:ping"} {
			if !strings.Contains(info, feature) {
				t.Errorf("%s is not advertised: %s", feature, info)
			}
		}
		ann.do("ping", map[string]any{"jid": "localhost"})
	})

	t.Run("contacts", func(t *testing.T) {
		bob := s.slixmpp(t, "bob@localhost/one")
		ann.t = t
		bob.do("roster", nil)
		bob.do("available", nil)
		ann.do("subscribe", map[string]any{"to": "bob@localhost"})
		bob.event("subscribe", "from", "ann@localhost")
		ann.event("presence", "from", "bob@localhost/one", "type", "available")
		bob.event("presence", "from", "ann@localhost/one", "type", "available")
		items := fmt.Sprint(ann.do("roster", nil))
		if !strings.Contains(items, "bob@localhost:map[ask: name: subscription:both]") {
			t.Errorf("roster of ann: %s", items)
		}
		bob.do("disconnect", nil)
		ann.event("presence", "from", "bob@localhost/one", "type", "unavailable")
	})

	t.Run("ticks, receipts and markers", func(t *testing.T) {
		bob := s.slixmpp(t, "bob@localhost/two")
		ann.t = t
		bob.do("available", nil)
		id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "salut", "receipt": true, "markable": true}).(string)
		ann.event("acked", "id", id)
		m := bob.event("message", "body", "salut", "id", id)
		if m["from"] != "ann@localhost/one" || m["stanza_id"] == "" {
			t.Errorf("received %v", m)
		}
		ann.event("receipt", "id", id)
		bob.do("displayed", map[string]any{"to": "ann@localhost", "id": id})
		ann.event("displayed", "id", id)
	})

	t.Run("offline", func(t *testing.T) {
		ann.t = t
		id := ann.do("send", map[string]any{"to": "eve@localhost", "body": "are you there"}).(string)
		ann.event("acked", "id", id)
		eve := s.slixmpp(t, "eve@localhost/one")
		eve.do("available", nil)
		if m := eve.event("message", "id", id); m["stamp"] == "" || m["stanza_id"] == "" {
			t.Errorf("without delay or stanza-id: %v", m)
		}
	})

	t.Run("archive", func(t *testing.T) {
		ann.t = t
		for n := range 5 {
			id := ann.do("send", map[string]any{"to": "eve@localhost", "body": fmt.Sprint("page ", n)}).(string)
			ann.event("acked", "id", id)
		}
		var forwards, backwards []string
		for _, m := range ann.do("mam", map[string]any{"peer": "eve@localhost"}).([]any) {
			forwards = append(forwards, m.(map[string]any)["body"].(string))
		}
		for _, m := range ann.do("mam", map[string]any{"peer": "eve@localhost", "reverse": true}).([]any) {
			backwards = append(backwards, m.(map[string]any)["body"].(string))
		}
		if fmt.Sprint(forwards) != "[are you there page 0 page 1 page 2 page 3 page 4]" {
			t.Errorf("forwards: %q", forwards)
		}
		slices.Reverse(backwards)
		if !slices.Equal(forwards, backwards) {
			t.Errorf("backwards: %q", backwards)
		}
	})

	t.Run("names and pictures", func(t *testing.T) {
		ann.t = t
		ann.do("nick", map[string]any{"name": "Annie"})
		ann.event("nick", "from", "ann@localhost", "value", "Annie")
		id := ann.do("avatar", map[string]any{"data": "not a picture"}).(string)
		ann.event("avatar", "from", "ann@localhost", "id", id)
		// A contact who comes later is told, and can fetch the picture.
		bob := s.slixmpp(t, "bob@localhost/three")
		bob.do("available", nil)
		bob.event("nick", "from", "ann@localhost", "value", "Annie")
		bob.event("avatar", "from", "ann@localhost", "id", id)
		if got := bob.do("retrieve_avatar", map[string]any{"jid": "ann@localhost", "id": id}); got != "not a picture" {
			t.Errorf("picture %q", got)
		}
		ann.do("nick", map[string]any{"name": "Ann"})
		bob.event("nick", "from", "ann@localhost", "value", "Ann")
		if got := fmt.Sprint(ann.do("nodes", nil)); got != "[http://jabber.org/protocol/nick urn:xmpp:avatar:data urn:xmpp:avatar:metadata]" {
			t.Errorf("nodes %s", got)
		}
		if got := fmt.Sprint(ann.do("configuration", map[string]any{"node": "urn:xmpp:avatar:data"})); !strings.Contains(got, "pubsub#access_model:presence") {
			t.Errorf("configuration %s", got)
		}
		bob.do("disconnect", nil)
	})

	t.Run("carbons", func(t *testing.T) {
		second := s.slixmpp(t, "ann@localhost/second")
		ann.t = t
		second.do("carbons", nil)
		second.do("available", nil)
		id := ann.do("send", map[string]any{"to": "eve@localhost", "body": "from one"}).(string)
		m := second.event("carbon_sent", "id", id)
		if m["from"] != "ann@localhost/one" || m["to"] != "eve@localhost" || m["body"] != "from one" {
			t.Errorf("carbon %v", m)
		}
		eve := s.slixmpp(t, "eve@localhost/carbons")
		eve.do("available", nil)
		id = eve.do("send", map[string]any{"to": "ann@localhost/one", "body": "to one"}).(string)
		ann.event("message", "id", id)
		if m := second.event("carbon_received", "id", id); m["body"] != "to one" {
			t.Errorf("carbon %v", m)
		}
	})

	t.Run("resumption", func(t *testing.T) {
		eve := s.slixmpp(t, "eve@localhost/resumed")
		ann.t = t
		eve.do("available", nil)
		ann.do("cut", nil)
		ann.event("disconnected")
		id := eve.do("send", map[string]any{"to": "ann@localhost/one", "body": "while away"}).(string)
		eve.event("acked", "id", id)
		ann.do("reconnect", nil)
		ann.event("session_resumed")
		ann.event("message", "id", id)
		id = ann.do("send", map[string]any{"to": "eve@localhost", "body": "back"}).(string)
		ann.event("acked", "id", id)
		eve.event("message", "id", id)
		ann.never("sm_failed")
		ann.never("session_start")
	})

	t.Run("with the app's transport", func(t *testing.T) {
		ann.t = t
		app, got := s.login(t, "bob")
		o := client.NewMessage("ann@localhost", "from the app")
		if err := app.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
		<-o.Settled()
		ann.event("message", "body", "from the app")
		ann.do("send", map[string]any{"to": "bob@localhost", "body": "to the app"})
		if m := receive(t, got, "to the app"); m.From != "ann@localhost/one" || m.ArchiveID == "" {
			t.Errorf("received %+v", m)
		}
	})
	ann.t = t
	ann.never("message_error")
	ann.never("stream_error")
}

// TestSlixmppTrusts: a client that trusts another authority does not get as far
// as sending its password.
func TestSlixmppTrusts(t *testing.T) {
	needModule(t, "slixmpp")
	s, other := startServer(t), startServer(t)
	p := startScript(t, "slixmpp", slixmppLine)
	p.do("connect", map[string]any{"jid": "ann@localhost/one", "password": password, "host": "localhost", "port": atoi(t, s.port), "ca": other.ca})
	p.event("untrusted")
	p.never("session_start")
}
