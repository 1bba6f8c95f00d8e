// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"testing"
)

// TestSlixmppChats: a list of chats in one request, and the directory, of a client
// that knows no more of them than XML.
func TestSlixmppChats(t *testing.T) {
	needModule(t, "slixmpp")
	t.Parallel()
	s := startServer(t)
	comes := func(who string) *script {
		p := startScript(t, "slixmpp "+who, []string{python, "-B", "testdata/slixmpp_chats.py"})
		p.do("connect", map[string]any{"jid": who + "@localhost/one", "password": password, "host": "localhost", "port": atoi(t, s.port), "ca": s.ca})
		p.event("session_start")
		p.do("available", nil)
		return p
	}
	ann, bob := comes("ann"), comes("bob")
	if got := fmt.Sprint(ann.do("people", map[string]any{"text": "bob"})); got != "[]" {
		t.Errorf("bob is found without wanting to be: %s", got)
	}
	bob.do("enlist", map[string]any{"name": "Bob Marley"})
	if got := fmt.Sprint(ann.do("people", map[string]any{"text": "marl"})); got != "[bob@localhost Bob Marley]" {
		t.Errorf("found is %s", got)
	}
	for _, body := range []string{"one", "two"} {
		bob.do("send", map[string]any{"to": "ann@localhost", "body": body})
		ann.event("message", "body", body)
	}
	if got := fmt.Sprint(ann.do("chats", nil)); got != "[bob@localhost 2 two 1 1 2]" {
		t.Errorf("ann's chats are %s", got)
	}
	if got := fmt.Sprint(bob.do("chats", nil)); got != "[ann@localhost 0 two 1 0 0]" {
		t.Errorf("bob's chats are %s", got)
	}
}
