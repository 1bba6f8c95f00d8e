// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/state"
)

// people of random histories; the last is never created.
var people = []string{"ann", "bob", "eve", "dan", "nobody"}

// randomHistory draws commands of all kinds, valid and not, with clocks that
// jump by up to a month and back.
func randomHistory(r *rapid.T) []*command.Command {
	cmds := []*command.Command{cellInit()}
	now := start
	n := rapid.IntRange(1, 60).Draw(r, "commands")
	for i := range n {
		steps := []time.Duration{0, 0, 0, time.Second, 2 * time.Minute, -time.Hour, 26 * time.Hour, 8 * 24 * time.Hour, 30 * 24 * time.Hour}
		now = now.Add(rapid.SampledFrom(steps).Draw(r, "clock"))
		cmd := randomCommand(r, i)
		cmd.TimeMs = now.UnixMilli()
		if rapid.Bool().Draw(r, "streamed") {
			on(cmd, byte(rapid.IntRange(1, 3).Draw(r, "stream")), uint32(rapid.IntRange(0, 9).Draw(r, "h")))
		}
		cmds = append(cmds, cmd)
	}
	return cmds
}

func randomCommand(r *rapid.T, i int) *command.Command {
	who := func(label string) string { return rapid.SampledFrom(people).Draw(r, label) }
	some := func() string { return fmt.Sprint(rapid.IntRange(0, 4).Draw(r, "n")) }
	switch rapid.IntRange(0, 37).Draw(r, "kind") {
	case 0, 1, 2:
		return message(who("from")+"/x", who("to"), "m"+some())
	case 3:
		return message(who("from")+"/x", who("to"), "")
	case 4, 5:
		return createWith(rapid.SampledFrom(people[:4]).Draw(r, "new"), "Name "+some(), rapid.SampledFrom([]string{"", "i0", "i1"}).Draw(r, "invite"))
	case 6:
		return invite("i"+some(), 2, start.Add(50*24*time.Hour), rapid.SampledFrom([]string{"", "ann"}).Draw(r, "inviter"), "circle")
	case 7, 8:
		types := []command.SubscriptionType{subscribeType, subscribedType, unsubscribeType, unsubscribedType}
		return subscribing(who("from"), who("to"), rapid.SampledFrom(types).Draw(r, "type"))
	case 9:
		return rosterSet(who("account"), at(who("peer")), "name "+some(), "g"+some())
	case 10:
		return rosterRemove(who("account"), at(who("peer")))
	case 11:
		p := command.Position{Revision: uint64(rapid.IntRange(0, 9).Draw(r, "cursor"))}
		return &command.Command{Request: &command.Command_OfflineCursor{
			OfflineCursor: &command.OfflineCursor{Account: at(who("account")), Position: p.AppendTo(nil)},
		}}
	case 12, 13, 14, 15:
		return randomPubsub(r, who("account"))
	case 16:
		if rapid.Bool().Draw(r, "report") {
			return randomReport(r, who("account"), at(who("blocked")))
		}
		return block(who("account"), at(who("blocked")))
	case 17:
		if rapid.Bool().Draw(r, "all") {
			return unblock(who("account"))
		}
		return unblock(who("account"), at(who("blocked")))
	case 18:
		return remove(who("account"))
	case 19:
		return disable(who("account"), rapid.Bool().Draw(r, "enable"))
	case 20:
		if rapid.Bool().Draw(r, "picture") {
			return randomPicture(r, who("account"))
		}
		return vcardSet(who("account"), []byte("<vCard>"+some()+"</vCard>"))
	case 21:
		return left(who("account"))
	case 22:
		return randomPrivate(r, who("account"))
	case 23, 24, 25, 26:
		return randomRoom(r, i)
	case 27:
		return randomUpload(r, who("account"))
	case 28, 29, 30:
		return randomPush(r, who("account"))
	case 33:
		if rapid.Bool().Draw(r, "listed") {
			return enlist(who("account"), rapid.Bool().Draw(r, "in"), "name "+some())
		}
		return deleteChat(who("account"), at(who("peer")), command.Position{Revision: 1, Index: 0})
	case 34, 35, 36:
		return randomFading(r, who("from"), who("to"), i)
	}
	return &command.Command{Request: &command.Command_Noop{}}
}

// split cuts commands into batches at random.
func splits(r *rapid.T, cmds [][]byte) []Batch {
	var out []Batch
	revision := uint64(1)
	for len(cmds) > 0 {
		n := rapid.IntRange(1, min(12, len(cmds))).Draw(r, "batch")
		out = append(out, Batch{Revision: revision, Commands: cmds[:n]})
		cmds = cmds[n:]
		revision += uint64(rapid.IntRange(1, 3).Draw(r, "skip"))
	}
	return out
}

// history is what became of a sequence of commands, with positions replaced by
// the ordinals of their commands, so that it does not depend on the batches.
type history struct {
	ordinal map[command.Position]int
	log     []string // outcomes
	events  []string
	results []Result
}

func (h *history) ord(p command.Position) string {
	if n, ok := h.ordinal[p]; ok {
		return fmt.Sprintf("#%d", n)
	}
	return p.String()
}

func (h *history) add(r Result) {
	h.results = append(h.results, r)
	for _, o := range r.Outcomes {
		h.ordinal[o.Position] = len(h.ordinal)
		h.log = append(h.log, fmt.Sprintf("%s verdict %d of %s at %d: %v", h.ord(o.Position), o.Verdict, h.ord(o.Original), o.Time.UnixMilli(), o.Err))
	}
	for _, e := range r.Events {
		h.events = append(h.events, fmt.Sprintf("%s %d %s %v %s %+v %v %s", h.ord(e.Position), e.Kind, e.Account, e.Incoming, e.Message.GetId(), e.Item, e.Presence, published(e.Pubsub)+fmt.Sprint(relationsOf(e.Pubsub), e.Blocks, e.By, e.Upload)+h.room(e.Room)))
	}
}

func (h *history) room(e *state.RoomEvent) string {
	if e == nil {
		return ""
	}
	return fmt.Sprint(e.Message, h.ord(e.Duplicate), e.Number, e.Created, e.Configured, e.Destroyed, e.Changes, e.By, e.Nick)
}

func (h *history) all() []string { return append(slices.Clone(h.log), h.events...) }

// content writes every record of a view, positions as ordinals.
func (h *history) content(t rapid.TB, v *View) []string {
	t.Helper()
	var out []string
	streams := map[string]string{}
	if err := v.each(func(key, value []byte) error {
		k, val := fmt.Sprintf("%x", key), fmt.Sprintf("%x", value)
		switch key[0] {
		case tableTalk, tableArchive, tableSaid:
			p, err := positionOf(key)
			if err != nil {
				return err
			}
			k = fmt.Sprintf("%x %s", key[:len(key)-command.PositionSize], h.ord(p))
		case tableLook:
			p, err := positionOf(key)
			l, lerr := parseLook(value)
			if err := errors.Join(err, lerr); err != nil {
				return err
			}
			k, val = fmt.Sprintf("%x %s", key[:len(key)-command.PositionSize], h.ord(p)), fmt.Sprint(l.peer, h.ord(l.before), l.left, l.id, l.by)
		case tableExpiry:
			if key[1] == expiryRead {
				m, err := parseRead(value)
				if err != nil {
					return err
				}
				val = fmt.Sprint(h.ord(m.upTo), m.time)
				break
			}
			p, err := positionOf(key)
			if err != nil {
				return err
			}
			k = fmt.Sprintf("%x %s", key[:len(key)-command.PositionSize], h.ord(p))
		case tableDedupe, tableTime:
			p, err := parsePosition(value)
			if err != nil {
				return err
			}
			val = h.ord(p)
		case tableRosterOf:
			of, err := parseRosterOf(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(h.ord(of.version), of.items, of.waiting)
		case tableCell:
			c, err := parseCell(value)
			if err != nil {
				return err
			}
			val = fmt.Sprintf("%s %s %x", h.ord(c.position), c.domain, c.archiveKey)
		case tableOrder:
			p, err := positionOf(key)
			if err != nil {
				return err
			}
			k = fmt.Sprintf("%x %s", key[:len(key)-command.PositionSize], h.ord(p))
		case tableRelation:
			r, err := parseRelation(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(r.affiliation, r.subscribed, h.ord(r.since))
		case tableItem:
			i, err := parseItem(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(h.ord(i.position), i.time, i.publisher, string(i.payload))
		case tableNode:
			n, err := parseNode(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(n.number, n.items, h.ord(n.since), settings(n.config))
		case tableRoom:
			r, err := parseRoom("", value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(r.id, r.created, r.locked, r.config, h.ord(r.subject.position), r.subject.nick, r.affiliations, r.owners, r.guests)
		case tableMember, tableGuest:
			m, err := parseMember(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(m.affiliation, h.ord(m.since), m.nicks, m.reason)
		case tableStream: // older buckets are written per batch
			streams[string(key[5:])] = k + val
			return nil
		case tableMeta:
			m, err := parseMeta(value)
			if err != nil {
				return err
			}
			val = fmt.Sprint(m.time, m.minute, m.bucket, m.nextID, m.records)
		}
		out = append(out, k+" = "+val)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func diff(a, b []string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return "more: " + b[i]
		case i >= len(b):
			return "less: " + a[i]
		case a[i] != b[i]:
			return a[i] + "\nversus " + b[i]
		}
	}
	return ""
}

// run applies batches above what the view has.
func run(t rapid.TB, v *View, batches []Batch) *history {
	t.Helper()
	h := &history{ordinal: map[command.Position]int{}}
	for _, b := range batches {
		r, err := v.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		h.add(r)
	}
	return h
}

func memView(t rapid.TB, fs vfs.FS) *View {
	t.Helper()
	v, err := Open("/view", Options{FS: fs, Domain: domain, FlushBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// One history in batches of one, in batches cut at random, and with crashes
// that lose what was not flushed, ends in equal views, outcomes and events.
func TestHistoryDoesNotDependOnBatchesOrCrashes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		drawn := randomHistory(r)
		cmds := encode(t, drawn...)
		var single []Batch
		for i, c := range cmds {
			single = append(single, Batch{Revision: uint64(i + 1), Commands: [][]byte{c}})
		}
		batches := splits(r, cmds)

		one, many := memView(r, vfs.NewMem()), memView(r, vfs.NewMem())
		defer func() { _, _ = one.Close(), many.Close() }()
		h1, hn := run(r, one, single), run(r, many, batches)
		if d := diff(h1.all(), hn.all()); d != "" {
			r.Fatalf("outcomes or events depend on the batches:\n%s", d)
		}
		if d := diff(h1.content(r, one), hn.content(r, many)); d != "" {
			r.Fatalf("records depend on the batches:\n%s", d)
		}

		crashed := runWithCrashes(r, batches, hn)
		defer func() { _ = crashed.Close() }()
		sum1, n1, err1 := many.Checksum()
		sum2, n2, err2 := crashed.Checksum()
		p1, chain1 := many.ChainHash()
		p2, chain2 := crashed.ChainHash()
		if err1 != nil || err2 != nil || sum1 != sum2 || n1 != n2 || p1 != p2 || chain1 != chain2 {
			r.Fatalf("a crash changed the view: %d records %x chain %x at %v, %d records %x chain %x at %v, %v, %v", n1, sum1, chain1, p1, n2, sum2, chain2, p2, err1, err2)
		}
		for _, v := range []*View{one, many, crashed} {
			if err := v.Scrub(context.Background(), nil); err != nil {
				r.Fatal(err)
			}
			checkRosters(r, v, drawn...)
			checkNodes(r, v)
			checkAvatars(r, v)
			checkPrivates(r, v)
			checkRooms(r, v)
		}
		checkArchives(r, many, cmds, hn)
	})
}

// runWithCrashes applies batches; now and then the machine loses what was not
// synced, or some of it, and the rest is applied again. Outcomes must repeat.
func runWithCrashes(r *rapid.T, batches []Batch, want *history) *View {
	fs := vfs.NewCrashableMem()
	v := memView(r, fs)
	for i := 0; i < len(batches); i++ {
		got, err := v.Apply(batches[i])
		if err != nil {
			r.Fatal(err)
		}
		if len(got.Outcomes) > 0 {
			a, b := &history{ordinal: want.ordinal}, &history{ordinal: want.ordinal}
			a.add(got)
			b.add(want.results[i])
			if d := diff(a.all(), b.all()); d != "" {
				r.Fatalf("applied again, it ended differently:\n%s", d)
			}
		}
		switch rapid.IntRange(0, 9).Draw(r, "accident") {
		case 0:
			if err := v.Flush(); err != nil {
				r.Fatal(err)
			}
		case 1:
			durable, err := v.Durable()
			if err != nil {
				r.Fatal(err)
			}
			after := fs.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(r, "unsynced"),
				RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0)),
			})
			_ = v.Close()
			fs, v = after, memView(r, after)
			if v.Applied().Before(durable) {
				r.Fatalf("%v was durable and only %v is there", durable, v.Applied())
			}
			i = -1 // again from the start; what is there is ignored
		}
	}
	return v
}

// checkRosters: the two sides of each subscription agree, and the counts are
// those of the records. Of the commands that were applied it needs the blocks: who
// was blocked when they asked is not told, and nobody else hears of it (XEP-0191).
func checkRosters(t rapid.TB, v *View, applied ...*command.Command) {
	deaf := map[[2]string]bool{} // who has blocked whom at some time
	for _, c := range applied {
		for _, j := range c.GetBlock().GetJids() {
			deaf[[2]string{c.GetBlock().Account, bare(j)}] = true
		}
	}
	sides := map[[2]string]state.RosterItem{}
	for _, p := range people {
		items, _, err := v.Roster(at(p))
		if err != nil {
			continue
		}
		var of rosterOf
		for _, i := range items {
			sides[[2]string{at(p), i.JID}] = i
			if i.Listed {
				of.items++
			} else {
				of.waiting++
			}
		}
		id, err := v.accountID(v.db, at(p))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := v.get(v.db, idKey(tableRosterOf, id)); err == nil {
			stored, err := parseRosterOf(b)
			if err != nil || stored.items != of.items || stored.waiting != of.waiting {
				t.Fatalf("%s: counts %+v, records %+v, %v", p, stored, of, err)
			}
		} else if len(items) > 0 {
			t.Fatalf("%s: no counts: %v", p, err)
		}
	}
	has := func(i state.RosterItem, s string) bool { return i.Subscription == s || i.Subscription == "both" }
	for key, i := range sides {
		other := sides[[2]string{key[1], key[0]}]
		unheard := i.Ask && (deaf[[2]string{key[1], key[0]}] || deaf[[2]string{key[1], domain}])
		if has(i, "to") != has(other, "from") || i.Ask != other.PendingIn && !unheard || has(i, "from") != has(other, "to") {
			t.Fatalf("%v: %+v and %+v", key, i, other)
		}
	}
}

// checkArchives: every account's archive is what was accepted for it, in
// order: no hole, nothing else.
func checkArchives(t rapid.TB, v *View, cmds [][]byte, h *history) {
	var all []state.Entry
	since := map[string]int{} // whoever was deleted begins anew
	i := 0
	for _, r := range h.results {
		for _, o := range r.Outcomes {
			c := &command.Command{}
			if err := proto.Unmarshal(cmds[i], c); err != nil {
				t.Fatal(err)
			}
			if m := c.GetMessage(); m != nil && o.Verdict == command.Accepted {
				all = append(all, state.Entry{Position: o.Position, Time: o.Time, Message: m})
			}
			if w := c.GetRoomWhisper(); w != nil && o.Verdict == command.Accepted {
				all = append(all, copies(w, state.Entry{Position: o.Position, Time: o.Time})...)
			}
			if d := c.GetAccountDelete(); d != nil && o.Verdict == command.Accepted {
				since[d.Jid] = len(all)
			}
			i++
		}
	}
	for _, p := range people {
		q := state.Query{Account: at(p), Max: 250}
		page, err := v.Archive(context.Background(), q)
		if err != nil {
			continue
		}
		want := expect(all[since[q.Account]:], &q)
		unblanked(page.Entries, want)
		if got, want := render(page.Entries), render(want); got != want || !page.Complete {
			t.Fatalf("%s has\n%s\nwant\n%s", p, got, want)
		}
	}
}

// unblanked gives messages whose content is gone what they had.
func unblanked(got, want []state.Entry) {
	for i := range min(len(got), len(want)) {
		if m := got[i].Message; m.Tombstone != nil || bytes.HasPrefix(m.Payload, []byte("<ephemeral")) {
			m.Payload = want[i].Message.Payload
		}
	}
}

// What is kept of a message is what was sent, byte for byte, also when its
// command is encoded in an unusual way.
func TestRawMessage(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := on(message("ann/x", "bob", rapid.String().Draw(r, "id")), 1, rapid.Uint32().Draw(r, "h"))
		c.TimeMs = rapid.Int64().Draw(r, "time")
		b := encode(t, c)[0]
		if rapid.Bool().Draw(r, "in parts") {
			b = append(b, encode(t, message("bob/y", "ann", "other"))[0]...)
		}
		reqs, err := decode(Batch{Revision: 1, Commands: [][]byte{b}}, Level)
		if err != nil {
			r.Fatal(err)
		}
		m := &command.Message{}
		if err := proto.Unmarshal(reqs[0].raw, m); err != nil || !proto.Equal(m, reqs[0].c.GetMessage()) {
			r.Fatalf("%s\nversus %s, %v", prototext.Format(m), prototext.Format(reqs[0].c), err)
		}
	})
}
