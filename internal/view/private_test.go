// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// privateSet stores triples of namespace, name and XML.
func privateSet(account string, entries ...string) *command.Command {
	c := &command.PrivateSet{Account: at(account)}
	for i := 0; i+2 < len(entries); i += 3 {
		c.Entries = append(c.Entries, &command.PrivateXML{Space: entries[i], Name: entries[i+1], Xml: []byte(entries[i+2])})
	}
	return &command.Command{Request: &command.Command_PrivateSet{PrivateSet: c}}
}

func bookmark(account, jid, attrs, children string) *command.Command {
	return &command.Command{Request: &command.Command_BookmarkSet{BookmarkSet: &command.BookmarkSet{
		Account: at(account), Jid: jid, Publisher: at(account) + "/x",
		Conference: []byte("<conference xmlns='" + stanza.NSBookmarks + "'" + attrs + ">" + children + "</conference>"),
	}}}
}

func keepBookmarks(account string, jids ...string) *command.Command {
	return &command.Command{Request: &command.Command_BookmarksKeep{BookmarksKeep: &command.BookmarksKeep{Account: at(account), Jids: jids}}}
}

func (c *cellOf) private(account, space, name, want string) {
	c.t.Helper()
	b, err := c.v.Private(at(account), space, name)
	if want == "" && errors.Is(err, state.ErrNotFound) {
		return
	}
	if err != nil || string(b) != want {
		c.t.Errorf("%s %s: %q, %v, want %q", space, name, b, err, want)
	}
}

func TestPrivate(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.private("ann", "ns", "a", "")
	c.accept(privateSet("ann", "ns", "a", "<a/>", "ns", "b", "<b/>", "n", "sa", "<sa/>"))
	c.private("ann", "ns", "a", "<a/>")
	c.private("ann", "ns", "b", "<b/>")
	c.private("ann", "n", "sa", "<sa/>")
	c.private("bob", "ns", "a", "")
	c.accept(privateSet("ann", "ns", "a", "", "ns", "never", ""))
	c.private("ann", "ns", "a", "")
	checkPrivates(t, c.v)
	c.refused(privateSet("nobody", "ns", "a", "<a/>"), stanza.NotAuthorized)
	for _, bad := range [][]string{{"", "a", "x"}, {"ns", "", "x"}, {"ns", "a", "x", "ns", "a", "y"}, {"n\x00s", "a", "x"}, {strings.Repeat("n", state.PrivateName), "a", "x"}} {
		c.refused(privateSet("ann", bad...), stanza.NotAcceptable)
	}
	c.refused(privateSet("ann", "ns", "a", strings.Repeat("x", state.PrivateXML+1)), stanza.PolicyViolation)
	c.accept(remove("ann"))
	c.accept(create("ann"))
	c.private("ann", "ns", "b", "")
	c.scrub()
}

func TestPrivateIsBounded(t *testing.T) {
	c := newCell(t, "ann")
	var all []string
	for i := range state.PrivateEntries {
		all = append(all, "ns", fmt.Sprint("n", i), "x")
	}
	c.accept(privateSet("ann", all...))
	c.refused(privateSet("ann", "ns", "more", "x"), stanza.ResourceConstraint)
	c.accept(privateSet("ann", "ns", "more", "x", "ns", "n0", ""))
	checkPrivates(t, c.v)
	big := strings.Repeat("x", state.PrivateXML)
	n := 1
	for ; ; n++ {
		if o := c.apply(privateSet("ann", "ns", fmt.Sprint("n", n), big)).Outcomes[0]; o.Err != nil {
			break
		}
	}
	if n != 1+state.PrivateBytes/state.PrivateXML {
		t.Errorf("%d of the largest entries are kept", n-1)
	}
	checkPrivates(t, c.v)
}

func TestBookmarksOfTheOldFormat(t *testing.T) {
	c := newCell(t, "ann")
	// An item of the new format, with what the old one does not have.
	const rich = "<conference xmlns='urn:xmpp:bookmarks:1' name='Room' autojoin='1' new='x'><nick>Ann</nick><password>pw</password><extensions><x xmlns='x'/></extensions><future/></conference>"
	c.accept(publish("ann", stanza.NSBookmarks, "room@muc", rich, bookmarksConfig()))
	if events := c.accept(bookmark("ann", "room@muc", " name='Room' autojoin='true'", "<nick>Ann</nick><password>pw</password>")); len(events) != 0 {
		t.Errorf("nothing new is told: %v", kinds(events))
	}
	events := c.accept(bookmark("ann", "room@muc", " name='Hall'", "<nick>Anna</nick><y xmlns='y'/>"))
	const want = "<conference xmlns='urn:xmpp:bookmarks:1' name='Hall' new='x'><nick>Anna</nick><extensions><x xmlns='x'/><y xmlns='y'/></extensions><future/></conference>"
	if len(events) != 1 || string(events[0].Pubsub.Item.Payload) != want {
		t.Errorf("got  %s\nwant %s", events[0].Pubsub.Item.Payload, want)
	}
	c.accept(bookmark("ann", "other@muc", "", ""))
	c.accept(publish("ann", stanza.NSBookmarks, "not a@jid@", rich, nil))
	c.accept(publish("ann", stanza.NSBookmarks, "note@muc", "<note xmlns='n'/>", nil))
	events = c.accept(keepBookmarks("ann", "other@muc"))
	if len(events) != 1 || events[0].Pubsub.Kind != state.PubsubRetracted || events[0].Pubsub.Item.ID != "room@muc" || !events[0].Pubsub.Notify {
		t.Errorf("events %+v", events)
	}
	if got := c.items("ann", stanza.NSBookmarks, state.PubsubQuery{}); !strings.HasPrefix(got, "note@muc=") || strings.Contains(got, "room@muc") {
		t.Error(got)
	}
	checkNodes(t, c.v)
	c.refused(bookmark("nobody", "room@muc", "", ""), stanza.NotAuthorized)
	c.refused(bookmark("ann", "", "", ""), stanza.BadRequest)
	bad := bookmark("ann", "room@muc", "", "")
	bad.GetBookmarkSet().Conference = []byte("<conference")
	c.refused(bad, stanza.BadRequest)
	if events := c.accept(keepBookmarks("ann")); len(events) != 1 {
		t.Errorf("events %+v", events)
	}
}

// What was private stays so, however the node was made.
func TestBookmarksNodeBecomesPrivate(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(createNode("ann", stanza.NSBookmarks, &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_OPEN.Enum()}))
	events := c.accept(bookmark("ann", "room@muc", "", ""))
	if len(events) != 2 || events[0].Pubsub.Kind != state.PubsubConfigured || events[1].Pubsub.Config.GetAccessModel() != command.AccessModel_ACCESS_MODEL_WHITELIST {
		t.Errorf("events %+v", events)
	}
	c.accept(bookmark("ann", "other@muc", "", ""))
	n, err := c.v.PubsubNode(at("ann"), stanza.NSBookmarks)
	if err != nil || n.Items != 2 || n.Config.GetAccessModel() != command.AccessModel_ACCESS_MODEL_WHITELIST {
		t.Errorf("%+v, %v", n, err)
	}
}

// More bookmarks than the node keeps push none out.
func TestBookmarksAreBounded(t *testing.T) {
	c := newCell(t, "ann")
	var cmds []*command.Command
	for i := range state.PubsubItems {
		cmds = append(cmds, bookmark("ann", fmt.Sprintf("r%d@muc", i), "", ""))
	}
	c.apply(cmds...)
	c.refused(bookmark("ann", "more@muc", "", ""), stanza.ResourceConstraint)
	c.accept(bookmark("ann", "r0@muc", " name='x'", ""))
	checkNodes(t, c.v)
}

// randomPrivate draws private data and bookmarks that meet.
func randomPrivate(r *rapid.T, account string) *command.Command {
	room := rapid.SampledFrom([]string{"a@muc", "b@muc"}).Draw(r, "room")
	switch rapid.IntRange(0, 4).Draw(r, "private") {
	case 0:
		return bookmark(account, room, rapid.SampledFrom([]string{"", " name='x'"}).Draw(r, "name"), "")
	case 1:
		return keepBookmarks(account, room)
	case 2:
		return publish(account, stanza.NSBookmarks, room, "<conference xmlns='"+stanza.NSBookmarks+"' autojoin='1'/>", nil)
	}
	return privateSet(account, "ns", rapid.SampledFrom([]string{"a", "b"}).Draw(r, "name"), rapid.SampledFrom([]string{"", "x", "yy"}).Draw(r, "xml"))
}

// checkPrivates: the counts are those of the records.
func checkPrivates(t rapid.TB, v *View) {
	counts, records := map[string]privateOf{}, map[string]privateOf{}
	if err := v.each(func(key, value []byte) error {
		if key[0] != tablePrivate {
			return nil
		}
		account := string(key[1 : 1+idSize])
		if len(key) == 1+idSize {
			of, err := parsePrivateOf(value)
			counts[account] = of
			return err
		}
		of := records[account]
		of.entries++
		of.bytes += uint64(len(value))
		records[account] = of
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for account, of := range counts {
		if of != records[account] {
			t.Fatalf("%x: counts %+v, records %+v", account, of, records[account])
		}
	}
	if len(records) > len(counts) {
		t.Fatalf("records without counts: %v, %v", records, counts)
	}
}
