// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dinoChat is Dino with a contact on slixmpp, who uses the same way to the server.
type dinoChat struct {
	*dino
	contact *script
}

// TestDino: one to one, all that Dino does.
func TestDino(t *testing.T) {
	t.Parallel()
	needDino(t)
	needModule(t, "slixmpp")
	s := startServerOf(t, "chat.test", "")
	d := dinoChat{dino: s.dino(t, "ann")}
	d.contact = s.slixmppAt(t, "bob@chat.test/one", d.network.host(), d.network.port())
	d.contact.do("roster", nil)
	d.contact.do("available", nil)
	for _, part := range []struct {
		name string
		run  func(dinoChat)
	}{
		{"contacts", dinoChat.contacts},
		{"ticks, receipts, markers, typing", dinoChat.chats},
		{"corrections", dinoChat.corrects},
		{"pictures", dinoChat.sees},
		{"another device", dinoChat.copies},
		{"a cut connection", dinoChat.resumes},
		{"away", dinoChat.catchesUp},
		{"a killed server", dinoChat.outlivesServer},
	} {
		t.Run(part.name, func(t *testing.T) {
			d.desktop.t, d.contact.t = t, t
			part.run(d)
		})
	}
	d.desktop.t = t
	d.believes("", "select body, count(*) from message where body is not null group by body having count(*) > 1")
	if trace := d.tail(16 << 20); strings.Contains(trace, "stream}:error") {
		t.Error("Dino was told of a stream error")
	}
}

// say lets the contact send a message and waits until the server has it.
func (d dinoChat) say(body string) (id string) {
	d.desktop.t.Helper()
	id = d.contact.do("send", map[string]any{"to": d.jid, "body": body, "receipt": true, "markable": true}).(string)
	d.contact.event("acked", "id", id)
	return id
}

func (d dinoChat) contacts() {
	d.contact.do("subscribe", map[string]any{"to": d.jid})
	d.heard("'subscribe'", "bob@chat.test")
	d.act("accept-subscription", "bob@chat.test")
	d.contact.event("presence", "from", "ann@chat.test/dino", "type", "available")
	d.believes("both", "select subscription from roster where jid = 'bob@chat.test'")
	d.heard(":presence ", ":from='bob@chat.test/one'")
}

func (d dinoChat) chats() {
	id := d.say("salut Dino")
	d.received("bob@chat.test", "salut Dino")
	d.contact.event("receipt", "id", id)
	d.open("bob@chat.test")
	d.contact.event("displayed", "id", id)

	d.typeKeys("salut")
	d.contact.event("chatstate", "state", "composing", "from", "ann@chat.test/dino")
	d.typeKeys(" slixmpp", "Return")
	m := d.contact.event("message", "body", "salut slixmpp")
	d.mark("salut slixmpp", markReceived)
	d.contact.do("displayed", map[string]any{"to": d.jid, "id": m["id"]})
	d.mark("salut slixmpp", markRead)
	d.past()
	d.contact.do("state", map[string]any{"to": d.jid, "state": "composing"})
	d.heard(":composing", "bob@chat.test/one")
}

func (d dinoChat) corrects() {
	id := d.say("at noone")
	d.contact.do("correct", map[string]any{"to": d.jid, "id": id, "body": "at noon"})
	d.believes(id, "select c.to_stanza_id from message_correction c join message m on m.id = c.message_id where m.body = 'at noon'")
}

func (d dinoChat) sees() {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		d.desktop.t.Fatal(err)
	}
	id := d.contact.do("avatar", map[string]any{"data": base64.StdEncoding.EncodeToString(picture.Bytes()), "encoding": "base64"}).(string)
	d.believes("1", "select count(distinct hash) from contact_avatar where hash = '%s'", id)
	d.until("the picture", func(context.Context) error {
		got, err := os.ReadFile(filepath.Join(d.dir, "data", "dino", "avatars", id))
		if err == nil && !bytes.Equal(got, picture.Bytes()) {
			err = fmt.Errorf("it has %d bytes instead of %d", len(got), picture.Len())
		}
		return err
	})
}

func (d dinoChat) copies() {
	other := d.server.slixmpp(d.desktop.t, d.jid+"/other")
	other.do("carbons", nil)
	other.do("available", nil)
	other.do("send", map[string]any{"to": "bob@chat.test", "body": "from the other device"})
	d.believes("1|bob@chat.test", "select m.direction, j.bare_jid from message m join jid j on j.id = m.counterpart_id where m.body = 'from the other device'")
	d.contact.do("send", map[string]any{"to": d.jid + "/other", "body": "to the other device"})
	d.received("bob@chat.test", "to the other device")
	d.send("bob@chat.test", "from Dino")
	other.event("carbon_sent", "body", "from Dino")
	other.do("disconnect", nil)
}

func (d dinoChat) resumes() {
	d.past()
	d.contact.do("cut", nil)
	d.contact.event("disconnected")
	d.network.cut()
	d.network.mend()
	d.contact.do("reconnect", nil)
	d.contact.event("session_resumed")
	d.say("while you were cut")
	d.heard(":resumed ")
	d.received("bob@chat.test", "while you were cut")
	d.send("bob@chat.test", "here I am")
	d.contact.event("message", "body", "here I am")
	d.mark("here I am", markReceived)
	if stanzas := d.stanzas("XMPP OUT "); strings.Contains(strings.Join(stanzas, ""), "xmpp-bind}:bind") {
		d.desktop.t.Error("Dino bound a new session instead of resuming its own")
	}
}

// catchesUp: Dino ends without a word and comes back after more messages than a
// page of the archive has.
func (d dinoChat) catchesUp() {
	d.run.kill()
	const n = 25
	var want, ids []string
	for i := range n {
		want = append(want, fmt.Sprintf("missed %02d", i))
		ids = append(ids, d.say(want[i]))
	}
	d.start()
	d.believes(strings.Join(want, "\n"), "select body from message where body like 'missed %%' order by time, id")
	for _, id := range ids {
		d.contact.event("receipt", "id", id)
	}
}

// outlivesServer: what had its tick when the server was killed is there
// afterwards, and so is what was typed while there was no server.
func (d dinoChat) outlivesServer() {
	// No more: with ten stanzas in flight when a resumption fails, Dino 0.4.2 never
	// sends another one.
	const n = 3
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("before the end %d", i))
		d.say(want[i])
	}
	d.server.kill(d.desktop.t)
	d.contact.event("disconnected")
	d.send("bob@chat.test", "is anybody there")
	d.server.start(d.desktop.t)
	// Dino tries again after a minute when its first try finds no server; and sometimes
	// its reader ends unheard, so that it learns of the end by its next ping, after two minutes.
	d.contact.waits = 5 * patience
	d.contact.do("reconnect", nil)
	d.contact.event("session_start")
	d.contact.do("available", nil)
	d.contact.event("message", "body", "is anybody there")
	d.mark("is anybody there", markReceived)
	d.believes(strings.Join(want, "\n"), "select body from message where body like 'before the end %%' order by time, id")
	// What comes next comes after all that was there before: nothing comes twice.
	d.send("bob@chat.test", "there you are")
	d.contact.event("message", "body", "there you are")
	d.contact.never("message", "body", "is anybody there")
}
