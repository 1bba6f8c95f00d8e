// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/xmlstream"
)

func decide(t *testing.T, raw string) []route.Effect {
	t.Helper()
	tab, err := route.NewTable("localhost", Feature(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	el, err := xmlstream.ParseElement([]byte(raw), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	from, err := jid.Parse("alice@localhost/phone")
	if err != nil {
		t.Fatal(err)
	}
	return tab.Decide(from, el)
}

func message(children string) string {
	return "<message xmlns='jabber:client' type='chat' id='m1' to='bob@localhost'>" + children + "</message>"
}

func archived(t *testing.T, children string) *command.Message {
	t.Helper()
	for _, e := range decide(t, message(children)) {
		if a, ok := e.(route.Append); ok {
			return a.Command.GetMessage()
		}
	}
	return nil
}

func TestWhatIsArchived(t *testing.T) {
	for children, want := range map[string]bool{
		"<body>hi</body>": true,
		"<composing xmlns='http://jabber.org/protocol/chatstates'/>":                                                                  false,
		"<body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/>":                                                      true,
		"<received xmlns='urn:xmpp:receipts' id='1'/>":                                                                                true,
		"<request xmlns='urn:xmpp:receipts'/>":                                                                                        false,
		"<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>":                                                                         true,
		"<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>":                                           true,
		"<retract xmlns='urn:xmpp:message-retract:1' id='1'/>":                                                                        true,
		"<encrypted xmlns='eu.siacs.conversations.axolotl'/>":                                                                         true,
		"<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'/>":                                                                 true,
		"<sources xmlns='urn:xmpp:sfs:0' id='1'/>":                                                                                    true,
		"<x xmlns='jabber:x:oob'><url>https://example.org/a.jpg</url></x>":                                                            true,
		"<reference xmlns='urn:xmpp:reference:0' type='data'/>":                                                                       true,
		"<reference xmlns='urn:xmpp:reference:0' type='mention'/>":                                                                    false,
		"<x xmlns='urn:example'/>":                                                                                                    false,
		"<x xmlns='urn:example'/><store xmlns='urn:xmpp:hints'/>":                                                                     true,
		"<body>hi</body><no-store xmlns='urn:xmpp:hints'/>":                                                                           false,
		"<body>hi</body><no-permanent-store xmlns='urn:xmpp:hints'/>":                                                                 false,
		"<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/>": false,
	} {
		if got := archived(t, children) != nil; got != want {
			t.Errorf("%s: archived %v, want %v", children, got, want)
		}
	}
}

// What counts as a message of its own, and what is noted of others.
func TestWhatIsNoted(t *testing.T) {
	const fallback = "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/><body>took something back</body>"
	for children, want := range map[string]*command.Message{
		"<body>hi</body>": {Flags: command.FlagBody},
		"<body>&gt; hi\nyes</body><reply xmlns='urn:xmpp:reply:0' id='1'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='5'/></fallback>": {Flags: command.FlagBody},
		"<retract xmlns='urn:xmpp:message-retract:1' id='1'/>" + fallback:                                        {Retracts: "1"},
		"<retract xmlns='urn:xmpp:jingle-message:0' id='1'/><store xmlns='urn:xmpp:hints'/>":                     {},
		"<body>better</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>":                                {Replaces: "1"},
		"<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>":                      {},
		"<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>":                                                    {Flags: command.FlagDisplayed},
		"<received xmlns='urn:xmpp:receipts' id='1'/>":                                                           {},
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>AA==</payload></encrypted>": {Flags: command.FlagBody},
		"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>":                        {},
		"<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>AA==</payload></encrypted>":               {Flags: command.FlagBody},
		"<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>":                                        {Flags: command.FlagBody},
		"<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2'/><encrypted xmlns='urn:xmpp:omemo:2'/>": {},
		"<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>1</lat><lon>2</lon></geoloc>":                    {Flags: command.FlagBody},
		"<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:bob@localhost' anchor='x'/>":           {},
		"<body>hi</body><ephemeral xmlns='urn:xmpp:ephemeral:0' timer='60'/>":                                    {Flags: command.FlagBody, Timer: 60},
		"<body>hi</body><ephemeral xmlns='urn:xmpp:ephemeral:0' timer='0'/>":                                     {Flags: command.FlagBody},
		"<ephemeral xmlns='urn:xmpp:ephemeral:0' timer='60'/><store xmlns='urn:xmpp:hints'/>":                    {},
	} {
		m := archived(t, children)
		if m == nil || m.Flags != want.Flags || m.Retracts != want.Retracts || m.Replaces != want.Replaces || m.Timer != want.Timer {
			t.Errorf("%s: %v, want %v", children, m, want)
		}
	}
	for _, timer := range []string{"soon", "-1", "4294967296", ""} {
		if m := archived(t, "<body>hi</body><ephemeral xmlns='urn:xmpp:ephemeral:0' timer='"+timer+"'/>"); m != nil {
			t.Errorf("a timer of %q is archived", timer)
		}
	}
}

func TestDedupeKey(t *testing.T) {
	origin := "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>"
	a, b := archived(t, "<body>hi</body>"+origin), archived(t, "<body>hi</body>"+origin)
	if string(a.Dedupe) != string(b.Dedupe) || len(a.Dedupe) != 16 {
		t.Error("a repetition has another key")
	}
	if c := archived(t, "<body>ho</body>"+origin); string(a.Dedupe) == string(c.Dedupe) {
		t.Error("another text has the same key")
	}
	if c := archived(t, "<body>hi</body>"); len(c.Dedupe) != 0 {
		t.Error("without an origin-id there is nothing to know a repetition by")
	}
	// Of a marker its id stands for one, of nothing else.
	marker := "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
	if a, b := archived(t, marker), archived(t, marker); string(a.Dedupe) != string(b.Dedupe) || len(a.Dedupe) != 16 {
		t.Error("a marker that is repeated has another key")
	}
	if c := archived(t, marker+"<body>hi</body>"); len(c.Dedupe) != 0 {
		t.Error("a message is known by its id because it has a marker")
	}
}

// What only the server may say is taken out (XEP-0359 §rules @0.7.0).
func TestForgedIDs(t *testing.T) {
	for by, kept := range map[string]bool{
		"alice@localhost": false, "bob@localhost": false, "localhost": false, "BOB@localhost": false, "not a jid@": false, "room@elsewhere.example": true,
	} {
		m := archived(t, "<body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='"+by+"' id='x'/>")
		if got := strings.Contains(string(m.Payload), "stanza-id"); got != kept {
			t.Errorf("by %s: kept %v, want %v", by, got, kept)
		}
	}
}

func TestNoCopies(t *testing.T) {
	m := archived(t, "<body>hi</body><private xmlns='urn:xmpp:carbons:2'/>")
	if m.Flags&command.FlagNoCopy == 0 || strings.Contains(string(m.Payload), "private") {
		t.Errorf("private: flags %b, payload %s", m.Flags, m.Payload)
	}
}

func TestTooLongIDs(t *testing.T) {
	long := strings.Repeat("x", maxID+1)
	if m := archived(t, "<body>hi</body><origin-id xmlns='urn:xmpp:sid:0' id='"+long+"'/>"); m != nil {
		t.Error("an origin-id without bound is archived")
	}
}
