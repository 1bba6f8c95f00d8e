// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// FuzzBookmark: what an old client reads and stores again as it was changes
// nothing but what the old format cannot say.
func FuzzBookmark(f *testing.F) {
	f.Add("room@muc", "<conference xmlns='urn:xmpp:bookmarks:1' name='Room' autojoin='1' new='x'><nick>Ann</nick><password>pw</password><extensions><x xmlns='x'/></extensions><future/></conference>")
	f.Add("room@muc", "<conference xmlns='urn:xmpp:bookmarks:1'/>")
	f.Add("room@muc", "<conference xmlns='urn:xmpp:bookmarks:1'><y xmlns='y'><nick xmlns='storage:bookmarks'/></y></conference>")
	f.Fuzz(func(t *testing.T, id, payload string) {
		old, ok := OldBookmark(id, []byte(payload))
		if ok != IsBookmark(id, []byte(payload)) {
			t.Fatalf("a bookmark or not: %v", ok)
		}
		if !ok {
			return
		}
		b := xmlstream.AppendElement(nil, xmlstream.New(stanza.NSStorage, "storage").Add(old), "")
		list, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
		if err != nil {
			return // too large once it is in a list
		}
		_, set, ok := NewBookmark(list.First())
		if !ok {
			t.Fatalf("it does not come back: %s", b)
		}
		was, err := xmlstream.ParseElement([]byte(payload), xmlstream.AfterAuth)
		if err != nil {
			t.Fatal(err)
		}
		once := string(xmlstream.AppendElement(nil, MergeBookmark(was.Clone(), set.Clone()), ""))
		merged, err := xmlstream.ParseElement([]byte(once), xmlstream.AfterAuth)
		if err != nil {
			return
		}
		if twice := string(xmlstream.AppendElement(nil, MergeBookmark(merged, set), "")); twice != once {
			t.Fatalf("storing it again changes it:\n%s\n%s", once, twice)
		}
	})
}

// Old clients' own children become extensions, and come back to them.
func TestBookmarkOfAnOldClient(t *testing.T) {
	e, err := xmlstream.ParseElement([]byte("<conference xmlns='storage:bookmarks' jid='Room@MUC' name='x' autojoin='true'><nick>n</nick><print_status>all</print_status><minimize xmlns='c'/></conference>"), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	address, set, ok := NewBookmark(e)
	got := string(xmlstream.AppendElement(nil, MergeBookmark(xmlstream.New(stanza.NSBookmarks, "conference"), set), ""))
	const want = "<conference xmlns='urn:xmpp:bookmarks:1' name='x' autojoin='true'><nick>n</nick><print_status>all</print_status><extensions><minimize xmlns='c'/></extensions></conference>"
	if !ok || address != "room@muc" || got != want {
		t.Errorf("%s %v\ngot  %s\nwant %s", address, ok, got, want)
	}
	old, ok := OldBookmark(address, []byte(got))
	if got := string(xmlstream.AppendElement(nil, old, "")); !ok || got != "<conference xmlns='storage:bookmarks' jid='room@muc' name='x' autojoin='true'><nick>n</nick><print_status>all</print_status><minimize xmlns='c'/></conference>" {
		t.Errorf("%v %s", ok, got)
	}
	for _, bad := range []string{"<conference xmlns='storage:bookmarks'/>", "<conference xmlns='storage:bookmarks' jid='@'/>", "<url xmlns='storage:bookmarks' jid='room@muc'/>"} {
		if e, err = xmlstream.ParseElement([]byte(bad), xmlstream.AfterAuth); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := NewBookmark(e); ok {
			t.Errorf("%s is a bookmark", bad)
		}
	}
}
