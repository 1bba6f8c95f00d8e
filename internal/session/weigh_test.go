// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func weighed(t *testing.T, raw string) (bool, string) {
	t.Helper()
	name := raw[1 : 1+strings.IndexAny(raw[1:], " />")]
	el, err := xmlstream.ParseElement([]byte("<"+name+" xmlns='"+stanza.NSClient+"'"+raw[1+len(name):]), xmlstream.AfterAuth)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	o := route.Serialise(el)
	return weigh(&o)
}

func carbonOf(kind, inner string) string {
	return "<message from='a@x' to='a@x/phone' type='chat'><" + kind + " xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>" +
		strings.Replace(inner, "<message", "<message xmlns='jabber:client'", 1) + "</forwarded></" + kind + "></message>"
}

// TestWeigh holds what waits for somebody to look at the phone.
func TestWeigh(t *testing.T) {
	const (
		marker   = "<message from='a@x/desk' to='b@x' type='chat' id='1'><displayed xmlns='urn:xmpp:chat-markers:0' id='0'/><store xmlns='urn:xmpp:hints'/></message>"
		states   = "<message from='b@x/d' to='a@x' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
		received = "<message from='b@x/d' to='a@x' id='2'><received xmlns='urn:xmpp:receipts' id='1'/><stanza-id xmlns='urn:xmpp:sid:0' by='a@x' id='9'/></message>"
		body     = "<message from='b@x/d' to='a@x' type='chat'><body>hi</body></message>"
	)
	event := func(node, items string) string {
		return "<message from='b@x' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='" + node + "'>" + items + "</items></event></message>"
	}
	waits := map[string]string{
		"<presence from='b@x/d'/>":                    "presence\x00b@x/d",
		"<presence from='b@x/d' type='unavailable'/>": "presence\x00b@x/d",
		"<presence from='r@rooms.x/n'><x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'/></x></presence>": "presence\x00r@rooms.x/n",
		states: "state\x00b@x/d\x00a@x",
		"<message from='r@rooms.x/n' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/></message>": "state\x00r@rooms.x/n\x00",
		marker:                       "",
		received:                     "",
		carbonOf("received", states): "state\x00b@x/d\x00a@x",
		carbonOf("received", marker): "",
		event("urn:xmpp:avatar:metadata", "<item id='1'/>"): "item\x00b@x\x00urn:xmpp:avatar:metadata\x001",
		event("urn:xmpp:bookmarks:1", "<retract id='1'/>"):  "",
	}
	for raw, topic := range waits {
		if ok, got := weighed(t, raw); !ok || got != topic {
			t.Errorf("%s: waits %t, topic %q, want %q", raw, ok, got, topic)
		}
	}
	for _, raw := range []string{
		body,
		"<iq from='x' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<presence from='b@x' type='subscribe'/>",
		"<presence from='r@rooms.x/n' type='error'/>",
		"<presence from='r@rooms.x/me'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>",
		"<message from='r@rooms.x/n' type='groupchat'><body>hi</body></message>",
		"<message from='r@rooms.x/n' type='groupchat'><subject>new</subject></message>",
		"<message from='b@x/d' to='a@x' type='chat'><encrypted xmlns='urn:xmpp:omemo:2'/><store xmlns='urn:xmpp:hints'/></message>",
		"<message from='b@x/d' to='a@x' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>",
		"<message from='b@x/d' to='a@x' type='chat'><reactions xmlns='urn:xmpp:reactions:0' id='1'/></message>",
		"<message from='b@x/d' to='a@x'><received xmlns='urn:xmpp:receipts' id='1'/><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>",
		"<message from='b@x/d' to='a@x' type='error'><active xmlns='http://jabber.org/protocol/chatstates'/><error type='cancel'/></message>",
		carbonOf("received", body),
		carbonOf("sent", body),
		carbonOf("sent", marker),
		"<message from='a@x'><received xmlns='urn:xmpp:carbons:2'/></message>",
		event("urn:xmpp:mds:displayed:0", "<item id='b@x'/>"),
	} {
		if ok, _ := weighed(t, raw); ok {
			t.Errorf("%s waits", raw)
		}
	}
}
