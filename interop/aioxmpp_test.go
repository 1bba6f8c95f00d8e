// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bavard/drill/await"
)

// pixel is a PNG of one pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

var aioxmppLine = []string{python, "-B", "testdata/aioxmpp_peer.py"}

// aioxmpp starts a client and logs it in over STARTTLS, trusting the server's
// own authority and nothing else. It is available then.
func (s *server) aioxmpp(t *testing.T, jid, port string, more map[string]any) *script {
	t.Helper()
	p := startScript(t, "aioxmpp", aioxmppLine)
	args := map[string]any{"jid": jid, "password": password, "port": atoi(t, port), "ca": s.ca}
	for k, v := range more {
		args[k] = v
	}
	in := p.do("login", args).(map[string]any)
	if in["jid"] != jid || in["sm"] != true || in["resumable"] != true {
		t.Errorf("logged in: %v", in)
	}
	return p
}

func TestAioxmpp(t *testing.T) {
	needModule(t, "aioxmpp")
	t.Parallel()
	s := startServerWith(t, `admins = ["ann@localhost"]`)
	network := newLine(t, s.C2S)
	ann := s.aioxmpp(t, "ann@localhost/one", network.port(), nil)
	bob := s.aioxmpp(t, "bob@localhost/one", s.port, nil)
	cast := []*script{ann, bob}
	for _, part := range []struct {
		name string
		run  func(t *testing.T, s *server, ann, bob *script)
	}{
		{"features", aioxmppFeatures},
		{"contacts", aioxmppContacts},
		{"presence", aioxmppPresence},
		{"messages", aioxmppMessages},
		{"carbons and offline", aioxmppCarbons},
		{"blocking", aioxmppBlocking},
		{"personal nodes", aioxmppNodes},
		{"pictures and cards", aioxmppPictures},
		{"commands", aioxmppCommands},
		{"roster versions", aioxmppRosterVersions},
		{"accounts", aioxmppAccounts},
	} {
		subtest(t, part.name, cast, func(t *testing.T) { part.run(t, s, ann, bob) })
	}
	subtest(t, "resumption", cast, func(t *testing.T) { aioxmppResumption(t, network, ann, bob) })
	for _, p := range cast {
		p.never("failure")
		p.never("destroyed")
	}
}

func aioxmppFeatures(t *testing.T, s *server, ann, bob *script) {
	domain := ann.do("info", map[string]any{"jid": "localhost"}).(map[string]any)
	account := ann.do("info", map[string]any{"jid": "ann@localhost"}).(map[string]any)
	for _, feature := range []string{
		"urn:xmpp:carbons:2", "urn:xmpp:blocking", "urn:xmpp:ping", "jabber:iq:version", "vcard-temp", "jabber:iq:register",
		"http://jabber.org/protocol/commands", "urn:xmpp:mam:2", "urn:xmpp:mam:2#extended",
	} {
		if !strings.Contains(fmt.Sprint(domain["features"], account["features"]), feature) {
			t.Errorf("%s is not advertised", feature)
		}
	}
	if got := fmt.Sprint(domain["identities"]); !strings.Contains(got, "server/im") {
		t.Errorf("identities of the domain: %s", got)
	}
	if got := fmt.Sprint(account["identities"]); !strings.Contains(got, "account/registered") || !strings.Contains(got, "pubsub/pep") {
		t.Errorf("identities of the account: %s", got)
	}
	ann.do("ping", map[string]any{"jid": "localhost"})
	if v := ann.do("version", map[string]any{"jid": "localhost"}).(map[string]any); v["name"] != "bavard" {
		t.Errorf("version of the server: %v", v)
	}
	ann.refused("ping", map[string]any{"jid": "bob@localhost/one"}) // they are strangers yet
}

func aioxmppContacts(t *testing.T, s *server, ann, bob *script) {
	ann.do("set_contact", map[string]any{"jid": "bob@localhost", "name": "Bob", "groups": []string{"Friends", "Work"}})
	ann.event("item", "jid", "bob@localhost", "subscription", "none")
	ann.do("subscribe", map[string]any{"to": "bob@localhost"})
	ann.event("subscription", "jid", "bob@localhost", "ask", "subscribe")
	bob.event("subscribe", "from", "ann@localhost")
	bob.do("approve", map[string]any{"to": "ann@localhost"})
	ann.event("subscribed", "from", "bob@localhost")
	ann.event("subscription", "jid", "bob@localhost", "subscription", "to", "ask", "None")
	ann.event("presence", "from", "bob@localhost/one", "type", "available")
	// The other way round: bob asks, and is answered.
	bob.do("subscribe", map[string]any{"to": "ann@localhost"})
	ann.event("subscribe", "from", "bob@localhost")
	ann.do("approve", map[string]any{"to": "bob@localhost"})
	bob.event("subscribed", "from", "ann@localhost")
	bob.event("subscription", "jid", "ann@localhost", "subscription", "both")
	bob.event("presence", "from", "ann@localhost/one", "type", "available")
	ann.event("subscription", "jid", "bob@localhost", "subscription", "both")
	if got := fmt.Sprint(ann.do("contacts", nil)); got != "map[bob@localhost:both Bob Friends,Work]" {
		t.Errorf("contacts of ann: %s", got)
	}
	ann.do("ping", map[string]any{"jid": "bob@localhost/one"})
	if v := ann.do("version", map[string]any{"jid": "bob@localhost/one"}).(map[string]any); v["name"] != "aioxmpp" {
		t.Errorf("version of bob's client: %v", v)
	}
	ann.refused("ping", map[string]any{"jid": "bob@localhost/nowhere"})
	ann.do("set_contact", map[string]any{"jid": "bob@localhost", "name": "Robert"})
	ann.event("item_named", "jid", "bob@localhost", "name", "Robert")
}

func aioxmppPresence(t *testing.T, s *server, ann, bob *script) {
	bob.do("set_presence", map[string]any{"show": "away", "status": "at lunch"})
	ann.event("presence", "from", "bob@localhost/one", "show", "away", "status", "at lunch")
	bob.do("set_presence", nil)
	ann.event("presence", "from", "bob@localhost/one", "show", "", "type", "available")
	// Bob does not want to be seen any more, and not to see.
	eve := s.aioxmpp(t, "eve@localhost/one", s.port, nil)
	eve.do("subscribe", map[string]any{"to": "bob@localhost"})
	bob.event("subscribe", "from", "eve@localhost")
	bob.do("approve", map[string]any{"to": "eve@localhost"})
	eve.event("presence", "from", "bob@localhost/one", "type", "available")
	eve.do("unsubscribe", map[string]any{"to": "bob@localhost"})
	bob.event("unsubscribe", "from", "eve@localhost")
	eve.event("presence", "from", "bob@localhost/one", "type", "unavailable")
	eve.do("remove_contact", map[string]any{"jid": "bob@localhost"})
	eve.event("item_removed", "jid", "bob@localhost")
	eve.do("stop", nil)
}

func aioxmppMessages(t *testing.T, s *server, ann, bob *script) {
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "Grüße & <Küsse> 🎈", "receipt": true}).(string)
	ann.event("acked", "id", id)
	m := bob.event("message", "id", id, "body", "Grüße & <Küsse> 🎈", "from", "ann@localhost/one")
	if m["stanza_id"] == "" || m["stamp"] != "" {
		t.Errorf("received %v", m)
	}
	// aioxmpp waits for a receipt from the address that it sent to, and answers to
	// the bare one: the receipt of a message to a full address is not matched.
	id = bob.do("send", map[string]any{"to": "ann@localhost", "body": "bonjour"}).(string)
	bob.event("acked", "id", id)
	ann.event("message", "id", id, "body", "bonjour", "from", "bob@localhost/one")
	corrected := bob.do("send", map[string]any{"to": "ann@localhost", "body": "bonsoir", "replaces": id}).(string)
	ann.event("message", "id", corrected, "replaces", id)
	id = ann.do("send", map[string]any{"to": "bob@localhost/one", "body": "to this device", "receipt": true}).(string)
	bob.event("message", "id", id)
	ann.event("receipt", "id", id)
	for _, state := range []string{"composing", "paused", "active", "inactive", "gone"} {
		ann.do("chat_state", map[string]any{"to": "bob@localhost", "state": state})
		bob.event("state", "state", state, "from", "ann@localhost/one")
	}
	ann.do("send", map[string]any{"to": "nobody@localhost", "body": "hello?"})
	if m := ann.event("message_error", "from", "nobody@localhost"); m["condition"] != "service-unavailable" {
		t.Errorf("to nobody: %v", m)
	}
}

func aioxmppCarbons(t *testing.T, s *server, ann, bob *script) {
	second := s.aioxmpp(t, "ann@localhost/second", s.port, nil)
	second.do("enable_carbons", nil)
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "from my other device"}).(string)
	if m := second.event("carbon_sent", "id", id); m["by"] != "ann@localhost" || m["from"] != "ann@localhost/one" || m["to"] != "bob@localhost" {
		t.Errorf("carbon %v", m)
	}
	id = bob.do("send", map[string]any{"to": "ann@localhost/one", "body": "to one of them"}).(string)
	if m := second.event("carbon_received", "id", id); m["body"] != "to one of them" || m["stanza_id"] == "" {
		t.Errorf("carbon %v", m)
	}
	ann.event("message", "id", id)
	second.do("stop", nil)

	id = ann.do("send", map[string]any{"to": "eve@localhost", "body": "when you are back"}).(string)
	ann.event("acked", "id", id)
	eve := s.aioxmpp(t, "eve@localhost/late", s.port, nil)
	if m := eve.event("message", "id", id); m["stamp"] == "" || m["stanza_id"] == "" {
		t.Errorf("late message %v", m)
	}
	eve.do("stop", nil)
}

func aioxmppBlocking(t *testing.T, s *server, ann, bob *script) {
	ann.do("block", map[string]any{"jid": "bob@localhost"})
	ann.event("blocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", "ann@localhost/one", "type", "unavailable")
	bob.do("send", map[string]any{"to": "ann@localhost", "body": "do you hear me"})
	if m := bob.event("message_error"); m["condition"] != "service-unavailable" {
		t.Errorf("what bob is told: %v", m)
	}
	// Its sender learns why, without anything leaving.
	ann.do("send", map[string]any{"to": "bob@localhost", "body": "I do not"})
	if m := ann.event("message_error"); m["condition"] != "not-acceptable" {
		t.Errorf("what ann is told: %v", m)
	}
	if got := fmt.Sprint(ann.do("blocklist", nil)); got != "[bob@localhost]" {
		t.Errorf("blocklist %s", got)
	}
	ann.do("unblock", nil)
	ann.event("unblocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", "ann@localhost/one", "type", "available")
	id := bob.do("send", map[string]any{"to": "ann@localhost", "body": "and now"}).(string)
	ann.event("message", "id", id)
	ann.do("block", map[string]any{"jid": "spam.example"})
	ann.event("blocked", "jids", "[spam.example]")
	ann.do("unblock", map[string]any{"jid": "spam.example"})
	ann.event("unblocked", "jids", "[spam.example]")
}

func aioxmppNodes(t *testing.T, s *server, ann, bob *script) {
	const node = "http://jabber.org/protocol/nick"
	ann.do("set_nick", map[string]any{"name": "Annie"})
	ann.event("nick", "from", "ann@localhost", "value", "Annie", "id", "current")
	bob.event("nick", "from", "ann@localhost", "value", "Annie")
	if got := fmt.Sprint(bob.do("get_nick", map[string]any{"jid": "ann@localhost"})); got != "[Annie]" {
		t.Errorf("bob reads %s", got)
	}
	if got := fmt.Sprint(ann.do("nodes", nil)); !strings.Contains(got, node) {
		t.Errorf("nodes %s", got)
	}
	if got := fmt.Sprint(ann.do("configure", map[string]any{"node": node})); !strings.Contains(got, "pubsub#access_model:[presence]") {
		t.Errorf("configuration %s", got)
	}
	if got := ann.refused("set_nick", map[string]any{"name": "Anna", "access_model": "whitelist"}); !strings.Contains(got, "conflict") {
		t.Errorf("another access model: %s", got)
	}
	ann.do("retract_nick", nil)
	if got := fmt.Sprint(ann.do("get_nick", map[string]any{"jid": "ann@localhost"})); got != "[]" {
		t.Errorf("after it was retracted: %s", got)
	}
	ann.do("delete_node", map[string]any{"node": node})
	ann.do("set_nick", map[string]any{"name": "Ann", "access_model": "whitelist"})
	ann.event("nick", "from", "ann@localhost", "value", "Ann")
	if got := bob.refused("get_nick", map[string]any{"jid": "ann@localhost"}); !strings.Contains(got, "not-allowed") && !strings.Contains(got, "not-authorized") {
		t.Errorf("bob is told %s", got)
	}
}

func aioxmppPictures(t *testing.T, s *server, ann, bob *script) {
	id := ann.do("publish_avatar", map[string]any{"data": pixel}).(string)
	bob.event("avatar", "from", "ann@localhost", "ids", "["+id+"]")
	got := fmt.Sprint(bob.do("get_avatar", map[string]any{"jid": "ann@localhost"}))
	if want := fmt.Sprintf("[map[data:%s id:%s type:image/png]]", pixel, id); got != want {
		t.Errorf("picture %s, want %s", got, want)
	}
	// The same picture, as old clients look for it.
	if card := bob.do("get_vcard", map[string]any{"jid": "ann@localhost"}).(map[string]any); card["photo"] != pixel {
		t.Errorf("picture in the vCard: %v", card)
	}
	ann.do("disable_avatar", nil)
	bob.event("avatar", "from", "ann@localhost", "ids", "[]")

	ann.do("set_vcard", map[string]any{"name": "Ann of Green Gables", "picture": pixel})
	for _, reader := range []*script{ann, bob} {
		card := reader.do("get_vcard", map[string]any{"jid": "ann@localhost"}).(map[string]any)
		if card["name"] != "Ann of Green Gables" || card["photo"] != pixel {
			t.Errorf("card %v", card)
		}
	}
	ann.do("add_bookmark", map[string]any{"name": "Tea", "jid": "tea@rooms.example"})
	if got := fmt.Sprint(ann.do("get_bookmarks", nil)); got != "[Tea tea@rooms.example]" {
		t.Errorf("bookmarks %s", got)
	}
	if card := bob.do("get_vcard", nil).(map[string]any); card["name"] != nil {
		t.Errorf("card of somebody who has none: %v", card)
	}
}

func aioxmppCommands(t *testing.T, s *server, ann, bob *script) {
	const add, number = "http://jabber.org/protocol/admin#add-user", "http://jabber.org/protocol/admin#get-registered-users-num"
	all := fmt.Sprint(ann.do("commands", map[string]any{"jid": "localhost"}))
	if !strings.Contains(all, add) || !strings.Contains(all, number) {
		t.Errorf("commands of an administrator: %s", all)
	}
	if got := fmt.Sprint(bob.do("commands", map[string]any{"jid": "localhost"})); strings.Contains(got, add) {
		t.Errorf("commands of somebody: %s", got)
	}
	ann.do("execute", map[string]any{"jid": "localhost", "node": add, "fields": map[string]string{
		"accountjid": "zoe@localhost", "password": password, "password-verify": password,
	}})
	result := ann.do("execute", map[string]any{"jid": "localhost", "node": number, "fields": map[string]string{}}).(map[string]any)
	if got := fmt.Sprint(result["fields"]); !strings.Contains(got, "registeredusersnum:[6]") {
		t.Errorf("number of accounts: %s", got)
	}
	if got := bob.refused("execute", map[string]any{"jid": "localhost", "node": add, "fields": map[string]string{}}); !strings.Contains(got, "forbidden") {
		t.Errorf("bob is told %s", got)
	}
}

// aioxmppRosterVersions: a client that kept its roster is sent nothing when
// nothing has changed, and the changes otherwise.
func aioxmppRosterVersions(t *testing.T, s *server, ann, bob *script) {
	kept := ann.do("export_roster", nil)
	again := s.aioxmpp(t, "ann@localhost/again", s.port, map[string]any{"roster": kept})
	again.never("item")
	if a, b := fmt.Sprint(again.do("contacts", nil)), fmt.Sprint(ann.do("contacts", nil)); a != b || !strings.Contains(a, "bob@localhost") {
		t.Errorf("kept %s, has %s", a, b)
	}
	again.do("stop", nil)
	ann.do("set_contact", map[string]any{"jid": "eve@localhost", "name": "Eve"})
	again = s.aioxmpp(t, "ann@localhost/again", s.port, map[string]any{"roster": kept})
	again.event("item", "jid", "eve@localhost")
	again.do("stop", nil)
}

// aioxmppAccounts: in-band registration with an invite, another password,
// removing the account (XEP-0077).
func aioxmppAccounts(t *testing.T, s *server, ann, bob *script) {
	invite := s.invite(t)
	p := startScript(t, "aioxmpp", aioxmppLine)
	request := map[string]any{"port": atoi(t, s.port), "ca": s.ca, "username": "nel", "password": password}
	if got := p.refused("register", request); !strings.Contains(got, "no form") {
		t.Errorf("without an invite: %s", got)
	}
	request["token"] = invite
	if got := fmt.Sprint(p.do("register", request)); got != "[instructions password username]" {
		t.Errorf("fields %s", got)
	}
	nel := s.aioxmpp(t, "nel@localhost/one", s.port, nil)
	nel.do("change_password", map[string]any{"password": "a new password"})
	old := startScript(t, "aioxmpp", aioxmppLine)
	if got := old.refused("login", map[string]any{"jid": "nel@localhost/two", "password": password, "port": atoi(t, s.port), "ca": s.ca}); !strings.Contains(got, "AuthenticationFailure") {
		t.Errorf("with the old password: %s", got)
	}
	again := s.aioxmpp(t, "nel@localhost/two", s.port, map[string]any{"password": "a new password"})
	again.try("remove_account", nil) // aioxmpp says that it fails even when it works
	again.event("failure")
	gone := startScript(t, "aioxmpp", aioxmppLine)
	gone.refused("login", map[string]any{"jid": "nel@localhost/three", "password": "a new password", "port": atoi(t, s.port), "ca": s.ca})
}

// aioxmppResumption: the network goes away while both sides send; nothing is
// lost, nothing comes twice.
func aioxmppResumption(t *testing.T, network *line, ann, bob *script) {
	network.cut()
	ann.event("suspended")
	var sent []string
	for n := range 3 {
		sent = append(sent, bob.do("send", map[string]any{"to": "ann@localhost/one", "body": fmt.Sprint("while away ", n)}).(string))
		bob.event("acked", "id", sent[n])
	}
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "written while away"}).(string)
	network.mend()
	ann.event("resumed")
	for _, id := range sent {
		ann.event("message", "id", id)
	}
	ann.event("acked", "id", id)
	bob.event("message", "id", id)
	ann.do("ping", map[string]any{"jid": "bob@localhost/one"})
	ann.mu.Lock()
	defer ann.mu.Unlock()
	if i := slices.IndexFunc(ann.lines, func(line map[string]any) bool { return line["event"] == "message" }); i >= 0 {
		t.Errorf("comes again: %v", ann.lines[i])
	}
}

// TestAioxmppDirectTLS: TLS from the first byte, and an authority that the
// client does not trust.
func TestAioxmppDirectTLS(t *testing.T) {
	needModule(t, "aioxmpp")
	t.Parallel()
	s, other := startServer(t), startServer(t)
	port := s.C2STLS[strings.LastIndexByte(s.C2STLS, ':')+1:]
	ann := s.aioxmpp(t, "ann@localhost/direct", port, map[string]any{"direct": true})
	id := ann.do("send", map[string]any{"to": "ann@localhost", "body": "note to self"}).(string)
	ann.event("message", "id", id)
	for _, direct := range []bool{false, true} {
		bob := startScript(t, "aioxmpp", aioxmppLine)
		to := s.port
		if direct {
			to = port
		}
		got := bob.refused("login", map[string]any{"jid": "bob@localhost/one", "password": password, "port": atoi(t, to), "ca": other.ca, "direct": direct})
		// Its TLS layer stumbles over its own error; the cause is in its log.
		if err := await.Until(testContext(t), func(context.Context) error {
			if !strings.Contains(bob.log.String(), "certificate verify failed") {
				return fmt.Errorf("an authority that it does not trust: %s", got)
			}
			return nil
		}); err != nil || strings.Contains(bob.log.String(), "<auth ") {
			t.Errorf("it trusts whom it should not: %v", err)
		}
	}
}
