// SPDX-License-Identifier: Apache-2.0

package xmlstream

// known are the names and namespaces that most stanzas are made of. The Reader
// gives out these strings instead of copies. It is immutable.
var known = makeKnown(
	// names
	"", "a", "active", "actor", "after", "auth", "authenticate", "before", "bind", "block", "body", "by", "c", "category",
	"challenge", "client", "code", "composing", "conference", "configure", "count", "data", "delay", "device", "displayed",
	"enable", "enabled", "encoding", "encrypted", "encryption", "end", "error", "event", "failed", "feature", "features", "field",
	"fin", "first", "forwarded", "from", "gone", "group", "h", "hash", "header", "id", "identity", "inactive", "index", "initial-response", "iq",
	"invite", "item", "items", "iv", "jid", "key", "label", "lang", "last", "location", "markable", "max", "mechanism", "message", "mood", "name",
	"namespace", "no-copy", "no-permanent-store", "no-store", "node", "ns", "open", "option", "origin-id", "password", "paused", "payload",
	"photo", "ping", "prefs", "presence", "previd", "priority", "proceed", "publish", "publish-options", "pubsub", "query", "r", "reaction", "reactions",
	"reason", "received", "reply", "replace", "request", "required", "response", "result", "resource", "resume", "retract", "rid", "sent", "session",
	"set", "show", "sid", "stamp", "stanza-id", "start", "starttls", "status", "store", "stream", "subject", "subscription", "success",
	"text", "thread", "to", "type", "unavailable", "user-agent", "username", "value", "var", "ver", "version", "with", "x", "xml", "xmlns",
	// namespaces
	XMLNamespace, xmlnsNamespace, streamNamespace,
	"eu.siacs.conversations.axolotl", "http://etherx.jabber.org/streams", "http://jabber.org/protocol/caps",
	"http://jabber.org/protocol/chatstates", "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
	"http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user", "http://jabber.org/protocol/nick",
	"http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#event", "http://jabber.org/protocol/rsm",
	"jabber:client", "jabber:iq:register", "jabber:iq:roster", "jabber:iq:version", "jabber:server", "jabber:x:conference", "jabber:x:data", "jabber:x:oob",
	"urn:ietf:params:xml:ns:xmpp-bind", "urn:ietf:params:xml:ns:xmpp-framing", "urn:ietf:params:xml:ns:xmpp-sasl",
	"urn:ietf:params:xml:ns:xmpp-session", "urn:ietf:params:xml:ns:xmpp-stanzas", "urn:ietf:params:xml:ns:xmpp-streams", "urn:ietf:params:xml:ns:xmpp-tls",
	"urn:xmpp:blocking", "urn:xmpp:carbons:2", "urn:xmpp:chat-markers:0", "urn:xmpp:csi:0", "urn:xmpp:delay", "urn:xmpp:eme:0",
	"urn:xmpp:forward:0", "urn:xmpp:hints", "urn:xmpp:jingle-message:0", "urn:xmpp:mam:2", "urn:xmpp:message-correct:0", "urn:xmpp:message-retract:1",
	"urn:xmpp:occupant-id:0", "urn:xmpp:omemo:2", "urn:xmpp:ping", "urn:xmpp:reactions:0", "urn:xmpp:receipts", "urn:xmpp:reply:0", "urn:xmpp:sid:0", "urn:xmpp:sm:3",
	"urn:xmpp:time", "vcard-temp", "vcard-temp:x:update",
)

// words is a hash table of strings with linear probing. Most of it is empty, so
// that nearly each search looks at one entry.
type words [1024]string

func makeKnown(list ...string) *words {
	t := new(words)
	for _, w := range list {
		i := slot([]byte(w))
		for t[i] != "" && t[i] != w {
			i = (i + 1) % uint(len(t))
		}
		t[i] = w
	}
	return t
}

// find returns the word equal to b.
func (t *words) find(b []byte) (string, bool) {
	for i := slot(b); t[i] != ""; i = (i + 1) % uint(len(t)) {
		if t[i] == string(b) {
			return t[i], true
		}
	}
	return "", len(b) == 0
}

// slot looks at the length of a word and at three bytes of it, which tell most
// names and namespaces apart.
func slot(b []byte) uint {
	n := uint(len(b))
	if n == 0 {
		return 0
	}
	h := n*0x9e5 + uint(b[0])*0x1f3 + uint(b[n/2])*0x6d + uint(b[n-1])*0x2b + uint(b[n*3/4])*0x11
	return h % uint(len(words{}))
}
