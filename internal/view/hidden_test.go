// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// wishes publishes what an account wants others to see, as item of its node.
func wishes(account, item, what string) *command.Command {
	return publish(account, stanza.NSPrivacy, item, "<privacy xmlns='"+stanza.NSPrivacy+"'>"+what+"</privacy>", nil)
}

// Whether an account is hidden is what the newest item says, also after a
// restart; whoever looks is told of each change, once.
func TestHidden(t *testing.T) {
	c := newCell(t, "alice", "bob")
	steps := []struct {
		name   string
		cmd    *command.Command
		hidden bool
		tells  bool
	}{
		{"without read receipts", wishes("alice", "current", "<no-receipts/>"), false, false},
		{"hides", wishes("alice", "current", "<hidden/>"), true, true},
		{"still hides", wishes("alice", "current", "<hidden/><no-receipts/>"), true, false},
		{"another node", publish("alice", "n", "i", "<x/>", nil), true, false},
		{"another item, which is newer", wishes("alice", "other", ""), false, true},
		{"again", wishes("alice", "current", "<hidden/>"), true, true},
		{"takes the item back", retract("alice", stanza.NSPrivacy, "current"), false, true},
		{"hides anew", wishes("alice", "current", "<hidden/>"), true, true},
		{"removes the node", deleteNode("alice", stanza.NSPrivacy), false, true},
		{"hides at last", wishes("alice", "current", "<hidden/>"), true, true},
	}
	for _, step := range steps {
		told := slices.Contains(kinds(c.accept(step.cmd)), state.EventHidden)
		for range 2 {
			if got := c.v.Hidden(at("alice")); got != step.hidden || told != step.tells {
				t.Errorf("%s: hidden %v, told %v; want %v, %v", step.name, got, told, step.hidden, step.tells)
			}
			c.reopen()
		}
		if c.v.Hidden(at("bob")) {
			t.Errorf("%s: bob is hidden", step.name)
		}
	}
	c.accept(remove("alice"))
	if c.v.Hidden(at("alice")) {
		t.Error("who is gone is hidden")
	}
}
