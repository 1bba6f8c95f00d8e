// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Archive ids of these tests are positions in hexadecimal digits.
func idOfPosition(p command.Position) string { return hex.EncodeToString(p.AppendTo(nil)) }

func positionOfID(id string) (command.Position, bool) {
	b, err := hex.DecodeString(id)
	if err != nil {
		return command.Position{}, false
	}
	p, err := command.ParsePosition(b)
	return p, err == nil
}

func chatsQuery(account string) state.ChatsQuery {
	return state.ChatsQuery{Account: at(account), Now: start, Position: positionOfID, Max: 100}
}

func (c *cellOf) chats(account string) state.ChatsPage {
	c.t.Helper()
	p, err := c.v.Chats(c.t.Context(), chatsQuery(account))
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func with(cmd *command.Command, payload string, body bool) *command.Command {
	m := cmd.GetMessage()
	m.Payload = []byte(payload)
	if !body {
		m.Flags &^= command.FlagBody
	}
	return cmd
}

func marker(from, to, id string) *command.Command {
	return with(message(from, to, ""), "<displayed xmlns='"+stanza.NSMarkers+"' id='"+id+"'/>", false)
}

func receipt(from, to, id string) *command.Command {
	return with(message(from, to, ""), "<received xmlns='"+stanza.NSReceipts+"' id='"+id+"'/>", false)
}

func displayedUpTo(account, chat string, p command.Position) *command.Command {
	return publish(account, stanza.NSDisplayed, chat, "<displayed xmlns='"+stanza.NSDisplayed+"'><stanza-id xmlns='"+stanza.NSSID+"' by='x' id='"+idOfPosition(p)+"'/></displayed>", manyItems())
}

func manyItems() *command.PubsubConfig { return bookmarksConfig() }

func settingsOf(account, chat, inner string) *command.Command {
	return publish(account, stanza.NSChats, chat, "<chat xmlns='"+stanza.NSChats+"'>"+inner+"</chat>", manyItems())
}

func deleteChat(account, peer string, until command.Position) *command.Command {
	return &command.Command{Request: &command.Command_ChatDelete{ChatDelete: &command.ChatDelete{
		Account: at(account), Peer: peer, Until: until.AppendTo(nil), By: at(account) + "/x", Notice: []byte("<chat xmlns='" + stanza.NSChats + "'><deleted/></chat>"),
	}}}
}

func noteChats(account string, until command.Position) *command.Command {
	return &command.Command{Request: &command.Command_ChatsNote{ChatsNote: &command.ChatsNote{Account: at(account), Until: until.AppendTo(nil)}}}
}

// sayIn is a message in room r.
func sayIn(who, id string) *command.Command {
	return says("r", who, id, command.RoomRole_ROOM_ROLE_PARTICIPANT)
}

// listed writes a page as a text.
func listed(p state.ChatsPage) string {
	var b strings.Builder
	for i := range p.Chats {
		c := &p.Chats[i]
		last := "-"
		if c.Last != nil && c.Last.Message != nil {
			last = c.Last.Message.Id
		} else if c.Last != nil {
			last = c.Last.Room.Id
		}
		fmt.Fprintf(&b, "%s %s %d", strings.TrimSuffix(strings.TrimSuffix(c.JID, domain), "@"), last, c.Unread)
		for name, set := range map[string]bool{"mentioned": c.Mentioned} {
			if set {
				b.WriteString(" " + name)
			}
		}
		if c.Request {
			b.WriteString(" request")
		}
		if c.Archived {
			b.WriteString(" archived")
		}
		if c.Marked {
			b.WriteString(" marked")
		}
		b.WriteString("; ")
	}
	return fmt.Sprintf("%stotal %d/%d/%d", b.String(), p.Total, p.UnreadChats, p.Unread)
}

func (c *cellOf) lists(account, want string) {
	c.t.Helper()
	if got := listed(c.chats(account)); got != want {
		c.t.Errorf("%s has\n%s\nwant\n%s", account, got, want)
	}
}

func TestChats(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.lists("ann", "total 0/0/0")
	c.accept(rosterSet("ann", at("bob"), "Bob"))
	c.accept(message("bob/x", "ann", "b1"))
	c.accept(message("bob/x", "ann", "b2"))
	c.accept(message("eve/x", "ann", "e1"))
	c.lists("ann", "eve e1 1 request; bob b2 2; total 2/2/3")
	c.lists("bob", "ann b2 0; total 1/0/0")
	// what is no message orders nothing, and says up to where was read
	c.accept(receipt("ann/x", "bob", "b2"))
	c.accept(marker("ann/x", "bob", "b1"))
	c.accept(with(message("bob/x", "ann", "b3"), "<body>x</body><replace xmlns='"+stanza.NSCorrect+"' id='b2'/>", true))
	c.lists("ann", "eve e1 1 request; bob b2 1; total 2/2/2")
	c.accept(marker("ann/x", "bob", "b2"))
	c.lists("ann", "eve e1 1 request; bob b2 0; total 2/1/1")
	// an answer accepts a request and reads what was before it
	c.accept(message("ann/x", "eve", "a1"))
	c.accept(message("eve/x", "ann", "e2"))
	c.lists("ann", "eve e2 1; bob b2 0; total 2/1/1")
	c.accept(displayedUpTo("ann", "EVE@"+domain, c.v.Applied()))
	c.lists("ann", "eve e2 0; bob b2 0; total 2/0/0")
	// OMEMO without a body
	c.accept(with(message("bob/x", "ann", "b4"), "<encrypted xmlns='"+stanza.NSOmemo+"'><header/><payload>x</payload></encrypted>", false))
	c.accept(with(message("bob/x", "ann", "b5"), "<encrypted xmlns='"+stanza.NSOmemo+"'><header/></encrypted>", false))
	c.lists("ann", "bob b4 1; eve e2 0; total 2/1/1")
}

func TestChatSettings(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve", "dan")
	for _, p := range []string{"bob", "eve", "dan"} {
		c.accept(rosterSet("ann", at(p), p))
		c.accept(message(p+"/x", "ann", p+"1"))
	}
	bob := c.positionOf("bob1")
	c.accept(settingsOf("ann", at("bob"), "<pinned order='1'/><future xmlns='f'/>"))
	c.accept(settingsOf("ann", at("eve"), "<archived id='"+idOfPosition(c.v.Applied())+"'/>"))
	c.accept(settingsOf("ann", at("dan"), "<unread id='"+idOfPosition(c.v.Applied())+"'/>"))
	c.accept(displayedUpTo("ann", at("bob"), bob))
	c.lists("ann", "bob bob1 0; dan dan1 1 marked; eve eve1 1 archived; total 3/2/2")
	c.accept(message("eve/x", "ann", "eve2"))
	c.accept(message("dan/x", "ann", "dan2"))
	c.accept(displayedUpTo("ann", at("dan"), c.v.Applied()))
	c.lists("ann", "bob bob1 0; dan dan2 0; eve eve2 2; total 3/1/2")
	silent := "<notify xmlns='" + stanza.NSNotify + "'><never identity-category='client'/><never><advanced><until xmlns='" + stanza.NSChats + "' stamp='" + start.Add(time.Hour).Format(time.RFC3339Nano) + "'/></advanced></never></notify>"
	c.accept(settingsOf("ann", at("eve"), "<archived id='"+idOfPosition(bob)+"'/>"+silent))
	c.lists("ann", "bob bob1 0; dan dan2 0; eve eve2 2 archived; total 3/1/2")
	q := chatsQuery("ann")
	q.Now = start.Add(time.Hour)
	if p, err := c.v.Chats(t.Context(), q); err != nil || p.Chats[2].Archived || p.Chats[2].Settings.Notify.When != "never" {
		t.Errorf("%+v, %v", p, err)
	}
	q.OnlyUnread = true
	if p, err := c.v.Chats(t.Context(), q); err != nil || len(p.Chats) != 1 || p.Count != 1 || p.Total != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	c.accept(createWith("fay", "", ""))
	c.accept(message("fay/x", "ann", "f1"))
	c.accept(settingsOf("ann", at("fay"), "<accepted/>"))
	c.lists("ann", "bob bob1 0; fay f1 1; dan dan2 0; eve eve2 2 archived; total 4/2/3")
}

func TestChatPages(t *testing.T) {
	names := []string{"ann"}
	for i := range 7 {
		names = append(names, fmt.Sprintf("p%d", i))
	}
	c := newCell(t, names...)
	for _, p := range names[1:] {
		c.accept(message(p+"/x", "ann", p))
	}
	c.accept(settingsOf("ann", at("p2"), "<pinned/>"))
	q := chatsQuery("ann")
	q.Max = 3
	page := func() string {
		p, err := c.v.Chats(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%d/%d", p.Index, p.Count)
		for i := range p.Chats {
			s += " " + p.Chats[i].Last.Message.Id
		}
		if n := len(p.Chats); n > 0 {
			q.After, q.Before = p.Chats[n-1].At, p.Chats[0].At
		}
		return s
	}
	for _, want := range []string{"0/7 p2 p6 p5", "3/7 p4 p3 p1", "6/7 p0", "7/7"} {
		if got := page(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	q.After, q.Before, q.Backward = command.Position{}, command.Position{}, true
	for _, want := range []string{"4/7 p3 p1 p0", "1/7 p6 p5 p4", "0/7 p2", "0/7"} {
		if got := page(); got != want {
			t.Errorf("backward %q, want %q", got, want)
		}
	}
	q.Backward, q.After, q.Before, q.Max = false, command.Position{}, command.Position{}, 0
	if got := page(); got != "0/7" {
		t.Error(got)
	}
}

func TestDeletedChat(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(message("bob/x", "ann", "b1"))
	c.accept(message("eve/x", "ann", "e1"))
	c.accept(message("ann/x", "bob", "a1"))
	cut := c.v.Applied()
	c.accept(settingsOf("ann", at("bob"), "<pinned/>"))
	events := c.accept(deleteChat("ann", at("bob"), cut))
	if len(events) != 1 || events[0].Pubsub == nil || events[0].Pubsub.Item.ID != at("bob") || events[0].Pubsub.Config.GetAccessModel() != command.AccessModel_ACCESS_MODEL_WHITELIST {
		t.Fatalf("%+v", events)
	}
	c.lists("ann", "eve e1 1 request; total 1/1/1")
	if got := ids(c.archive(state.Query{Account: at("ann")})); got != "e1 true" {
		t.Error(got)
	}
	if got := ids(c.archive(state.Query{Account: at("ann"), With: at("bob")})); got != "true" {
		t.Error(got)
	}
	if got := ids(c.archive(state.Query{Account: at("ann"), IDs: []command.Position{cut}})); got != "true" {
		t.Error(got)
	}
	if got := ids(c.archive(state.Query{Account: at("bob")})); got != "b1 a1 true" {
		t.Errorf("the other has %s", got)
	}
	// what was deleted is still a place in the archive
	if got := ids(c.archive(state.Query{Account: at("ann"), Before: cut, Backward: true})); got != "e1 true" {
		t.Error(got)
	}
	c.accept(message("bob/x", "ann", "b2"))
	c.accept(deleteChat("ann", at("bob"), command.Position{Revision: 1}))
	c.lists("ann", "bob b2 1; eve e1 1 request; total 2/2/2")
	// the account's successor under the name is hidden no more than what it writes
	c.accept(remove("bob"))
	c.lists("ann", "bob b2 1; eve e1 1 request; total 2/2/2")
	c.accept(createWith("bob", "", ""))
	c.accept(message("bob/y", "ann", "n1"))
	c.lists("ann", "bob n1 2 request; eve e1 1 request; total 2/2/3")
	if got := ids(c.archive(state.Query{Account: at("ann"), With: at("bob")})); got != "b2 n1 true" {
		t.Error(got)
	}
	c.refused(deleteChat("ann", at("bob"), command.Position{Revision: 1 << 40}), stanza.BadRequest)
	c.refused(deleteChat("ann", at("bob")+"/x", cut), stanza.BadRequest)
	c.refused(deleteChat("nobody", at("bob"), cut), stanza.NotAuthorized)
}

func TestChatsOfRooms(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(makeRoom("r", "ann", nil))
	c.lists("ann", "r@rooms. - 0; total 1/0/0")
	c.accept(affiliation("r", "ann", "bob", command.Affiliation_AFFILIATION_MEMBER))
	c.accept(sayIn("ann", "s1"))
	c.accept(sayIn("ann", "s2"))
	c.lists("ann", "r@rooms. s2 0; total 1/0/0")
	c.lists("bob", "r@rooms. s2 2; total 1/1/2")
	s2 := c.v.Applied()
	hey := sayIn("ann", "s3")
	hey.GetRoomMessage().Payload = []byte("<body>hey</body><reference xmlns='" + stanza.NSReference + "' type='mention' uri='xmpp:" + at("bob") + "'/>")
	c.accept(hey)
	c.lists("bob", "r@rooms. s3 3 mentioned; total 1/1/3")
	c.accept(displayedUpTo("bob", "r@rooms.example.org", s2))
	c.lists("bob", "r@rooms. s3 1 mentioned; total 1/1/1")
	c.accept(sayIn("bob", "s4"))
	c.lists("bob", "r@rooms. s4 0; total 1/0/0")
	for i := range 2 * mentionLooks {
		c.accept(sayIn("ann", fmt.Sprint("n", i)))
	}
	c.lists("bob", fmt.Sprintf("r@rooms. n%d %d; total 1/1/%d", 2*mentionLooks-1, 2*mentionLooks, 2*mentionLooks))
	c.accept(deleteChat("bob", "r@rooms.example.org", c.v.Applied()))
	c.lists("bob", "total 0/0/0")
	if p := c.archive(state.Query{Room: "r@rooms.example.org", Account: at("bob")}); len(p.Entries) != 0 {
		t.Error(len(p.Entries))
	}
	if p := c.archive(state.Query{Room: "r@rooms.example.org", Account: at("ann")}); len(p.Entries) != 50 {
		t.Error(len(p.Entries))
	}
	// a bookmark of a room for members shows nothing to others, one of an open room does
	c.accept(publish("eve", stanza.NSBookmarks, "r@rooms.example.org", "<conference xmlns='"+stanza.NSBookmarks+"'/>", nil))
	c.lists("eve", "total 0/0/0")
	c.accept(&command.Command{Request: &command.Command_RoomConfigure{RoomConfigure: &command.RoomConfigure{
		Room: "r@rooms.example.org", By: at("ann/x"), Config: &command.RoomConfig{MembersOnly: proto.Bool(false)},
	}}})
	c.accept(sayIn("ann", "o1"))
	if p := c.chats("eve"); len(p.Chats) != 1 || !p.Chats[0].Guest || p.Chats[0].Unread != 1 {
		t.Errorf("%+v", p)
	}
}

// What is noted changes nothing of what a list shows, and is bounded.
func TestChatsAreNoted(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(message("eve/x", "ann", "e1"))
	var cmds []*command.Command
	for i := range noteSlice + 1 {
		cmds = append(cmds, message("bob/x", "ann", fmt.Sprint(i)))
	}
	c.apply(cmds...)
	c.refused(noteChats("ann", command.Position{Revision: c.revision + 1}), stanza.BadRequest)
	c.refused(noteChats("nobody", c.v.Applied()), stanza.ItemNotFound)
	want, until := listed(c.chats("ann")), c.v.Applied()
	for _, tail := range []int{noteSlice + 2, 2, 0, 0} {
		if p := c.chats("ann"); p.Tail != tail || listed(p) != want {
			t.Errorf("%d looked at, want %d: %s, want %s", p.Tail, tail, listed(p), want)
		}
		c.accept(noteChats("ann", until))
	}
	c.accept(message("eve/x", "ann", "e2"))
	if p := c.chats("ann"); p.Tail != 1 || p.Total != 2 {
		t.Errorf("%+v", p)
	}
	c.accept(remove("ann"))
	if err := c.v.each(func(key, _ []byte) error {
		if key[0] == tablePeers {
			return errors.New("what was noted is left")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// chatModel computes lists of chats naively: everything that was ever said is
// gone through each time.
type chatModel struct {
	said     []saidOf
	born     map[string]command.Position
	displays map[string]command.Position // by account and chat
	floors   map[string]command.Position
	contacts map[string]bool
	pinned   map[string]bool
	archived map[string]command.Position
	lives    map[string]int
}

func (m *chatModel) say(s saidOf) {
	s.lives = [2]int{m.lives[s.from], m.lives[s.to]}
	m.said = append(m.said, s)
}

// life tells which account of the peer's name it was exchanged with.
func (s *saidOf) life(account string) int {
	if s.from == account {
		return s.lives[1]
	}
	return s.lives[0]
}

type saidOf struct {
	at           command.Position
	from, to, id string
	marks        string
	counts       bool
	lives        [2]int // which account of the name, of either side
}

func (m *chatModel) list(account string) string {
	type row struct {
		peer    string
		last    saidOf
		unread  int
		request bool
		pinned  bool
	}
	var rows []row
	for _, peer := range people {
		key := account + " " + peer
		var all []saidOf
		for _, s := range m.said {
			if (s.from == account && s.to == peer || s.from == peer && s.to == account) && m.born[account].Before(s.at) {
				all = append(all, s)
			}
		}
		answered := false
		r := row{peer: peer, pinned: m.pinned[key]}
		read := later(m.displays[key], m.floors[key])
		marks := map[int]saidOf{}
		for _, s := range all {
			own := s.from == account
			answered = answered || own && s.counts && s.life(account) == all[len(all)-1].life(account)
			if !m.floors[key].Before(s.at) {
				continue
			}
			switch {
			case s.counts:
				r.last = s
				if own {
					read = later(read, s.at)
				}
			case own && s.marks != "":
				marks[s.life(account)] = s
			}
		}
		for _, s := range all { // the last marker says what was read before it
			mark := marks[s.life(account)]
			if mark.marks != "" && s.id == mark.marks && s.from != account && s.at.Before(mark.at) && m.floors[key].Before(s.at) {
				read = later(read, s.at)
			}
		}
		if r.last.at.IsZero() {
			continue
		}
		for _, s := range all {
			if s.counts && s.from != account && read.Before(s.at) {
				r.unread++
			}
		}
		r.request = peer != account && !m.contacts[key] && !answered
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.pinned != b.pinned {
			if a.pinned {
				return -1
			}
			return 1
		}
		return b.last.at.Compare(a.last.at)
	})
	s, unread, chats := "", 0, 0
	for _, r := range rows {
		s += fmt.Sprintf("%s %s %d", r.peer, r.last.id, r.unread)
		if r.request {
			s += " request"
		}
		if p, ok := m.archived[account+" "+r.peer]; ok && r.last.at.Compare(p) <= 0 {
			s += " archived"
		}
		s += "; "
		unread += r.unread
		if r.unread > 0 {
			chats++
		}
	}
	return fmt.Sprintf("%stotal %d/%d/%d", s, len(rows), chats, unread)
}

// The list is what going through everything that was ever said gives, whatever
// has been noted of it, before and after a crash.
func TestChatsAreWhatANaiveComputationGives(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		fs := vfs.NewMem()
		c := &cellOf{t: t, v: memView(r, fs), fs: fs, now: start}
		defer func() { _ = c.v.Close() }()
		c.accept(cellInit())
		m := &chatModel{
			born: map[string]command.Position{}, displays: map[string]command.Position{}, floors: map[string]command.Position{},
			contacts: map[string]bool{}, pinned: map[string]bool{}, archived: map[string]command.Position{}, lives: map[string]int{},
		}
		for _, p := range people[:4] {
			c.accept(create(p))
			m.born[p] = c.v.Applied()
		}
		for i := range rapid.IntRange(1, 60).Draw(r, "steps") {
			m.step(r, c, i)
		}
		for _, p := range people[:4] {
			if _, err := c.v.Account(at(p)); err != nil {
				continue
			}
			if got, want := listed(c.chats(p)), m.list(p); got != want {
				r.Fatalf("%s has\n%s\nwant\n%s", p, got, want)
			}
		}
		if err := c.v.Scrub(t.Context(), nil); err != nil {
			r.Fatal(err)
		}
	})
}

// step does something at random to the view and to the model.
func (m *chatModel) step(r *rapid.T, c *cellOf, i int) {
	who := func(label string) string { return rapid.SampledFrom(people[:4]).Draw(r, label) }
	a, b := who("a"), who("b")
	key := a + " " + b
	accepted := func(cmd *command.Command) bool { return c.apply(cmd).Outcomes[0].Verdict == command.Accepted }
	old := func() saidOf {
		if len(m.said) == 0 {
			return saidOf{}
		}
		return rapid.SampledFrom(m.said).Draw(r, "old")
	}
	switch rapid.IntRange(0, 13).Draw(r, "kind") {
	case 0, 1, 2, 3, 4:
		if id := fmt.Sprint("m", i); accepted(message(a+"/x", b, id)) {
			m.say(saidOf{at: c.v.Applied(), from: a, to: b, id: id, counts: true})
		}
	case 5:
		if accepted(receipt(a+"/x", b, "m1")) {
			m.say(saidOf{at: c.v.Applied(), from: a, to: b})
		}
	case 6, 7:
		if id := old().id; id != "" && accepted(marker(a+"/x", b, id)) {
			m.say(saidOf{at: c.v.Applied(), from: a, to: b, marks: id})
		}
	case 8:
		if p := old().at; accepted(displayedUpTo(a, at(b), p)) {
			m.displays[key] = p
		}
	case 9:
		if accepted(rosterSet(a, at(b), "x")) {
			m.contacts[key] = true
		}
	case 10:
		p := old().at
		if accepted(settingsOf(a, at(b), "<pinned/><archived id='"+idOfPosition(p)+"'/>")) {
			m.pinned[key], m.archived[key] = true, p
		}
	case 11:
		if p := old().at; accepted(deleteChat(a, at(b), p)) {
			m.floors[key] = later(m.floors[key], p)
			delete(m.pinned, key)
			delete(m.archived, key)
		}
	case 12:
		c.apply(noteChats(a, old().at))
	case 13:
		m.renew(c, a)
	}
}

// renew deletes an account and makes it anew.
func (m *chatModel) renew(c *cellOf, who string) {
	c.accept(remove(who))
	c.accept(create(who))
	m.born[who] = c.v.Applied()
	m.lives[who]++
	for _, p := range people {
		for _, of := range []map[string]command.Position{m.displays, m.floors, m.archived} {
			delete(of, who+" "+p)
		}
		delete(m.pinned, who+" "+p)
		delete(m.contacts, who+" "+p)
	}
}
