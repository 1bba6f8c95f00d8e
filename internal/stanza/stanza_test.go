// SPDX-License-Identifier: Apache-2.0

package stanza

import (
	"errors"
	"fmt"
	"testing"

	"bavard/internal/xmlstream"
)

func TestErrorReply(t *testing.T) {
	iq := xmlstream.New(NSClient, "iq", "type", "get", "id", "1", "from", "a@b/c", "to", "d").Add(xmlstream.New(NSPing, "ping"))
	e := Err(Modify, BadRequest, "say <what>")
	e.By = "b"
	e.App = xmlstream.New("urn:x", "why")
	var wrapped *Error
	if !errors.As(fmt.Errorf("while: %w", e), &wrapped) || wrapped.Error() != "bad-request: say <what>" {
		t.Error(wrapped)
	}
	for _, c := range []struct {
		got  *xmlstream.Element
		want string
	}{
		{e.Reply(iq), "<iq type='error' id='1' from='d' to='a@b/c'><error type='modify' by='b'>" +
			"<bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
			"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>say &lt;what&gt;</text><why xmlns='urn:x'/></error></iq>"},
		{Err(Cancel, ItemNotFound, "").Reply(xmlstream.New(NSClient, "message")), "<message type='error'><error type='cancel'>" +
			"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"},
		{Result(iq, xmlstream.New("urn:x", "y"), nil), "<iq type='result' id='1' from='d' to='a@b/c'><y xmlns='urn:x'/></iq>"},
		{StreamErr(StreamConflict, "twice").Element(), "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
			"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>twice</text></stream:error>"},
	} {
		if got := string(xmlstream.AppendElement(nil, c.got, NSClient)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if iq.Get("type") != "get" || iq.Child(NSPing, "ping") == nil {
		t.Error("the request was changed")
	}
}

// The conditions that a reader of XML reports are stream conditions.
func TestSyntaxConditions(t *testing.T) {
	for syntax, condition := range map[string]StreamCondition{
		xmlstream.BadFormat:           StreamBadFormat,
		xmlstream.NotWellFormed:       StreamNotWellFormed,
		xmlstream.PolicyViolation:     StreamPolicyViolation,
		xmlstream.RestrictedXML:       StreamRestrictedXML,
		xmlstream.UnsupportedEncoding: StreamUnsupportedEncoding,
	} {
		if syntax != string(condition) {
			t.Errorf("%s is %s", syntax, condition)
		}
	}
}
