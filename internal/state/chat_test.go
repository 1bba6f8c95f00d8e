// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"
	"time"

	"bavard/internal/stanza"
)

func TestChatSettings(t *testing.T) {
	until := "<until xmlns='" + stanza.NSChats + "' stamp='2026-03-01T12:00:00Z'/>"
	s, ok := ParseChatSettings([]byte("<chat xmlns='" + stanza.NSChats + "'><pinned order='3'/><archived id='a'/><unread id='u'/><accepted/><x xmlns='y'/>" +
		"<notify xmlns='" + stanza.NSNotify + "'><always identity-category='client'/><strange/><never><advanced>" + until + "</advanced></never></notify></chat>"))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if want := (ChatSettings{Pinned: 3, Archived: "a", Unread: "u", Accepted: true, Notify: Notify{When: "never", Until: at}}); !ok || s != want {
		t.Errorf("%+v, %v", s, ok)
	}
	if !s.Notify.Silent(at.Add(-1)) || s.Notify.Silent(at) {
		t.Error("silence ends at its time")
	}
	if n := BookmarkNotify([]byte("<conference xmlns='" + stanza.NSBookmarks + "'><extensions><notify xmlns='" + stanza.NSNotify + "'><on-mention/></notify></extensions></conference>")); n.When != "on-mention" || n.Silent(at) {
		t.Errorf("%+v", n)
	}
	for in, want := range map[string]string{"Bob@Example.org": "bob@example.org", "Hall@Rooms.example.org/Bob": "hall@rooms.example.org/Bob", "example.org": "", "example.org/x": "", "@": ""} {
		if got, ok := ChatOf(in); got != want || ok != (want != "") {
			t.Errorf("%s: %s, %v", in, got, ok)
		}
	}
}

// FuzzChatItems: whatever clients have published, it is read without a panic, and
// within bounds.
func FuzzChatItems(f *testing.F) {
	f.Add("<chat xmlns='urn:bavard:chats:0'><pinned order='99999999999'/><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></chat>")
	f.Add("<conference xmlns='urn:xmpp:bookmarks:1'><extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions></conference>")
	f.Add("<displayed xmlns='urn:xmpp:mds:displayed:0'><stanza-id xmlns='urn:xmpp:sid:0' by='a' id='b'/></displayed>")
	f.Fuzz(func(t *testing.T, payload string) {
		s, ok := ParseChatSettings([]byte(payload))
		if s.Pinned < 0 || s.Pinned > pinnedMost || !ok && s != (ChatSettings{}) {
			t.Fatalf("%+v, %v", s, ok)
		}
		for _, n := range []Notify{s.Notify, BookmarkNotify([]byte(payload))} {
			switch n.When {
			case "", "always", "on-mention", "never":
			default:
				t.Fatalf("%+v", n)
			}
		}
		_ = ParseDisplayed([]byte(payload))
	})
}
