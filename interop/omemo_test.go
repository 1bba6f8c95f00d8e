// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"testing"
)

// TestOMEMO: Profanity and Dino, who share no code, find each other's keys in
// the nodes of their accounts and read each other's messages. The server does
// not.
func TestOMEMO(t *testing.T) {
	needDino(t)
	need(t, "profanity", "tmux")
	t.Parallel()
	s := startServerOf(t, "chat.test", "")
	d := s.newDino(t, "ann")
	d.encrypt("bob@chat.test")
	d.login()
	bob := s.profanity(t, "bob@chat.test/prof")
	bob.typeLine("/sub request ann@chat.test")
	d.heard("'subscribe'", "bob@chat.test")
	d.act("accept-subscription", "bob@chat.test")
	bob.typeLine("/sub allow ann@chat.test")
	d.believes("both", "select subscription from roster where jid = 'bob@chat.test'")
	bob.typeLine("/omemo trustmode blind")
	bob.typeLine("/omemo gen")
	bob.shows("OMEMO")
	bob.typeLine("/msg ann@chat.test")
	bob.typeLine("/omemo start")
	bob.typeLine("from profanity")
	d.received("bob@chat.test", "from profanity")
}
