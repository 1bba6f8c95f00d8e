// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// converse is Converse.js in a browser, with a contact on slixmpp who may use
// rooms.
type converse struct {
	*script
	server  *server
	contact *script
	origin  string
	said    []string // what the conversation with the contact has
	sung    []string // and the room
}

const (
	converseRoom = "choir@rooms.chat.test"
	thumb        = "👍"
)

// startConverse starts a browser, and a server that lets pages of the browser's
// origin in. Converse looks for the server at the domain's port 443.
func startConverse(t *testing.T) *converse {
	t.Helper()
	browser := os.Getenv("CHROMIUM")
	if browser == "" {
		browser = "chromium"
	}
	need(t, browser)
	dir, err := os.MkdirTemp("", "it-") // the browser's profiles; it may still be writing there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := startScript(t, "converse", []string{"node", filepath.Join("node", "converse.mjs")}, "TMPDIR="+dir)
	p.waits = 2 * patience // a browser needs a lot of a busy machine
	t.Cleanup(p.end)       // the browser with it
	c := &converse{script: p, origin: p.do("page", nil).(string)}
	c.server = startServerOf(t, "chat.test", fmt.Sprintf("public_url = \"https://chat.test\"\n[listen]\nhttps = \"127.0.0.1:0\"\norigins = [%q]\n", c.origin))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(browser)
	if err != nil {
		t.Fatal(err)
	}
	c.do("open", map[string]any{"domain": "chat.test", "port": atoi(t, newLineFrom(t, l, c.server.web).port()), "chromium": path})
	return c
}

// TestConverse: chats, files and a group, all in a browser.
func TestConverse(t *testing.T) {
	needNode(t)
	needModule(t, "slixmpp")
	t.Parallel()
	c := startConverse(t)
	network := c.server.line(t)
	c.contact = c.server.slixmppInRooms(t, "bob@chat.test/one", network)
	c.do("login", map[string]any{"jid": "ann@chat.test", "password": password})
	c.event("socket", "url", "wss://chat.test/xmpp-websocket") // that is what host-meta says
	for _, part := range []struct {
		name string
		run  func(*converse, *testing.T)
	}{
		{"receipts, markers, typing", (*converse).chats},
		{"reactions and retractions", (*converse).changes},
		{"files", (*converse).shares},
		{"a group", (*converse).sings},
		{"moderation", (*converse).moderates},
		{"the page is loaded again", (*converse).reloads},
		{"another device", (*converse).startsAnew},
		{"a killed server", (*converse).outlivesServer},
	} {
		subtest(t, part.name, []*script{c.script, c.contact}, func(t *testing.T) { part.run(c, t) })
		if t.Failed() {
			return // what follows builds on it
		}
	}
	c.contact.never("stream_error")
	c.contact.never("message_error")
}

// hears lets the contact send a message and waits until it has its tick.
func (c *converse) hears(body string) (id string) {
	c.t.Helper()
	id = c.contact.do("send", map[string]any{"to": "ann@chat.test", "body": body, "receipt": true, "markable": true}).(string)
	c.contact.event("acked", "id", id)
	c.said = append(c.said, body)
	return id
}

// says types a message and waits until the contact has it.
func (c *converse) says(body string) map[string]any {
	c.t.Helper()
	c.do("say", map[string]any{"jid": "bob@chat.test", "body": body})
	c.said = append(c.said, body)
	return c.contact.event("message", "body", body, "type", "chat")
}

// agrees fails the test unless Converse comes to have what was said, each once
// and in order.
func (c *converse) agrees() {
	c.t.Helper()
	c.do("has", map[string]any{"jid": "bob@chat.test", "bodies": c.said})
	if c.sung != nil {
		c.do("has", map[string]any{"jid": converseRoom, "bodies": c.sung})
	}
}

func (c *converse) chats(t *testing.T) {
	id := c.hears("salut Converse")
	c.contact.event("receipt", "id", id)
	c.do("show", map[string]any{"jid": "bob@chat.test"})
	c.do("sees", map[string]any{"text": "salut Converse"})
	c.contact.event("displayed", "id", id)

	m := c.says("salut slixmpp")
	if m["stanza_id"] == "" {
		t.Errorf("received %v", m)
	}
	c.contact.event("chatstate", "state", "composing")
	c.do("message", map[string]any{"jid": "bob@chat.test", "body": "salut slixmpp", "key": "received", "value": true})
	c.agrees()
}

func (c *converse) changes(t *testing.T) {
	id := c.says("shall we sing")["id"].(string)
	c.contact.do("annotate", map[string]any{"to": "ann@chat.test", "type": "chat", "xml": "<reactions xmlns='urn:xmpp:reactions:0' id='" + id + "'><reaction>" + thumb + "</reaction></reactions>"})
	c.do("message", map[string]any{"jid": "bob@chat.test", "body": "shall we sing", "key": "reactions", "value": thumb})
	id = c.hears("on Tuesday")
	c.do("sees", map[string]any{"text": "on Tuesday"})
	c.do("react", map[string]any{"jid": "bob@chat.test", "body": "on Tuesday", "emoji": thumb})
	c.contact.event("reactions", "id", id, "values", thumb)

	id = c.says("la la la")["id"].(string)
	c.do("retract", map[string]any{"jid": "bob@chat.test", "body": "la la la"})
	c.contact.event("retracted", "id", id)
	c.said = c.said[:len(c.said)-1]
	c.agrees()
}

func (c *converse) shares(t *testing.T) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 31, 8))); err != nil {
		t.Fatal(err)
	}
	c.do("upload", map[string]any{"jid": "bob@chat.test", "name": "score.png", "type": "image/png", "data": base64.StdEncoding.EncodeToString(picture.Bytes())})
	m := c.contact.take("the address of a picture", func(line map[string]any) bool {
		return line["event"] == "message" && filepath.Base(fmt.Sprint(line["body"])) == "score.png"
	})
	c.said = append(c.said, m["body"].(string))
	if width := c.do("picture", map[string]any{"name": "score.png"}); width != 31.0 {
		t.Errorf("the picture is %v wide", width)
	}
	c.agrees()
}

// sings: a group that Converse makes, and a contact that it invites.
func (c *converse) sings(t *testing.T) {
	c.do("enter", map[string]any{"room": converseRoom, "nick": "Ann", "name": "The choir"})
	c.contact.refused("enter", map[string]any{"room": converseRoom, "nick": "Bob"})
	c.do("invite", map[string]any{"room": converseRoom, "jid": "bob@chat.test", "reason": "sing"})
	c.contact.event("invited", "room", converseRoom, "reason", "sing")
	// It tells whom it invites before it makes them a member.
	c.do("affiliated", map[string]any{"room": converseRoom, "jid": "bob@chat.test", "affiliation": "member"})
	c.contact.do("enter", map[string]any{"room": converseRoom, "nick": "Bob"})
	c.sung = []string{}
	for n := range 3 {
		c.chorus(fmt.Sprint("do ", n), fmt.Sprint("re ", n))
	}
	if got := c.do("occupants", map[string]any{"room": converseRoom}).([]any); !slices.Equal(got, []any{"Ann owner", "Bob member"}) {
		t.Errorf("Converse sees %v", got)
	}
}

// chorus: Converse says something in the group and hears something.
func (c *converse) chorus(mine, theirs string) {
	c.t.Helper()
	c.do("say", map[string]any{"jid": converseRoom, "body": mine})
	c.contact.event("said", "body", mine, "from", converseRoom+"/Ann")
	c.contact.do("say", map[string]any{"room": converseRoom, "body": theirs})
	c.contact.event("said", "body", theirs)
	c.sung = append(c.sung, mine, theirs)
	c.agrees()
}

func (c *converse) moderates(t *testing.T) {
	c.contact.do("say", map[string]any{"room": converseRoom, "body": "rude"})
	rude := c.contact.event("said", "body", "rude")
	c.do("sees", map[string]any{"text": "rude"})
	c.do("react", map[string]any{"jid": converseRoom, "body": "re 2", "emoji": thumb})
	c.contact.event("reactions", "from", converseRoom+"/Ann", "values", thumb)
	c.do("retract", map[string]any{"jid": converseRoom, "body": "rude"})
	c.contact.event("retracted", "id", fmt.Sprint(rude["stanza_id"]), "moderated", "true", "from", converseRoom)
	c.agrees()
}

// reloads: the page forgets its session, not what it has.
func (c *converse) reloads(t *testing.T) {
	c.hears("before you load again")
	c.do("reload", nil)
	c.do("inside", map[string]any{"room": converseRoom})
	c.hears("after you loaded again")
	c.chorus("mi 0", "fa 0")
	c.says("I am back")
	c.agrees()
}

// startsAnew: a device that has nothing gets all of it from the archives, and
// enters the group by its bookmark.
func (c *converse) startsAnew(t *testing.T) {
	c.do("login", map[string]any{"jid": "ann@chat.test", "password": password})
	c.do("inside", map[string]any{"room": converseRoom})
	c.do("show", map[string]any{"jid": "bob@chat.test"})
	c.agrees()
}

// outlivesServer: what was ticked before the server was killed is there
// afterwards, once, and so is what comes next.
func (c *converse) outlivesServer(t *testing.T) {
	c.hears("before the end")
	last := c.says("the end is near")
	c.chorus("sol 0", "la 0")
	c.server.kill(t)
	c.contact.event("disconnected")
	c.server.start(t)
	c.contact.do("reconnect", nil)
	c.contact.event("session_start")
	c.contact.do("available", nil)
	c.contact.do("enter", map[string]any{"room": converseRoom, "nick": "Bob"})
	c.do("connected", nil)
	c.do("inside", map[string]any{"room": converseRoom})
	c.hears("there you are")
	c.says("here I am")
	c.chorus("si 0", "do 3")
	c.agrees()
	// What the contact had not acknowledged when the server died may come again,
	// offline; by its archive id it is the same.
	c.contact.neverBut("stanza_id", fmt.Sprint(last["stanza_id"]), "message", "body", "the end is near")
}
