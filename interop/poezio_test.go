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
	"bavard/drill/client"
)

// poezio is Poezio on a terminal.
type poezio struct {
	*terminal
	jid   string // it adds to the resource
	debug string // its log, with all XML
	seen  int    // how much of it is of the past
}

// nobody is whom Poezio runs as: it refuses root.
const nobody = 65534

// poezio starts a Poezio that trusts the server's authority alone, and logs it in.
func (s *server) poezio(t *testing.T, jid string, network *line) *poezio {
	t.Helper()
	dir, err := os.MkdirTemp("", "it-") // those of the tests can be entered by their owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &poezio{debug: filepath.Join(dir, "debug.log")}
	authority, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	ca, file := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "poezio.cfg")
	settings := fmt.Sprintf("[Poezio]\njid = %s\npassword = %s\ncustom_host = %s\ncustom_port = %s\nca_cert_path = %s\nenable_smacks = true\nconnection_check_interval = 5\n",
		jid, password, network.host(), network.port(), ca)
	if err := errors.Join(os.WriteFile(ca, authority, 0o600), os.WriteFile(file, []byte(settings), 0o600)); err != nil {
		t.Fatal(err)
	}
	command := "poezio -f " + file + " -d " + p.debug
	if os.Geteuid() == 0 {
		for _, name := range []string{dir, ca, file} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		command = fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups %s", nobody, nobody, command)
	}
	p.terminal = startTerminal(t, command, "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "XDG_DATA_HOME="+dir+"/data", "XDG_CACHE_HOME="+dir+"/cache")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Poezio:\n%s", p.logged())
		}
	})
	p.logs(`<enabled xmlns="urn:xmpp:sm:3"`)
	_, after, _ := strings.Cut(p.all(), "<jid>"+jid)
	suffix, _, _ := strings.Cut(after, "</jid>")
	p.jid = jid + suffix
	p.shows("Your JID is " + p.jid)
	return p
}

// typeLine types a line once Poezio is ready for each part of it: many keys at
// once are text that is pasted, not a command or an Enter.
func (p *poezio) typeLine(line string) {
	p.t.Helper()
	if rest, command := strings.CutPrefix(line, "/"); command {
		p.keys("-l", "/")
		p.input("/")
		p.keys("-l", rest)
	} else {
		p.keys("-l", line)
	}
	p.input(line)
	p.keys("Enter")
}

// input waits until the line that is typed ends like this.
func (p *poezio) input(want string) {
	p.t.Helper()
	if err := await.UntilEvery(testContext(p.t), 50*time.Millisecond, func(ctx context.Context) error {
		screen := strings.TrimSpace(p.screen(ctx))
		if last := screen[strings.LastIndexByte(screen, '\n')+1:]; !strings.HasSuffix(last, want) {
			return fmt.Errorf("Poezio's input is %q, not %q", last, want)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
}

// past forgets what the log has so far.
func (p *poezio) past() { p.seen = len(p.all()) }

func (p *poezio) all() string {
	data, err := os.ReadFile(p.debug)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// logged is the log since the past.
func (p *poezio) logged() string {
	all := p.all()
	return all[min(p.seen, len(all)):]
}

// logs waits until the log has a text.
func (p *poezio) logs(want string) {
	p.t.Helper()
	if err := await.UntilEvery(testContext(p.t), 100*time.Millisecond, func(context.Context) error {
		if !strings.Contains(p.logged(), want) {
			return fmt.Errorf("Poezio's log does not have %q", want)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
}

// once fails the test unless the screen shows a text once.
func (p *poezio) once(want string) {
	p.t.Helper()
	p.shows(want)
	if n := strings.Count(p.screen(testContext(p.t)), want); n != 1 {
		p.t.Errorf("%q is shown %d times", want, n)
	}
}

// TestPoezio: one to one, all that Poezio does.
func TestPoezio(t *testing.T) {
	need(t, "poezio", "tmux", "setpriv")
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	network := s.line(t)
	ann := s.slixmppAt(t, "ann@localhost/one", network.host(), network.port())
	ann.do("roster", nil)
	ann.do("available", nil)
	bob := s.poezio(t, "bob@localhost/pz", network)
	for _, part := range []struct {
		name string
		run  func(*poezio, *script)
	}{
		{"contacts", (*poezio).contacts},
		{"receipts, typing, corrections", (*poezio).chats},
		{"another device", func(p *poezio, ann *script) { p.copies(s, ann) }},
		{"a cut connection", func(p *poezio, ann *script) { p.resumes(network, ann) }},
		{"a killed server", func(p *poezio, ann *script) { p.outlivesServer(s, ann) }},
	} {
		t.Run(part.name, func(t *testing.T) {
			bob.t, ann.t = t, t
			part.run(bob, ann)
		})
	}
	if strings.Contains(bob.all(), "stream:error") {
		t.Error("Poezio was told of a stream error")
	}
}

func (p *poezio) contacts(ann *script) {
	ann.do("subscribe", map[string]any{"to": "bob@localhost"})
	p.shows("wants to subscribe")
	p.typeLine("/accept ann@localhost")
	ann.event("presence", "from", p.jid, "type", "available")
	p.shows("[+] ann@localhost (1)")
}

func (p *poezio) chats(ann *script) {
	p.typeLine("/message ann@localhost")
	p.shows("[ann@localhost]")
	p.typeLine("bonjour slixmpp")
	ann.event("message", "body", "bonjour slixmpp", "from", p.jid)
	p.logs("<received")
	id := ann.do("send", map[string]any{"to": p.jid, "body": "bonjour Poezio", "receipt": true})
	p.once("bonjour Poezio")
	ann.event("receipt", "id", fmt.Sprint(id))
	ann.do("state", map[string]any{"to": p.jid, "state": "composing"})
	p.shows("composing")
	p.typeLine("at sevne")
	ann.event("chatstate", "state", "composing")
	wrong := ann.event("message", "body", "at sevne")
	p.typeLine("/correct at seven")
	ann.event("correction", "body", "at seven", "replaces", fmt.Sprint(wrong["id"]))
	wrongID := ann.do("send", map[string]any{"to": p.jid, "body": "at noone"})
	p.shows("at noone")
	ann.do("correct", map[string]any{"to": p.jid, "id": wrongID, "body": "at noon!"})
	p.shows("at noon!")
}

func (p *poezio) copies(s *server, ann *script) {
	other := s.slixmpp(p.t, "bob@localhost/other")
	other.do("carbons", nil)
	other.do("available", nil)
	other.do("send", map[string]any{"to": "ann@localhost", "body": "from the other device"})
	p.once("from the other device")
	ann.do("send", map[string]any{"to": "bob@localhost/other", "body": "to the other device"})
	p.once("to the other device")
	p.typeLine("from Poezio")
	other.event("carbon_sent", "body", "from Poezio")
	other.do("disconnect", nil)
}

func (p *poezio) resumes(network *line, ann *script) {
	p.past()
	network.cut()
	ann.event("disconnected")
	network.mend()
	ann.do("reconnect", nil)
	ann.event("session_resumed")
	ann.do("send", map[string]any{"to": "bob@localhost", "body": "while you were cut"})
	p.logs("<resumed ")
	p.once("while you were cut")
	p.typeLine("here I am")
	ann.event("message", "body", "here I am")
}

func (p *poezio) outlivesServer(s *server, ann *script) {
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "before the end"})
	ann.event("acked", "id", fmt.Sprint(id))
	s.kill(p.t)
	ann.event("disconnected")
	p.past()
	s.start(p.t)
	ann.do("reconnect", nil)
	ann.event("session_start")
	ann.do("available", nil)
	ann.do("send", map[string]any{"to": "bob@localhost", "body": "there you are"})
	p.logs("<enabled ")
	p.shows("before the end") // maybe twice: what was acked just before a crash may come again, and Poezio does not look at ids
	p.once("there you are")
	p.typeLine("and back again")
	ann.event("message", "body", "and back again")
}

// TestPoezioArchive: a Poezio without any history of its own gets it from the
// archive.
func TestPoezioArchive(t *testing.T) {
	need(t, "poezio", "tmux", "setpriv")
	t.Parallel()
	s := startServer(t)
	app, _ := s.login(t, "ann")
	for n := range 30 {
		o := client.NewMessage("bob@localhost", fmt.Sprintf("archived %02d", n))
		if err := app.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
		<-o.Settled()
	}
	// Another device of bob's has read them: they are no longer waiting for him.
	reader, got := s.login(t, "bob")
	receive(t, got, "archived 29")
	if err := reader.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	// Poezio asks for what was before the second that it is in.
	said := time.Now()
	if err := await.UntilEvery(testContext(t), 50*time.Millisecond, func(context.Context) error {
		if time.Now().Unix() == said.Unix() {
			return errors.New("it is still the same second")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	bob := s.poezio(t, "bob@localhost/pz", s.line(t))
	bob.typeLine("/message ann@localhost")
	for _, body := range []string{"archived 29", "archived 10"} {
		bob.once(body)
	}
}
