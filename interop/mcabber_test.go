// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/await"
)

// mcabber is mcabber on a terminal.
type mcabber struct {
	*terminal
	jid   string // it adds to the resource
	trace string // what it logs, with all XML
}

func (s *server) mcabber(t *testing.T, local, host, port string) *mcabber {
	t.Helper()
	dir := t.TempDir()
	m := &mcabber{trace: filepath.Join(dir, "trace")}
	rc := filepath.Join(dir, "rc")
	settings := fmt.Sprintf("set jid = %s@%s\nset password = %s\nset server = %s\nset port = %s\nset resource = mc\nset tls = 1\n"+
		"set tls_ignore_checks = 1\nset ssl_ignore_checks = 1\nset beep_on_message = 0\nset carbons = 1\nset tracelog_level = 3\nset tracelog_file = %s\n",
		local, s.domain, password, host, port, m.trace)
	if err := os.WriteFile(rc, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	m.terminal = startTerminal(t, "mcabber -f "+rc, "HOME="+dir)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(m.trace) // without it the screen must do
			t.Logf("mcabber:\n%s\n%s", m.screen(context.Background()), log)
		}
	})
	// The screen says it, too, and may have scrolled on.
	if err := await.UntilEvery(testContext(t), 50*time.Millisecond, func(context.Context) error {
		log, err := os.ReadFile(m.trace)
		if err != nil {
			return err
		}
		_, after, found := strings.Cut(string(log), "<jid>"+local+"@"+s.domain+"/")
		resource, _, whole := strings.Cut(after, "</jid>")
		if !found || !whole {
			return errors.New("mcabber has not logged in")
		}
		m.jid = local + "@" + s.domain + "/" + resource
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// choose opens the chat with a contact, once it is in the roster that is shown.
func (m *mcabber) choose(contact string) {
	m.t.Helper()
	if err := await.UntilEvery(testContext(m.t), time.Second, func(ctx context.Context) error {
		m.typeLine("/roster search " + contact)
		m.typeLine("") // Enter opens the chat that is chosen
		if strings.Contains(m.screen(ctx), "Special buffer: [status]") {
			return errors.New("mcabber does not open the chat with " + contact)
		}
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
}

// TestMcabber: an old client without stream management and without MAM gets
// what came while it was away from the offline flush, and chats.
func TestMcabber(t *testing.T) {
	need(t, "mcabber", "tmux")
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	network := s.line(t)
	ann := s.slixmppAt(t, "ann@localhost/one", network.host(), network.port())
	ann.do("roster", nil)
	ann.do("available", nil)
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "while you were away"}).(string)
	ann.event("acked", "id", id)
	bob := s.mcabber(t, "bob", network.host(), network.port())
	bob.shows("ann@localhost")
	bob.choose("ann@localhost")
	bob.shows("while you were away")
	chat := mcabberChat{bob, s, network, ann}
	for _, part := range []struct {
		name string
		run  func(mcabberChat)
	}{
		{"contacts", mcabberChat.contacts},
		{"receipts", mcabberChat.chats},
		{"another device", mcabberChat.copies},
		{"a killed server", mcabberChat.outlivesServer},
	} {
		t.Run(part.name, func(t *testing.T) {
			bob.terminal.t, ann.t = t, t
			part.run(chat)
		})
	}
}

// mcabberChat is mcabber with a contact on slixmpp, who uses the same way to the
// server.
type mcabberChat struct {
	*mcabber
	server  *server
	network *line
	contact *script
}

func (c mcabberChat) contacts() {
	c.contact.do("subscribe", map[string]any{"to": "bob@localhost"})
	c.typeLine("/authorization allow ann@localhost")
	c.typeLine("/authorization request ann@localhost")
	c.contact.event("subscribe", "from", "bob@localhost")
	c.contact.event("presence", "from", c.jid, "type", "available")
	c.typeLine("/status away lunch")
	c.contact.event("presence", "from", c.jid, "type", "away")
	c.typeLine("/status online -")
	c.contact.event("presence", "from", c.jid, "type", "available")
}

func (c mcabberChat) chats() {
	c.typeLine("/say_to ann@localhost from the past")
	c.contact.event("message", "body", "from the past")
	id := c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "to the past", "receipt": true}).(string)
	c.shows("to the past")
	c.contact.event("receipt", "id", id)
}

func (c mcabberChat) copies() {
	other := c.server.slixmpp(c.terminal.t, "bob@localhost/other")
	other.do("carbons", nil)
	other.do("available", nil)
	other.do("send", map[string]any{"to": "ann@localhost", "body": "from the other device"})
	c.shows("from the other device")
	c.contact.do("send", map[string]any{"to": "bob@localhost/other", "body": "to the other device"})
	c.shows("to the other device")
	c.typeLine("/say_to ann@localhost from mcabber")
	other.event("carbon_sent", "body", "from mcabber")
	other.do("disconnect", nil)
}

func (c mcabberChat) outlivesServer() {
	id := c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "before the end"}).(string)
	c.contact.event("acked", "id", id)
	c.server.kill(c.terminal.t)
	c.contact.event("disconnected")
	c.server.start(c.terminal.t)
	c.contact.do("reconnect", nil)
	c.contact.event("session_start")
	c.contact.do("available", nil)
	c.typeLine("/connect")                                                 // it would try by itself after a minute
	c.contact.take("presence of mcabber", func(line map[string]any) bool { // with a new resource
		return has(line, "presence", []string{"type", "available"}) && strings.HasPrefix(fmt.Sprint(line["from"]), "bob@localhost/mc.")
	})
	c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "there you are"})
	c.choose("ann@localhost")
	c.shows("before the end")
	c.shows("there you are")
	c.typeLine("/say_to ann@localhost and back again")
	c.contact.event("message", "body", "and back again")
}
