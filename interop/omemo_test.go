// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"strings"
	"testing"

	"bavard/drill/client"
	"bavard/internal/xmlstream"
)

const (
	omemoNamespace = "eu.siacs.conversations.axolotl"
	dinoOMEMO      = "2" // in message.encryption of Dino's database
)

// TestOMEMO: Profanity and Dino, who share no code, find each other's keys in
// the nodes of their accounts and read each other's messages. The server does
// not.
func TestOMEMO(t *testing.T) {
	needDino(t)
	need(t, "profanity", "tmux")
	t.Parallel()
	s := startServerOf(t, "chat.test", "")
	bob := s.profanity(t, "bob@chat.test/prof")
	bob.typeLine("/omemo trustmode blind")
	bob.typeLine("/omemo gen")
	bob.logs("[OMEMO] publish device list")
	d := s.newDino(t, "ann")
	d.encrypt("bob@chat.test")
	d.login()
	bob.typeLine("/sub request ann@chat.test")
	d.heard("'subscribe'", "bob@chat.test")
	d.act("accept-subscription", "bob@chat.test")
	bob.shows("ann@chat.test") // wants to see bob, too
	bob.typeLine("/sub allow ann@chat.test")
	d.believes("both", "select subscription from roster where jid = 'bob@chat.test'")

	bob.typeLine("/msg ann@chat.test")
	bob.typeLine("/omemo start")
	bob.logs("[OMEMO] create session with ann@chat.test device")
	bob.typeLine("a secret of Profanity")
	d.received("bob@chat.test", "a secret of Profanity")
	d.send("bob@chat.test", "a secret of Dino")
	bob.shows("a secret of Dino")
	bob.typeLine("another secret of Profanity")
	d.received("bob@chat.test", "another secret of Profanity")
	d.believes("3", "select count(*) from message where encryption = %s", dinoOMEMO)

	for _, local := range []string{"ann", "bob"} {
		session, _ := s.login(t, local)
		archived, err := session.ArchiveForwards(testContext(t), client.Query{})
		if err != nil {
			t.Fatal(err)
		}
		encrypted := 0
		for _, m := range archived {
			text := string(xmlstream.AppendElement(nil, m.Stanza, ""))
			if strings.Contains(text, "secret of") {
				t.Errorf("the archive of %s has a secret: %s", local, text)
			}
			if m.Stanza.Child(omemoNamespace, "encrypted").Child(omemoNamespace, "payload") != nil {
				encrypted++
			}
		}
		if encrypted != 3 {
			t.Errorf("the archive of %s has %d encrypted messages, not 3", local, encrypted)
		}
	}
}
