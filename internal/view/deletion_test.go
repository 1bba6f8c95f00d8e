// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// goneID is the id of the account whose traces are looked for: no other number
// of the test is like it.
const goneID = 0x1d5ece7a11c0ffee

// remains says where the name or the id of an account may still be once it has
// been deleted and all sweeps are done, and why. What is not here has to go.
func remains() map[string]string {
	return map[string]string{
		"0 value": "others' reports to who runs the server: whom they report, until that was dealt with",
		"a value": "others' archives: with whom each message was; it leads to the message",
		"b key":   "others' blocklists: whom they block is theirs",
		"c key":   "conversations: the other side keeps what was said; gone with the last of both",
		"c value": "as its key",
		"g key":   "the name is not given to who registers, and others find what was said by it",
		"g value": "as its key",
		"i key":   "others' items about a chat (read up to, settings), named by its address",
		"q value": "as i",
		"r key":   "others' rosters: an item without subscription, until they remove it",
		"A key":   "bans: a room keeps whom it does not let in",
		"G value": "the room's archive: its members keep what was said; gone with the room",
		"L key":   "others' lists of chats: with whom they have a conversation, as c",
		"M key":   "others' deleted chats: what they have hidden stays hidden",
		"R value": "who set the subject that a room has; gone with the next one",
	}
}

// silent are the tables that say nothing of an account, whatever it does.
func silent() string {
	return string([]byte{tableFormat, tableMeta, tableCell, tableLevel, tableJournal, tableDedupe, tableStream, tableTime, tableRoomSweep, tableRoomLink})
}

// traces are the places, "table key" or "table value", that have the name of an
// account or its id in them, as 8 bytes or as a varint, with an example of each.
func (c *cellOf) traces() map[string]string {
	c.t.Helper()
	needles := [][]byte{[]byte(at("gone")), binary.BigEndian.AppendUint64(nil, goneID), binary.AppendUvarint(nil, goneID)}
	out := map[string]string{}
	has := func(b []byte) bool {
		return slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(b, n) })
	}
	if err := c.v.each(func(key, value []byte) error {
		if has(key[1:]) {
			out[string(key[:1])+" key"] = fmt.Sprintf("%q: %q", key, value)
		}
		if has(value) {
			out[string(key[:1])+" value"] = fmt.Sprintf("%q: %q", key, value)
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// usesAll has the account use everything, with bob and in his rooms.
func (c *cellOf) usesAll() {
	c.t.Helper()
	c.accept(invite("circle", 2, time.Time{}, "bob", "friends"))
	c.nextIsGone()
	c.comesAndUsesAll()
	if id := c.id("gone"); id != goneID {
		c.t.Fatalf("the id is %x", id)
	}
}

// comesAndUsesAll follows an invite "circle".
func (c *cellOf) comesAndUsesAll() {
	c.t.Helper()
	c.accept(createWith("gone", "Gone", "circle"))
	c.goneTalks()
	c.goneKeeps()
	c.goneMeets()
	c.goneJoins()
}

// nextIsGone has the next account or room get goneID.
func (c *cellOf) nextIsGone() {
	m := *c.v.published.Load()
	m.nextID = goneID
	c.v.published.Store(&m)
}

func (c *cellOf) goneTalks() {
	c.accept(message("gone/x", "bob", "m1"))
	c.accept(message("bob/x", "gone", "m2"))
	c.accept(message("gone/x", "gone", "own"))
	c.accept(timed("gone/x", "gone", "note", 60))
	c.accept(timed("gone/x", "bob", "t1", 60))
	c.accept(timed("bob/x", "gone", "t2", 60))
	c.accept(timed("bob/x", "gone", "t3", 60))
	c.accept(displayed("gone/x", "bob", "d1", "t2"))
	c.accept(displayed("bob/x", "gone", "d2", "t1"))
	c.accept(correcting("gone/x", "bob", "m3", "m1"))
	var many []*command.Command
	for i := range retractSlice + 10 {
		many = append(many, message("bob/x", "gone", fmt.Sprint("n", i)))
	}
	c.apply(many...)
	c.accept(retracting("gone/x", "bob", "r1", "m1")) // too long ago to be found at once
	c.accept(retracting("bob/x", "gone", "r2", "m2"))
	for _, who := range []string{"gone", "bob"} {
		c.accept(noteChats(who, c.v.Applied()))
	}
	c.accept(displayedUpTo("gone", at("bob"), c.v.Applied()))
	c.accept(displayedUpTo("bob", at("gone"), c.v.Applied()))
	c.accept(settingsOf("gone", at("bob"), "<pinned/>"))
	c.accept(deleteChat("gone", at("bob"), c.positionOf("m1")))
	c.accept(deleteChat("bob", at("gone"), c.positionOf("m1")))
	c.accept(settingsOf("bob", at("gone"), "<pinned/>"))
	c.accept(&command.Command{Request: &command.Command_OfflineCursor{
		OfflineCursor: &command.OfflineCursor{Account: at("gone"), Position: c.v.Applied().AppendTo(nil)},
	}})
	c.accept(left("gone"))
}

func (c *cellOf) goneKeeps() {
	c.accept(vcardWith("gone", red))
	c.accept(publish("gone", "n", "i", "<x/>", keeps(10)))
	c.accept(publish("gone", stanza.NSPrivacy, "current", "<privacy xmlns='"+stanza.NSPrivacy+"'><hidden/></privacy>", keeps(1)))
	c.accept(relate("gone", "n", "gone", joined("bob")))
	c.accept(publish("bob", "n", "i", "<x/>", keeps(10)))
	c.accept(relate("bob", "n", "bob", joined("gone")))
	c.accept(subscribes("bob", "n", "gone/x", true))
	c.accept(privateSet("gone", "ns", "n", "<n xmlns='ns'/>"))
	c.accept(bookmark("gone", in("r"), "", ""))
	for n, purpose := range []command.UploadPurpose{forMessage, forProfile, ephemeral, permanent} {
		c.accept(c.upload("gone", byte(n), 10, purpose))
	}
	c.accept(withPassword(c, "gone", 1, 1))
	c.accept(withToken("gone", 1, 1, 2))
	c.accept(linkSet("gone", 3))
	c.accept(recoverySet("gone"))
	c.accept(pushRegister("gone", "node", "https://push.example/1", "x"))
	c.accept(pushEnable("gone", pushJID, "node", "secret", "x"))
	c.accept(pushEnable("gone", "elsewhere", "node", "secret", "x"))
	c.accept(enlist("gone", true, "Gone"))
}

func (c *cellOf) goneMeets() {
	c.accept(subscribing("gone", "eve", subscribeType)) // waits
	c.accept(subscribing("fay", "gone", subscribeType)) // waits
	c.accept(rosterSet("gone", at("eve"), "Eve", "g"))
	c.accept(rosterSet("fay", at("gone"), "Gone", "g"))
	c.accept(block("gone", at("eve"), "elsewhere"))
	c.accept(block("eve", at("gone")))
	c.accept(reports("gone", at("eve"), spam, "x"))
	c.accept(reports("eve", at("gone"), spam, "x"))
	c.accept(invite("mine", 3, time.Time{}, "gone", "gang"))
}

func (c *cellOf) goneJoins() {
	const member = command.Affiliation_AFFILIATION_MEMBER
	c.accept(makeRoom("r", "bob", &command.RoomConfig{InvitesByMembers: proto.Bool(true)}))
	c.accept(affiliation("r", "bob", "gone", member))
	c.accept(nick("r", "gone", "Gone", false))
	c.accept(link("r", "gone", "in", 3))
	c.accept(says("r", "gone", "g1", speaker))
	subject := says("r", "gone", "", speaker)
	subject.GetRoomMessage().Flags, subject.GetRoomMessage().Payload = command.FlagSubject, []byte("<subject>s</subject>")
	c.accept(subject)
	c.accept(says("r", "gone", "g2", speaker))
	moderated := c.v.Applied()
	c.accept(moderate("r", "bob", moderated, moderator))
	timer := says("r", "gone", "g3", speaker)
	timer.GetRoomMessage().Timer = 60
	c.accept(timer)
	c.accept(makeRoom("own", "gone", nil)) // nobody else is in it
	c.accept(link("own", "gone", "own", 3))
	c.accept(says("own", "gone", "o1", moderator))
	c.accept(makeRoom("shared", "gone", nil))
	c.accept(affiliation("shared", "gone", "bob", member))
	c.accept(makeRoom("public", "bob", open()))
	c.accept(nick("public", "gone", "Guest", false))
	c.accept(makeRoom("strict", "bob", open()))
	c.accept(nick("strict", "gone", "Rude", false))
	c.accept(affiliation("strict", "bob", "gone", command.Affiliation_AFFILIATION_OUTCAST))
}

// sweepAll does all that is done in the background, now and when the last timer
// has run out.
func (c *cellOf) sweepAll() {
	c.t.Helper()
	for range 2 {
		c.sweep()
		c.blank()
		for {
			due, err := c.v.UploadsDue(c.now, c.now)
			if err != nil {
				c.t.Fatal(err)
			}
			if !due {
				break
			}
			c.accept(uploadSweep(c.now))
		}
		// Each new invite has others looked at.
		c.accept(invite(fmt.Sprint("new", c.now), 1, time.Time{}, "eve", ""))
		c.now = c.now.Add(unreadMs*time.Millisecond + time.Hour)
	}
}

// A deleted account leaves nothing but what is others', by name or by id, in
// any table. A table that is new has to be used here.
func TestDeletionLeavesWhatIsOthers(t *testing.T) {
	c := newCell(t, "bob", "eve", "fay")
	c.usesAll()
	before := c.traces()
	c.manyInvites(2 * traceSlice) // so that it is not done at once
	c.accept(remove("gone"))
	for place := range c.traces() {
		before[place] = ""
	}
	for _, table := range tableLetters(t) {
		_, key := before[table+" key"]
		_, value := before[table+" value"]
		if is := strings.Contains(silent(), table); (key || value) == is {
			t.Errorf("table %s: it has traces of an account: %v, it is said to have none: %v", table, !is, is)
		}
	}
	c.sweepAll()
	after := c.traces()
	for _, place := range slices.Sorted(maps.Keys(after)) {
		if remains()[place] == "" {
			t.Errorf("%s: %s", place, after[place])
		}
	}
	for place := range remains() {
		if _, ok := after[place]; !ok {
			t.Errorf("%s: nothing remains there", place)
		}
	}
	c.scrub()
	checkRosters(t, c.v)
	checkRooms(t, c.v)
}

// What others' records say of an account goes also when the batch that deletes
// it has written them; the circle and the roster of who came by it before stay.
func TestDeletionInOneBatch(t *testing.T) {
	c := newCell(t, "bob", "eve")
	c.accept(invite("circle", 3, time.Time{}, "", "friends"))
	c.accept(createWith("ann", "Ann", "circle"))
	c.accept(makeRoom("public", "bob", open()))
	c.accept(publish("bob", "n", "i", "<x/>", keeps(10)))
	c.nextIsGone()
	r := c.apply(createWith("gone", "Gone", "circle"), nick("public", "gone", "Guest", false), relate("bob", "n", "bob", joined("gone")),
		invite("mine", 3, time.Time{}, "gone", "gang"), link("public", "bob", "his", 3), invite("eves", 3, time.Time{}, "eve", ""), remove("gone"),
		nick("public", "eve", "Guest", false))
	for i, o := range r.Outcomes {
		if o.Verdict != command.Accepted {
			t.Fatalf("command %d: %+v", i, o)
		}
	}
	c.sweep()
	after := slices.Sorted(maps.Keys(c.traces()))
	if want := []string{"g key", "g value", "r key"}; !slices.Equal(after, want) {
		t.Errorf("traces in %q, want %q", after, want)
	}
	for _, table := range []byte{tableInvite, tableRoomLink, tableCircle, tableGuest} {
		want := map[byte]int{tableInvite: 3, tableRoomLink: 1, tableCircle: 1, tableGuest: 1}[table]
		if n, err := c.v.count(table); err != nil || n != want {
			t.Errorf("table %c has %d records, %v, want %d", table, n, err, want)
		}
	}
	c.scrub()
	checkRooms(t, c.v)
}

// tableLetters reads the letters of all tables from their declaration.
func tableLetters(t *testing.T) (letters []string) {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "table") {
			return true
		}
		letter, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, letter)
		return true
	})
	if len(letters) < 40 {
		t.Fatalf("%d tables", len(letters))
	}
	return letters
}
