// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"slices"
	"testing"
)

// TestLibrariesTogether: clients of different makers, over different transports,
// chat with each other: subscriptions, presence, messages each way, receipts,
// typing, messages for who is away, and the archive read after.
func TestLibrariesTogether(t *testing.T) {
	needNode(t)
	needModule(t, "slixmpp")
	needModule(t, "aioxmpp")
	t.Parallel()
	t.Run("strophe.js and slixmpp", func(t *testing.T) {
		t.Parallel()
		s := startServerWith(t, withHTTPS)
		ann := s.node(t, "strophe", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "ann@localhost/one"})
		bob := s.slixmpp(t, "bob@localhost/one")
		bob.do("roster", nil)
		bob.do("available", nil)
		ann.do("roster", nil)
		ann.do("available", nil)
		// slixmpp approves, and asks in return, by itself.
		ann.do("subscribe", map[string]any{"to": "bob@localhost"})
		ann.event("subscribed", "from", "bob@localhost")
		ann.event("presence", "from", "bob@localhost/one", "type", "available")
		ann.event("subscribe", "from", "bob@localhost")
		ann.do("approve", map[string]any{"to": "bob@localhost"})
		bob.event("presence", "from", "ann@localhost/one", "type", "available")

		id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "salut", "receipt": true, "markable": true}).(string)
		bob.event("message", "id", id, "body", "salut")
		ann.event("receipt", "id", id)
		bob.do("displayed", map[string]any{"to": "ann@localhost", "id": id})
		ann.event("displayed", "id", id)
		ann.do("chat_state", map[string]any{"to": "bob@localhost", "state": "composing"})
		bob.event("chatstate", "state", "composing", "from", "ann@localhost/one")
		bob.do("state", map[string]any{"to": "ann@localhost", "state": "paused"})
		ann.event("state", "state", "paused", "from", "bob@localhost/one")
		id = bob.do("send", map[string]any{"to": "ann@localhost", "body": "coucou", "receipt": true}).(string)
		ann.event("message", "id", id)
		bob.event("receipt", "id", id)

		bob.do("disconnect", nil)
		ann.event("presence", "from", "bob@localhost/one", "type", "unavailable")
		id = ann.do("send", map[string]any{"to": "bob@localhost", "body": "for later"}).(string)
		ann.do("settled", nil)
		bob = s.slixmpp(t, "bob@localhost/two")
		bob.do("available", nil)
		if m := bob.event("message", "id", id); m["stamp"] == "" {
			t.Errorf("late message without a delay: %v", m)
		}
		want := []string{"salut", "coucou", "for later"}
		read(t, ann.do("history", map[string]any{"peer": "bob@localhost", "page": 2}), want)
		var bodies []any
		for _, m := range bob.do("mam", map[string]any{"peer": "ann@localhost"}).([]any) {
			if body := m.(map[string]any)["body"]; body != "" {
				bodies = append(bodies, body)
			}
		}
		read(t, bodies, want)
	})
	t.Run("@xmpp/client, aioxmpp and stanza", func(t *testing.T) {
		t.Parallel()
		s := startServerWith(t, withHTTPS)
		ann := s.node(t, "xmpp", map[string]any{"service": "xmpp://localhost:" + s.port, "jid": "ann@localhost/one"})
		bob := s.aioxmpp(t, "bob@localhost/one", s.port, nil)
		eve := s.node(t, "stanza", map[string]any{"url": s.webSocket(s.HTTPS), "jid": "eve@localhost/one"})
		people := []struct {
			*script
			bare string
		}{{ann, "ann@localhost"}, {bob, "bob@localhost"}, {eve, "eve@localhost"}}
		bob.jid = "bob@localhost/one" // of the others the server has made the end
		for _, p := range people {
			if p.script != bob {
				p.do("roster", nil)
				p.do("available", nil)
			}
		}
		for _, from := range people {
			for _, to := range people {
				if from == to {
					continue
				}
				from.do("subscribe", map[string]any{"to": to.bare})
				to.event("subscribe", "from", from.bare)
				to.do("approve", map[string]any{"to": from.bare})
				from.event("subscribed", "from", to.bare)
				from.event("presence", "from", to.jid, "type", "available")
			}
		}
		for _, from := range people {
			for _, to := range people {
				if from == to {
					continue
				}
				body := fmt.Sprintf("%s to %s", from.bare, to.bare)
				// To the device: aioxmpp does not match receipts otherwise.
				id := from.do("send", map[string]any{"to": to.jid, "body": body, "receipt": true}).(string)
				to.event("message", "id", id, "body", body, "from", from.jid)
				from.event("receipt", "id", id)
				from.do("chat_state", map[string]any{"to": to.bare, "state": "composing"})
				to.event("state", "state", "composing", "from", from.jid)
			}
		}
		bob.do("stop", nil)
		for _, p := range []*script{ann, eve} {
			p.event("presence", "from", "bob@localhost/one", "type", "unavailable")
			p.do("send", map[string]any{"to": "bob@localhost", "body": "while you were away"})
		}
		bob = s.aioxmpp(t, "bob@localhost/two", s.port, nil)
		for _, from := range []string{ann.jid, eve.jid} {
			if m := bob.event("message", "body", "while you were away", "from", from); m["stamp"] == "" {
				t.Errorf("late message without a delay: %v", m)
			}
		}
		for _, pair := range []struct {
			reader *script
			peer   string
			want   []string
		}{
			{ann, "bob@localhost", []string{"ann@localhost to bob@localhost", "bob@localhost to ann@localhost", "while you were away"}},
			{eve, "ann@localhost", []string{"ann@localhost to eve@localhost", "eve@localhost to ann@localhost"}},
			{eve, "bob@localhost", []string{"bob@localhost to eve@localhost", "eve@localhost to bob@localhost", "while you were away"}},
		} {
			read(t, pair.reader.do("history", map[string]any{"peer": pair.peer, "page": 2}), pair.want)
		}
	})
}

// read compares what a client read in its archive.
func read(t *testing.T, got any, want []string) {
	t.Helper()
	var bodies []string
	for _, body := range got.([]any) {
		bodies = append(bodies, body.(string))
	}
	if !slices.Equal(bodies, want) {
		t.Errorf("read %q, want %q", bodies, want)
	}
}
