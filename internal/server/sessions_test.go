// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bavard/internal/dispatch"
	"bavard/internal/stanza"
)

// ends reads until the stream is over and gives the last element but
// WebSocket's <close/>.
func (d *device) ends() string {
	d.t.Helper()
	last := ""
	for {
		el, ok := d.next()
		if !ok {
			return last
		}
		if el == nil {
			d.t.Fatalf("%s/%s: the stream did not end", d.user, d.resource)
		}
		if !el.Is(stanza.NSFraming, "close") {
			last = text(el)
		}
	}
}

// A server that stops says so on every stream, of whatever kind and stage, and
// is not held up by a device that does not read. What was acked is there
// afterwards.
func TestStoppingIsToldAndBounded(t *testing.T) {
	s := startServer(t)
	s.account("alice")
	s.account("bob")
	connect := func(user, resource string, ws bool) *device {
		d := &device{t: t, user: user, resource: resource, dial: s.dial(ws)}
		d.login()
		d.bind()
		d.enable()
		return d
	}
	var told []*device
	for i := range 10 {
		d := connect("alice", fmt.Sprint(i), i%2 == 0)
		d.listen()
		told = append(told, d)
	}
	for _, ws := range []bool{false, true} { // logged in, and no more
		d := &device{t: t, user: "alice", resource: "none", dial: s.dial(ws)}
		d.login()
		d.listen()
		told = append(told, d)
	}
	deaf := connect("bob", "deaf", false)
	deaf.send("<presence/>")
	body := strings.Repeat("x", 60_000)
	sender := told[0]
	const messages = 100
	for i := range messages {
		sender.send(fmt.Sprintf("<message to='bob@localhost/deaf' type='chat' id='m%d'><body>%s</body></message>", i, body))
	}
	sender.send("<message to='bob@localhost' type='chat' id='last'><body>last</body><request xmlns='urn:xmpp:receipts'/></message>")
	acked := &device{t: t, user: "bob", resource: "other", dial: s.dial(false)}
	acked.login()
	acked.bind()
	acked.listen()
	told = append(told, acked)
	sender.send("<iq type='get' id='after' to='localhost'><ping xmlns='" + stanza.NSPing + "'/></iq>")
	for el, _ := sender.next(); el.Get("id") != "after"; el, _ = sender.next() {
		if el == nil {
			t.Fatal("no answer to a ping")
		}
	}

	begun := time.Now()
	s.restart()
	if took := time.Since(begun); took > stopWithin+5*time.Second { // the start included
		t.Errorf("it took %v", took)
	}
	for _, d := range told {
		if last := d.ends(); !strings.Contains(last, "<system-shutdown") {
			t.Errorf("%s/%s (%T) ended with %q", d.user, d.resource, d.pipe, last)
		}
	}
	// Its answer to the ping came after that of all messages before it.
	reader := connect("bob", "reader", false)
	reader.listen()
	reader.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max><before/></set></query></iq>")
	if el, _ := reader.next(); !strings.Contains(text(el), "<body>last</body>") {
		t.Errorf("the newest message is %.300s", text(el))
	}
}

// One device too many is told so when it binds, and may try again (RFC 6120
// §7.6.2.1).
func TestTooManyDevices(t *testing.T) {
	s := startServer(t)
	s.account("alice")
	for i := range dispatch.ResourcesMost {
		d := &device{t: t, user: "alice", resource: fmt.Sprint(i), dial: s.dial(false)}
		d.login()
		d.bind()
		if i == 0 {
			d.enable()
			defer d.pipe.cut() // in the test's own time
			continue
		}
		d.listen()
	}
	over := &device{t: t, user: "alice", resource: "over", dial: s.dial(true)}
	over.login()
	bind := "<iq type='set' id='b'><bind xmlns='" + stanza.NSBind + "'><resource>%s</resource></bind></iq>"
	over.send(fmt.Sprintf(bind, "over"))
	if got := text(over.must()); !strings.Contains(got, "type='wait'><resource-constraint") {
		t.Errorf("one too many: %s", got)
	}
	over.send(fmt.Sprintf(bind, "7"))
	if got := text(over.must()); !strings.Contains(got, "alice@localhost/7") {
		t.Errorf("the resource of another: %s", got)
	}
}
