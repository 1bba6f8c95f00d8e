// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
)

// profanity is Profanity on a terminal.
type profanity struct {
	*terminal
	dir string // it keeps its files in cfg and data
	log string
}

func (s *server) profanity(t *testing.T, jid string) *profanity {
	t.Helper()
	return s.profanityAt(t, jid, s.host, s.port)
}

// newProfanity starts a Profanity that has never run before.
func newProfanity(t *testing.T) *profanity {
	t.Helper()
	dir := t.TempDir()
	p := &profanity{dir: dir, log: filepath.Join(dir, "log")}
	p.terminal = startTerminal(t, "profanity -l DEBUG -f "+p.log,
		"XDG_CONFIG_HOME="+filepath.Join(dir, "cfg"), "XDG_DATA_HOME="+filepath.Join(dir, "data"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Profanity:\n%s", p.logged())
		}
	})
	p.shows("Profanity")
	return p
}

// profanityAt is profanity by another way to the server.
func (s *server) profanityAt(t *testing.T, jid, host, port string) *profanity {
	t.Helper()
	p := newProfanity(t)
	for _, setting := range []string{"/receipts request on", "/receipts send on", "/mam on", "/carbons on", "/correction on", "/reconnect 1", "/inpblock timeout 5"} {
		p.typeLine(setting)
	}
	p.typeLine(fmt.Sprintf("/connect %s server %s port %s tls trust", jid, host, port))
	p.shows("Enter password:")
	p.typeLine(password)
	p.shows("logged in successfully")
	// It asks what the server supports, and believes what it has heard so far.
	p.logs("connection_features_received")
	return p
}

// logs waits until the log has a text.
func (p *profanity) logs(want string) {
	p.t.Helper()
	if err := await.UntilEvery(testContext(p.t), 100*time.Millisecond, func(context.Context) error {
		if !strings.Contains(p.logged(), want) {
			return fmt.Errorf("Profanity's log does not have %q", want)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *profanity) logged() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func TestProfanity(t *testing.T) {
	needModule(t, "slixmpp")
	need(t, "profanity", "tmux")
	s := startServer(t)
	ann := s.slixmpp(t, "ann@localhost/one")
	ann.do("available", nil)
	app, got := s.login(t, "eve")

	bob := s.profanity(t, "bob@localhost/prof")
	bob.typeLine("/msg ann@localhost bonjour slixmpp")
	if m := ann.event("message", "body", "bonjour slixmpp"); m["from"] != "bob@localhost/prof" || m["stanza_id"] == "" {
		t.Errorf("received %v", m)
	}
	ann.do("send", map[string]any{"to": "bob@localhost", "body": "bonjour profanity", "receipt": true})
	bob.shows("bonjour profanity")
	ann.event("receipt")

	bob.typeLine("/msg eve@localhost bonjour app")
	m := receive(t, got, "bonjour app")
	if m.From != "bob@localhost/prof" || m.ArchiveID == "" {
		t.Errorf("received %+v", m)
	}
	o := client.NewMessage("bob@localhost", "bonjour de l'app")
	if err := app.Send(testContext(t), o); err != nil {
		t.Fatal(err)
	}
	bob.shows("bonjour de l'app")

	log := bob.logged()
	for _, wrong := range []string{"stream:error", "not-well-formed", "Segmentation", "unexpected"} {
		if strings.Contains(log, wrong) {
			t.Errorf("Profanity's log has %q", wrong)
		}
	}
}

// TestProfanityArchive: a Profanity without any history of its own gets it from
// the archive. Profanity looks for the archive among the features of the domain.
func TestProfanityArchive(t *testing.T) {
	need(t, "profanity", "tmux")
	s := startServer(t)
	app, got := s.login(t, "ann")
	other, gotToo := s.login(t, "bob")
	for _, m := range []struct {
		from *client.Session
		to   string
	}{{app, "bob"}, {other, "ann"}} {
		o := client.NewMessage(m.to+"@localhost", "archived for "+m.to)
		if err := m.from.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
		<-o.Settled()
	}
	receive(t, got, "archived for ann")
	receive(t, gotToo, "archived for bob")
	// It acknowledges what it has: Profanity is not sent it offline, which would open
	// the chat before Profanity knows that there is an archive.
	if err := other.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}

	bob := s.profanity(t, "bob@localhost/prof")
	bob.typeLine("/msg ann@localhost")
	bob.shows("archived for ann")
	bob.shows("archived for bob")
	if !strings.Contains(bob.logged(), `xmlns="urn:xmpp:mam:2"`) {
		t.Error("Profanity did not ask the archive")
	}
}
