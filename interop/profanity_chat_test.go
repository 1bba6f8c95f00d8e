// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
)

// profanityChat is Profanity with a contact on slixmpp, who uses the same way to
// the server.
type profanityChat struct {
	*profanity
	server  *server
	network *line
	contact *script
}

// TestProfanityDaily: one to one, all that Profanity does, but for OMEMO
// (TestOMEMO) and the archive (TestProfanityArchive).
func TestProfanityDaily(t *testing.T) {
	need(t, "profanity", "tmux")
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServerWith(t, "[registration]\nopen = true\n")
	c := profanityChat{server: s, network: s.line(t)}
	c.contact = s.slixmppAt(t, "ann@localhost/one", c.network.host(), c.network.port())
	c.contact.do("roster", nil)
	c.contact.do("available", nil)
	c.profanity = s.profanityAt(t, "bob@localhost/prof", c.network.host(), c.network.port())
	for _, part := range []struct {
		name string
		run  func(profanityChat)
	}{
		{"contacts", profanityChat.contacts},
		{"receipts, typing, corrections", profanityChat.chats},
		{"another device", profanityChat.copies},
		{"questions", profanityChat.asks},
		{"pictures", profanityChat.sees},
		{"blocking", profanityChat.blocks},
		{"a cut connection", profanityChat.reconnects},
		{"a killed server", profanityChat.outlivesServer},
		{"a new password", profanityChat.changesPassword},
	} {
		t.Run(part.name, func(t *testing.T) {
			c.terminal.t, c.contact.t = t, t
			part.run(c)
		})
	}
	if strings.Contains(c.logged(), "not-well-formed") {
		t.Error("Profanity finds that the server's XML is not well-formed")
	}
}

// console types a command in the window that shows what commands answer.
func (c profanityChat) console(command, answer string) {
	c.terminal.t.Helper()
	c.typeLine("/win 1")
	c.typeLine("/clear")
	c.typeLine(command)
	c.shows(answer)
}

func (c profanityChat) contacts() {
	c.typeLine("/sub request ann@localhost")
	c.contact.event("subscribe", "from", "bob@localhost")
	c.typeLine("/sub allow ann@localhost")
	c.contact.event("presence", "from", "bob@localhost/prof", "type", "available")
	if err := await.UntilEvery(testContext(c.terminal.t), time.Second, func(context.Context) error {
		c.typeLine("/win 1")
		c.typeLine("/roster")
		if screen := c.screen(testContext(c.terminal.t)); !strings.Contains(screen, "ann@localhost - both") {
			return errors.New("Profanity does not have the contact")
		}
		return nil
	}); err != nil {
		c.terminal.t.Fatal(err)
	}
	c.typeLine("/status set away lunch")
	c.contact.event("presence", "from", "bob@localhost/prof", "type", "away")
	c.typeLine("/status set online")
	c.contact.event("presence", "from", "bob@localhost/prof", "type", "available")
}

func (c profanityChat) chats() {
	c.typeLine("/msg ann@localhost")
	c.keys("-l", "salut")
	c.contact.event("chatstate", "state", "composing", "from", "bob@localhost/prof")
	c.typeLine(" slixmpp")
	id := c.contact.event("message", "body", "salut slixmpp")["id"].(string)
	c.logs(`<received id="` + id + `"`)
	c.contact.do("state", map[string]any{"to": "bob@localhost", "state": "composing"})
	c.shows("typing...")

	id = c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "salut Profanity", "receipt": true}).(string)
	c.shows("salut Profanity")
	c.contact.event("receipt", "id", id)

	c.typeLine("at sevne")
	id = c.contact.event("message", "body", "at sevne")["id"].(string)
	c.typeLine("/correct at seven")
	c.contact.event("correction", "body", "at seven", "replaces", id)
	id = c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "at noone"}).(string)
	c.shows("at noone")
	c.contact.do("correct", map[string]any{"to": "bob@localhost", "id": id, "body": "at noon!"})
	c.shows("at noon!")
}

func (c profanityChat) copies() {
	other := c.server.slixmpp(c.terminal.t, "bob@localhost/other")
	other.do("carbons", nil)
	other.do("available", nil)
	other.do("send", map[string]any{"to": "ann@localhost", "body": "from the other device"})
	c.shows("from the other device")
	c.contact.do("send", map[string]any{"to": "bob@localhost/other", "body": "to the other device"})
	c.shows("to the other device")
	c.typeLine("from Profanity")
	other.event("carbon_sent", "body", "from Profanity")
	other.do("disconnect", nil)
}

func (c profanityChat) asks() {
	c.console("/ping", "Ping response from server")
	c.console("/ping ann@localhost/one", "Ping response from ann@localhost/one")
	c.console("/serversoftware localhost", "Name    : bavard")
	c.console("/lastactivity get localhost", "localhost up since")
	c.console("/disco info", "urn:xmpp:mam:2#extended")
	c.console("/autoping set 1", "Autoping interval set to 1 seconds")
	c.logs("Autoping: Pong handler fired")
	c.console("/autoping set 0", "Autoping disabled")
}

func (c profanityChat) sees() {
	var mine, theirs bytes.Buffer
	if err := errors.Join(png.Encode(&mine, image.NewGray(image.Rect(0, 0, 8, 8))), png.Encode(&theirs, image.NewGray(image.Rect(0, 0, 9, 9)))); err != nil {
		c.terminal.t.Fatal(err)
	}
	file := filepath.Join(c.terminal.t.TempDir(), "mine.png")
	if err := os.WriteFile(file, mine.Bytes(), 0o600); err != nil {
		c.terminal.t.Fatal(err)
	}
	c.console("/avatar set "+file, "Avatar updated successfully")
	c.contact.event("avatar", "from", "bob@localhost")

	c.contact.do("avatar", map[string]any{"data": base64.StdEncoding.EncodeToString(theirs.Bytes()), "encoding": "base64"})
	c.console("/avatar get ann@localhost", "Avatar saved as")
	if err := await.Until(testContext(c.terminal.t), func(context.Context) error {
		files, err := filepath.Glob(filepath.Join(c.dir, "data", "profanity", "avatars", "ann_at_localhost*"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("pictures: %v %v", files, err)
		}
		got, err := os.ReadFile(files[0])
		if err == nil && !bytes.Equal(got, theirs.Bytes()) {
			err = fmt.Errorf("the picture has %d bytes, not %d", len(got), theirs.Len())
		}
		return err
	}); err != nil {
		c.terminal.t.Error(err)
	}
}

func (c profanityChat) blocks() {
	eve, _ := c.server.login(c.terminal.t, "eve")
	say := func(body string, want client.State) {
		o := client.NewMessage("bob@localhost", body)
		if err := eve.Send(testContext(c.terminal.t), o); err != nil {
			c.terminal.t.Fatal(err)
		}
		<-o.Settled()
		if o.State() != want {
			c.terminal.t.Errorf("%q is in state %d, not %d", body, o.State(), want)
		}
	}
	c.console("/blocked add eve@localhost", "User eve@localhost successfully blocked")
	c.console("/blocked", "eve@localhost")
	say("you cannot read this", client.Refused)
	c.console("/blocked remove eve@localhost", "User eve@localhost successfully unblocked")
	say("you can read this", client.Ticked)
	c.typeLine("/msg eve@localhost")
	c.shows("you can read this")
	if strings.Contains(c.screen(testContext(c.terminal.t)), "you cannot read this") {
		c.terminal.t.Error("what was blocked is shown")
	}
}

func (c profanityChat) reconnects() {
	c.typeLine("/msg ann@localhost")
	c.shows("ann@localhost [")
	c.network.cut()
	c.contact.event("disconnected")
	c.network.mend()
	c.contact.do("reconnect", nil)
	c.contact.event("session_resumed")
	c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "while you were cut"})
	c.shows("while you were cut")
	c.typeLine("here I am")
	c.contact.event("message", "body", "here I am")
}

func (c profanityChat) outlivesServer() {
	id := c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "before the end"}).(string)
	c.contact.event("acked", "id", id)
	c.server.kill(c.terminal.t)
	c.contact.event("disconnected")
	c.server.start(c.terminal.t)
	c.contact.do("reconnect", nil)
	c.contact.event("session_start")
	c.contact.do("available", nil)
	c.contact.event("presence", "from", "bob@localhost/prof")
	c.contact.do("send", map[string]any{"to": "bob@localhost", "body": "there you are"})
	c.shows("there you are")
	c.shows("before the end")
	c.typeLine("and back again")
	c.contact.event("message", "body", "and back again")
}

func (c profanityChat) changesPassword() {
	const fresh = "another horse"
	c.typeLine("/win 1")
	c.typeLine("/changepassword")
	c.shows("Enter password:")
	c.typeLine(fresh)
	c.shows("Confirm password:")
	c.typeLine(fresh)
	c.shows("Password successfully changed")
	c.server.knows(c.terminal.t, "bob", fresh)
}

// knows logs in with a password.
func (s *server) knows(t *testing.T, local, password string) {
	t.Helper()
	session, err := client.Dial(testContext(t), client.Config{
		JID: local + "@" + s.domain, Password: password, WebSocket: "ws://" + s.HTTP + "/xmpp-websocket",
	})
	if err != nil {
		t.Fatalf("%s cannot log in: %v", local, err)
	}
	session.Cut()
}

// TestProfanityRegisters: somebody without an account makes one.
func TestProfanityRegisters(t *testing.T) {
	need(t, "profanity", "tmux")
	t.Parallel()
	s := startServerWith(t, "[registration]\nopen = true\n")
	p := newProfanity(t)
	p.typeLine(fmt.Sprintf("/register dora localhost port %s tls trust", s.port))
	p.shows("Enter password:")
	p.typeLine("dora's horse")
	p.shows("Confirm password:")
	p.typeLine("dora's horse")
	p.shows("Registration successful")
	s.knows(t, "dora", "dora's horse")
}
