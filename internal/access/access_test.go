// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// known is what the view and the accounts say.
type known struct {
	clients  []state.Client
	recovery state.Secret
	sessions []Session
	err      error    // of each call
	revoked  []string // clients
}

func (k *known) Clients(string) ([]state.Client, error)              { return k.clients, k.err }
func (k *known) Recovery(string) (state.Secret, error)               { return k.recovery, k.err }
func (k *known) NewRecovery(context.Context, string) (string, error) { return "ABCD-EFGH", k.err }
func (k *known) NoRecovery(context.Context, string) error            { return k.err }
func (k *known) NewLink(context.Context, string) (string, time.Time, error) {
	return "k5j", noon.Add(10 * time.Minute), k.err
}

func (k *known) Revoke(_ context.Context, account, client string) error {
	k.revoked = append(k.revoked, account+" "+client)
	return k.err
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// ask plays an IQ of juliet's to itself, and gives the answer without its addresses.
func (k *known) ask(t *testing.T, from, typ, payload string) string {
	t.Helper()
	iq, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='"+typ+"' id='1'>"+payload+"</iq>"), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	j, err := jid.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	child := iq.Elements()[0]
	for _, e := range Feature(k, k, func(string) []Session { return k.sessions }, func() time.Time { return noon }).Entries {
		if e.Key.Type != typ || e.Key.Payload != child.Name {
			continue
		}
		effects := e.Handle(&route.Request{From: j, Stanza: iq, Target: route.ToSelf, Payload: child})
		read, ok := effects[0].(route.Read)
		if !ok || len(effects) != 1 {
			t.Fatalf("%+v is no read", effects)
		}
		answer := read.Do(t.Context())
		if len(answer) != 1 {
			t.Fatalf("%d answers", len(answer))
		}
		return string(xmlstream.AppendElement(nil, answer[0].(route.Reply).Stanza, stanza.NSClient))
	}
	t.Fatal("nobody handles ", payload)
	return ""
}

const (
	juliet = "juliet@example.org/balcony"
	list   = "<list xmlns='urn:xmpp:cam:0'/>"
)

func session(t *testing.T, full, client string) Session {
	t.Helper()
	j, err := jid.Parse(full)
	if err != nil {
		t.Fatal(err)
	}
	return Session{JID: j, Client: client, Since: noon.Add(-time.Minute)}
}

// The list has the clients in the order in which they came, and then the sessions
// that do not say which client they are; a token that has ended is none.
func TestList(t *testing.T) {
	good := &state.Token{Expires: noon.Add(time.Second)}
	ended := &state.Token{Expires: noon}
	k := &known{
		clients: []state.Client{
			{ID: "third", First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour), Recovery: true, Next: good},
			{ID: "first", First: noon.Add(-3 * time.Hour), Last: noon.Add(-2 * time.Hour), Password: true, Current: ended, Software: "<App>", Device: "Phone"},
			{ID: "second", First: noon.Add(-2 * time.Hour), Last: noon.Add(-2 * time.Hour), Link: true, Current: good, Next: ended},
		},
		sessions: []Session{session(t, juliet, "second"), session(t, "juliet@example.org/désk", "")},
	}
	id := base64.RawURLEncoding.EncodeToString
	client := func(id, connected, first, last, auth, agent string) string {
		return "<client id='" + id + "' connected='" + connected + "' type='session'><first-seen>2026-11-28T" + first + "Z</first-seen><last-seen>2026-11-28T" + last +
			"Z</last-seen><auth>" + auth + "</auth><permission status='unrestricted'/>" + agent + "</client>"
	}
	want := "<clients xmlns='urn:xmpp:cam:0'>" +
		client(id([]byte("first")), "false", "09:00:00", "10:00:00", "<password/>", "<user-agent><software>&lt;App></software><device>Phone</device></user-agent>") +
		client(id([]byte("second")), "true", "10:00:00", "12:00:00", "<grant/><fast/>", "<user-agent/>") +
		client(id([]byte("third")), "false", "11:00:00", "11:00:00", "<grant/><fast/>", "<user-agent/>") +
		client("session."+id([]byte("désk")), "true", "11:59:00", "12:00:00", "<password/>", "<user-agent><software>désk</software></user-agent>") + "</clients>"
	if got := strings.ReplaceAll(k.ask(t, juliet, "get", list), "&gt;", ">"); !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	k.clients, k.sessions = nil, nil
	if got := k.ask(t, juliet, "get", list); !strings.Contains(got, "<clients xmlns='urn:xmpp:cam:0'/>") {
		t.Errorf("nobody: %s", got)
	}
	k.err = errors.New("damaged at /var/lib")
	if got := k.ask(t, juliet, "get", list); !strings.Contains(got, "<internal-server-error ") || strings.Contains(got, "/var") {
		t.Errorf("broken: %s", got)
	}
}

func TestRevoke(t *testing.T) {
	id := base64.RawURLEncoding.EncodeToString
	for _, c := range []struct {
		name, id string
		err      error
		want     string
		asked    bool // the accounts
	}{
		{"a client", id([]byte("sixteen bytes...")), nil, "<iq type='result'", true},
		{"one that is not", id([]byte("nobody")), stanza.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such device"), "<item-not-found ", true},
		{"one that knows the password", id([]byte("app")), stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, ""), "<password-reset-required xmlns='urn:xmpp:cam:0'/>", true},
		{"in trouble", id([]byte("app")), errors.New("no journal"), "<internal-server-error ", true},
		{"a session without a name", "session." + id([]byte("desk")), nil, "<password-reset-required xmlns='urn:xmpp:cam:0'/>", false},
		{"a session that has gone", "session." + id([]byte("gone")), nil, "<item-not-found ", false},
		{"a session that has a name", "session." + id([]byte("balcony")), nil, "<item-not-found ", false},
		{"no id", "", nil, "<item-not-found ", false},
		{"no base64", "a+b/", nil, "<item-not-found ", false},
	} {
		k := &known{err: c.err, sessions: []Session{session(t, juliet, "sixteen bytes..."), session(t, "juliet@example.org/desk", "")}}
		got := k.ask(t, juliet, "set", "<revoke xmlns='urn:xmpp:cam:0' id='"+c.id+"'/>")
		if !strings.Contains(got, c.want) || strings.Contains(got, "journal") || (len(k.revoked) == 1) != c.asked {
			t.Errorf("%s: %s, revoked %q", c.name, got, k.revoked)
		}
		if c.err == nil && c.asked && k.revoked[0] != "juliet@example.org sixteen bytes..." {
			t.Errorf("revoked %q", k.revoked)
		}
	}
}

// The address in a link's uri is escaped: what a name has of what ends or divides an
// address is not read as that.
func TestLink(t *testing.T) {
	k := &known{}
	got := k.ask(t, "j?liet#1;%@example.org/x", "set", "<link xmlns='urn:bavard:link:0'/>")
	if !strings.Contains(got, "<link xmlns='urn:bavard:link:0' token='k5j' expires='2026-11-28T12:10:00Z' uri='xmpp:j%3Fliet%231%3B%25@example.org?login;token=k5j'/>") {
		t.Error(got)
	}
	k.err = stanza.Err(stanza.Wait, stanza.ResourceConstraint, "busy")
	if got := k.ask(t, juliet, "set", "<link xmlns='urn:bavard:link:0'/>"); !strings.Contains(got, "<resource-constraint ") || strings.Contains(got, "k5j") {
		t.Error(got)
	}
}

func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name     string
		recovery state.Secret
		err      error
		want     string
	}{
		{"none", state.Secret{}, state.ErrNotFound, "<recovery xmlns='urn:bavard:recovery:0'/>"},
		{"one", state.Secret{Made: noon}, nil, "<recovery xmlns='urn:bavard:recovery:0' made='2026-11-28T12:00:00Z'/>"},
		{"one in use", state.Secret{Made: noon, Expires: noon.Add(time.Hour)}, nil, "made='2026-11-28T12:00:00Z' expires='2026-11-28T13:00:00Z'/>"},
		{"one that has ended", state.Secret{Made: noon, Expires: noon}, nil, "<recovery xmlns='urn:bavard:recovery:0'/>"},
		{"trouble", state.Secret{}, errors.New("damaged"), "<internal-server-error "},
	} {
		k := &known{recovery: c.recovery, err: c.err}
		if got := k.ask(t, juliet, "get", "<recovery xmlns='urn:bavard:recovery:0'/>"); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	k := &known{}
	if got := k.ask(t, juliet, "set", "<recovery xmlns='urn:bavard:recovery:0'/>"); !strings.Contains(got, "code='ABCD-EFGH'") {
		t.Error(got)
	}
	const remove = "<recovery xmlns='urn:bavard:recovery:0'><remove/></recovery>"
	if got := k.ask(t, juliet, "set", remove); !strings.Contains(got, "type='result'") || strings.Contains(got, "code") {
		t.Error(got)
	}
	k.err = errors.New("no journal")
	for _, payload := range []string{remove, "<recovery xmlns='urn:bavard:recovery:0'/>"} {
		if got := k.ask(t, juliet, "set", payload); !strings.Contains(got, "<internal-server-error ") {
			t.Error(got)
		}
	}
}
