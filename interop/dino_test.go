// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dino is Dino on a desktop. What it believes is read from its database, what it
// says and hears from the trace that it prints.
type dino struct {
	*desktop
	network *line
	server  *server
	jid     string
	db      string
	trace   string // file of the trace
	seen    int    // how much of the trace is of the past
	run     *process
}

func needDino(t *testing.T) {
	t.Helper()
	need(t, "dino-im", "sqlite3")
	needDesktop(t)
}

// dino starts a Dino that has never run before and logs it in.
func (s *server) dino(t *testing.T, local string) *dino {
	t.Helper()
	d := s.newDino(t, local)
	d.login()
	return d
}

// newDino makes a Dino that knows an account, and does not start it yet. It will
// find the server where the domain is, on port 5222.
func (s *server) newDino(t *testing.T, local string) *dino {
	t.Helper()
	d := &dino{network: s.standardPort(t), server: s, jid: local + "@" + s.domain}
	d.desktop = startDesktop(t, s, d.network.host())
	d.db = filepath.Join(d.dir, "data", "dino", "dino.db")
	d.trace = filepath.Join(d.dir, "trace")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Dino:\n%s", d.tail(40<<10))
		}
	})
	d.start() // it makes its database, and asks for an account
	d.until("the database", func(ctx context.Context) error {
		_, err := d.sql(ctx, "select int_val from _meta where name = 'version'")
		return err
	})
	d.run.stop()
	d.write("insert into account(id, bare_jid, resourcepart, password, alias, enabled) values (1, '%s', 'dino', '%s', '', 1)", d.jid, password)
	return d
}

func (d *dino) login() {
	d.t.Helper()
	d.start()
	d.heard("enabled")
}

// encrypt opens a conversation that is encrypted by OMEMO. Dino must not run.
func (d *dino) encrypt(contact string) {
	d.t.Helper()
	d.write(`insert into jid(bare_jid) values ('%s');
		insert into conversation(account_id, jid_id, active, last_active, type, encryption, notification, send_typing, send_marker)
		values (1, last_insert_rowid(), 1, 0, 0, 2, 0, 0, 0)`, contact)
}

// write changes Dino's database. Dino must not run.
func (d *dino) write(query string, args ...any) {
	d.t.Helper()
	if out, err := exec.Command("sqlite3", d.db, fmt.Sprintf(query, args...)).CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
}

// standardPort is a line from port 5222 of a loopback address of its own.
func (s *server) standardPort(t *testing.T) *line {
	t.Helper()
	for range 20 {
		address := fmt.Sprintf("127.%d.%d.%d:5222", 1+rand.IntN(250), rand.IntN(250), 2+rand.IntN(250))
		if l, err := net.Listen("tcp", address); err == nil {
			return newLineFrom(t, l, s.address)
		}
	}
	t.Fatal("port 5222 cannot be had on any loopback address")
	return nil
}

// start starts the program, again or for the first time.
func (d *dino) start() {
	d.t.Helper()
	d.past()
	log, err := os.OpenFile(d.trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.run = d.desktop.start(log, nil, "dino-im", "--print-xmpp=all")
	// It ends when somebody reads its database while it opens it.
	d.until("Dino on its bus", func(ctx context.Context) error {
		_, err := d.actions(ctx)
		return err
	})
}

// sql asks Dino's database.
func (d *dino) sql(ctx context.Context, query string) (string, error) {
	out, err := exec.CommandContext(ctx, "sqlite3", "-readonly", "-cmd", ".timeout 5000", d.db, query).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// believes waits until a query of the database has a result.
func (d *dino) believes(want, query string, args ...any) {
	d.t.Helper()
	query = fmt.Sprintf(query, args...)
	d.until("Dino's database", func(ctx context.Context) error {
		got, err := d.sql(ctx, query)
		if err == nil && got != want {
			err = fmt.Errorf("%s: %q, not %q", query, got, want)
		}
		return err
	})
}

const gApplication = "/im/dino/Dino"

// call calls a method of Dino's over D-Bus.
func (d *dino) call(ctx context.Context, method string, args ...string) (string, error) {
	return d.desktop.run(ctx, "gdbus", append([]string{"call", "--session", "--dest", "im.dino.Dino", "--object-path", gApplication, "--method", method}, args...)...)
}

func (d *dino) actions(ctx context.Context) (string, error) {
	return d.call(ctx, "org.gtk.Actions.List")
}

// act does what a click on a notification does to the conversation with a contact.
func (d *dino) act(action, contact string) {
	d.t.Helper()
	var conversation string
	d.until(action, func(ctx context.Context) (err error) {
		conversation, err = d.sql(ctx, fmt.Sprintf("select c.id from conversation c join jid j on j.id = c.jid_id where j.bare_jid = '%s'", contact))
		if err == nil && conversation == "" {
			err = errors.New("there is no conversation with " + contact)
		}
		return err
	})
	if _, err := d.call(testContext(d.t), "org.gtk.Actions.Activate", action, "[<"+conversation+">]", "{}"); err != nil {
		d.t.Fatal(err)
	}
}

// open opens the conversation with a contact, as a click on a link would: what
// is typed next goes there.
func (d *dino) open(contact string) {
	d.t.Helper()
	d.until("opening a chat", func(ctx context.Context) error {
		_, err := d.call(ctx, "org.freedesktop.Application.Open", "['xmpp:"+contact+"?message']", "{}")
		return err
	})
	if _, err := d.desktop.run(testContext(d.t), "xdotool", "search", "--sync", "--onlyvisible", "--class", "dino"); err != nil {
		d.t.Fatal(err)
	}
}

// send types a message to a contact and waits until Dino has taken it.
func (d *dino) send(contact, body string) {
	d.t.Helper()
	d.open(contact)
	d.typeKeys(body, "Return")
	d.believes("1", "select count(*) from message where direction = 1 and body = '%s'", body)
}

// Values of message.marked in Dino's database.
const (
	markReceived = "1"
	markRead     = "2"
	markSent     = "7"
)

// mark waits until Dino shows this mark at a message that it sent.
func (d *dino) mark(body, mark string) {
	d.t.Helper()
	d.believes(mark, "select marked from message where direction = 1 and body = '%s'", body)
}

// received waits until Dino has a message of somebody else's, once.
func (d *dino) received(from, body string) {
	d.t.Helper()
	d.believes("1", "select count(*) from message m join jid j on j.id = m.counterpart_id where direction = 0 and j.bare_jid = '%s' and body = '%s'", from, body)
}

// past forgets what the trace has so far.
func (d *dino) past() {
	if info, err := os.Stat(d.trace); err == nil {
		d.seen = int(info.Size())
	}
}

func (d *dino) tail(n int) string {
	data, err := os.ReadFile(d.trace)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}

// heard waits for a stanza from the server that has all of these parts. In the
// trace an element is written as <{namespace}name {namespace}attribute='value'>.
func (d *dino) heard(parts ...string) {
	d.t.Helper()
	d.until("the trace", func(context.Context) error {
		if !slices.ContainsFunc(d.stanzas("XMPP IN "), func(stanza string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(stanza, part) })
		}) {
			data := d.tail(16 << 20)
			data = data[min(d.seen, len(data)):]
			return fmt.Errorf("it has no stanza with %q, but ends in:\n%s", parts, data[max(0, len(data)-4<<10):])
		}
		return nil
	})
}

// stanzas lists what the trace has in a direction since the past.
func (d *dino) stanzas(direction string) []string {
	data, err := os.ReadFile(d.trace)
	if err != nil {
		d.t.Fatal(err)
	}
	var found []string
	for block := range strings.SplitSeq("\n"+string(data[d.seen:]), "\nXMPP ") {
		if strings.HasPrefix("XMPP "+block, direction) {
			found = append(found, block)
		}
	}
	return found
}
