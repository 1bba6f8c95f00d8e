// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var slixmppMoreLine = []string{python, "-B", "testdata/slixmpp_more.py"}

func (s *server) slixmppMore(t *testing.T, jid, port string) *script {
	t.Helper()
	p := startScript(t, "slixmpp", slixmppMoreLine)
	p.do("connect", map[string]any{"jid": jid, "password": password, "host": "localhost", "port": atoi(t, port), "ca": s.ca})
	p.event("sm_enabled")
	p.event("session_start", "jid", jid)
	return p
}

// TestSlixmppMore: what slixmpp can do beyond chatting.
func TestSlixmppMore(t *testing.T) {
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	network := newLine(t, s.C2S)
	ann := s.slixmppMore(t, "ann@localhost/one", network.port())
	bob := s.slixmppMore(t, "bob@localhost/one", s.port)
	cast := []*script{ann, bob}
	for _, p := range cast {
		p.do("roster", nil)
		p.do("available", nil)
	}
	ann.do("subscribe", map[string]any{"to": "bob@localhost"})
	ann.event("presence", "from", "bob@localhost/one", "type", "available")
	bob.event("presence", "from", "ann@localhost/one", "type", "available")
	for _, part := range []struct {
		name string
		run  func(t *testing.T, ann, bob *script)
	}{
		{"corrections, reactions, retractions", slixmppChanges},
		{"archive", slixmppArchive},
		{"blocking", slixmppBlocking},
		{"last activity and version", slixmppHost},
		{"cards and pictures", slixmppPictures},
		{"private storage and bookmarks", slixmppBookmarks},
		{"keys of OMEMO", slixmppKeys},
	} {
		subtest(t, part.name, cast, func(t *testing.T) { part.run(t, ann, bob) })
	}
	subtest(t, "resumption", cast, func(t *testing.T) { slixmppResumption(t, network, ann, bob) })
	subtest(t, "accounts", cast, func(t *testing.T) { slixmppAccounts(t, s) })
	for _, p := range cast {
		p.never("stream_error")
		p.never("sm_failed")
	}
}

func slixmppChanges(t *testing.T, ann, bob *script) {
	id := ann.do("send", map[string]any{"to": "bob@localhost", "body": "at noone"}).(string)
	bob.event("message", "id", id)
	ann.do("correct", map[string]any{"to": "bob@localhost", "id": id, "body": "at noon"})
	bob.event("correction", "replaces", id, "body", "at noon")
	bob.do("react", map[string]any{"to": "ann@localhost", "id": id, "values": []string{"👍", "🎉"}})
	if e := ann.event("reactions", "id", id); !strings.Contains(fmt.Sprint(e["values"]), "👍") {
		t.Errorf("reactions %v", e)
	}
	ann.do("retract", map[string]any{"to": "bob@localhost", "id": id})
	if e := bob.event("retraction"); !strings.Contains(fmt.Sprint(e["xml"]), id) {
		t.Errorf("retraction %v", e)
	}
}

// slixmppArchive: what has no body is archived as well, and every page leads on
// to the next.
func slixmppArchive(t *testing.T, ann, bob *script) {
	for n := range 5 {
		id := ann.do("send", map[string]any{"to": "bob@localhost", "body": fmt.Sprint("entry ", n)}).(string)
		ann.event("acked", "id", id)
	}
	var all []string
	bodies := map[string]bool{}
	for _, m := range ann.do("mam", map[string]any{"peer": "bob@localhost", "page": 3}).([]any) {
		m := m.(map[string]any)
		all = append(all, m["archive_id"].(string))
		bodies[m["body"].(string)] = true
	}
	if len(all) < 8 || !bodies["at noone"] || !bodies["at noon"] || !bodies["entry 4"] || !bodies[""] {
		t.Fatalf("the archive has %d entries: %v", len(all), bodies)
	}
	for name, want := range map[string][]string{"before": all[:2], "after": all[3:]} {
		var got []string
		for _, id := range ann.do("between", map[string]any{"peer": "bob@localhost", name: all[2]}).([]any) {
			got = append(got, id.(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s the third: %q, want %q", name, got, want)
		}
	}
	ends := ann.do("metadata", nil).(map[string]any)
	if ends["start"] != all[0] || ends["end"] != all[len(all)-1] {
		t.Errorf("the archive reaches from %v, want %s to %s", ends, all[0], all[len(all)-1])
	}
}

func slixmppBlocking(t *testing.T, ann, bob *script) {
	if got := fmt.Sprint(ann.do("blocklist", nil)); got != "[]" {
		t.Errorf("blocklist %s", got)
	}
	ann.do("block", map[string]any{"jid": "bob@localhost"})
	ann.event("blocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", "ann@localhost/one", "type", "unavailable")
	bob.do("send", map[string]any{"to": "ann@localhost", "body": "do you hear me"})
	bob.event("message_error", "condition", "service-unavailable")
	if got := fmt.Sprint(ann.do("blocklist", nil)); got != "[bob@localhost]" {
		t.Errorf("blocklist %s", got)
	}
	ann.do("unblock", map[string]any{"jid": "bob@localhost"})
	ann.event("unblocked", "jids", "[bob@localhost]")
	bob.event("presence", "from", "ann@localhost/one", "type", "available")
}

func slixmppHost(t *testing.T, ann, bob *script) {
	if got := ann.do("last_activity", map[string]any{"jid": "bob@localhost"}); got != 0.0 {
		t.Errorf("bob, who is here, was last here %v s ago", got)
	}
	if got := ann.do("version", map[string]any{"jid": "localhost"}); got != "bavard" {
		t.Errorf("version %v", got)
	}
}

// slixmppPictures: a picture is one, whichever way it is set and read
// (XEP-0398).
func slixmppPictures(t *testing.T, ann, bob *script) {
	ann.do("set_vcard", map[string]any{"name": "Ann"})
	id := ann.do("set_photo", map[string]any{"data": pixel}).(string)
	bob.event("photo", "from", "ann@localhost/one", "hash", id)
	if got := bob.do("picture", map[string]any{"jid": "ann@localhost", "id": id}); got != pixel {
		t.Errorf("the picture of the vCard, by PEP: %v", got)
	}
	card := bob.do("vcard", map[string]any{"jid": "ann@localhost"}).(map[string]any)
	if card["name"] != "Ann" || card["photo"] != pixel {
		t.Errorf("card %v", card)
	}
	id = bob.do("avatar", map[string]any{"data": pixel, "encoding": "base64"}).(string)
	ann.event("photo", "from", "bob@localhost/one", "hash", id)
	if card := ann.do("vcard", map[string]any{"jid": "bob@localhost"}).(map[string]any); card["photo"] != pixel {
		t.Errorf("the picture of PEP, in the vCard: %v", card)
	}
}

// slixmppBookmarks: bookmarks of old clients and of new ones are the same
// (XEP-0402).
func slixmppBookmarks(t *testing.T, ann, bob *script) {
	const empty = "<notes xmlns='test:notes'/>"
	ann.do("store", map[string]any{"xml": "<notes xmlns='test:notes'><note>milk</note></notes>"})
	if got := ann.do("stored", map[string]any{"xml": empty}); got != "milk" {
		t.Errorf("stored %v", got)
	}
	if got := bob.do("stored", map[string]any{"xml": empty}); got != "" {
		t.Errorf("of somebody else: %v", got)
	}
	ann.do("set_bookmarks", map[string]any{"jid": "tea@rooms.example", "name": "Tea"})
	ann.event("item", "node", "urn:xmpp:bookmarks:1", "id", "tea@rooms.example")
	if got := fmt.Sprint(ann.do("published", map[string]any{"jid": "ann@localhost", "node": "urn:xmpp:bookmarks:1"})); !strings.Contains(got, "tea@rooms.example") || !strings.Contains(got, "Tea") {
		t.Errorf("published %s", got)
	}
	ann.do("publish", map[string]any{
		"node": "urn:xmpp:bookmarks:1", "id": "cake@rooms.example", "xml": "<conference xmlns='urn:xmpp:bookmarks:1' name='Cake'><nick>me</nick></conference>",
		"options": map[string]string{"pubsub#persist_items": "true", "pubsub#max_items": "max", "pubsub#send_last_published_item": "never", "pubsub#access_model": "whitelist"},
	})
	if got := fmt.Sprint(ann.do("bookmarks", nil)); !strings.Contains(got, "Tea tea@rooms.example") || !strings.Contains(got, "Cake cake@rooms.example") {
		t.Errorf("bookmarks %s", got)
	}
	ann.do("delete_item", map[string]any{"node": "urn:xmpp:bookmarks:1", "id": "tea@rooms.example"})
	if got := fmt.Sprint(ann.do("bookmarks", nil)); got != "[Cake cake@rooms.example]" {
		t.Errorf("bookmarks %s", got)
	}
	bob.refused("published", map[string]any{"jid": "ann@localhost", "node": "urn:xmpp:bookmarks:1"})
}

// slixmppKeys: both shapes of OMEMO's nodes, open to everybody.
func slixmppKeys(t *testing.T, ann, bob *script) {
	open := map[string]string{"pubsub#access_model": "open", "pubsub#persist_items": "true"}
	many := map[string]string{"pubsub#access_model": "open", "pubsub#persist_items": "true", "pubsub#max_items": "max"}
	for _, item := range []struct {
		node, id, xml string
		options       map[string]string
	}{
		{"eu.siacs.conversations.axolotl.devicelist", "current", "<list xmlns='eu.siacs.conversations.axolotl'><device id='31415'/></list>", open},
		{"eu.siacs.conversations.axolotl.bundles:31415", "current", "<bundle xmlns='eu.siacs.conversations.axolotl'><identityKey>AAAA</identityKey></bundle>", open},
		{"urn:xmpp:omemo:2:devices", "current", "<devices xmlns='urn:xmpp:omemo:2'><device id='31415'/></devices>", open},
		{"urn:xmpp:omemo:2:bundles", "31415", "<bundle xmlns='urn:xmpp:omemo:2'><ik>AAAA</ik></bundle>", many},
		{"urn:xmpp:omemo:2:bundles", "27182", "<bundle xmlns='urn:xmpp:omemo:2'><ik>BBBB</ik></bundle>", many},
	} {
		ann.do("publish", map[string]any{"node": item.node, "id": item.id, "xml": item.xml, "options": item.options})
		got := bob.do("published", map[string]any{"jid": "ann@localhost", "node": item.node}).(map[string]any)
		if got[item.id] == nil {
			t.Errorf("%s: %v", item.node, got)
		}
	}
	bob.event("item", "from", "ann@localhost", "node", "eu.siacs.conversations.axolotl.devicelist")
	if got := bob.do("published", map[string]any{"jid": "ann@localhost", "node": "urn:xmpp:omemo:2:bundles"}).(map[string]any); len(got) != 2 {
		t.Errorf("bundles %v", got)
	}
}

func slixmppResumption(t *testing.T, network *line, ann, bob *script) {
	network.cut()
	ann.event("disconnected")
	id := bob.do("send", map[string]any{"to": "ann@localhost/one", "body": "while away"}).(string)
	bob.event("acked", "id", id)
	network.mend()
	ann.do("reconnect", nil)
	ann.event("session_resumed")
	ann.event("message", "id", id)
	id = ann.do("send", map[string]any{"to": "bob@localhost", "body": "back"}).(string)
	ann.event("acked", "id", id)
	bob.event("message", "id", id)
}

// slixmppAccounts: an account by invite over the stream (XEP-0445), an invite
// that is used up, and another password.
func slixmppAccounts(t *testing.T, s *server) {
	token := s.invite(t)
	login := func(local string) map[string]any {
		return map[string]any{"jid": local + "@localhost/one", "password": password, "host": "localhost", "port": atoi(t, s.port), "ca": s.ca, "token": token}
	}
	nel := startScript(t, "slixmpp", slixmppMoreLine)
	nel.do("connect", login("nel"))
	nel.event("registered", "fields", "[password username]")
	nel.event("session_start", "jid", "nel@localhost/one")
	nel.do("change_password", map[string]any{"password": "a new password"})
	other := startScript(t, "slixmpp", slixmppMoreLine)
	other.do("connect", login("other"))
	other.event("refused", "condition", "item-not-found")
	old := startScript(t, "slixmpp", slixmppMoreLine)
	wrong := login("nel")
	delete(wrong, "token")
	old.do("connect", wrong)
	old.event("failed_auth")
	old.never("session_start")
}
