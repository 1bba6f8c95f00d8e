// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// FuzzRecord: a record of any table decodes or is an error that says damage;
// what decodes is encoded to the same again.
func FuzzRecord(f *testing.F) {
	c := newCell(f, "ann", "bob")
	c.accept(on(message("ann/x", "bob", "m"), 1, 1))
	c.accept(subscribing("ann", "bob", subscribeType))
	c.accept(rosterSet("ann", at("bob"), "Bob", "a", "b"))
	c.accept(invite("t", 2, start, "ann", "circle"))
	c.accept(createWith("eve", "Eve", ""))
	c.accept(publish("ann", "node", "item", "<x/>", nil))
	c.accept(vcardWith("ann", red))
	c.accept(relate("ann", "node", "ann", joined("bob")))
	c.accept(privateSet("ann", "ns", "name", "<name xmlns='ns'/>"))
	c.accept(withPassword(c, "ann", 1, 1))
	c.accept(linkSet("ann", 0))
	c.accept(recoverySet("ann"))
	c.accept(c.upload("ann", 1, 100, command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL))
	c.accept(pushRegister("ann", "n", "https://push.example/1", "phone"))
	c.accept(pushEnable("ann", pushJID, "n", "secret", "phone"))
	c.accept(noteChats("ann", command.Position{Revision: c.revision}))
	c.accept(deleteChat("ann", at("bob"), command.Position{Revision: 1}))
	c.accept(enlist("ann", true, "Ann"))
	c.accept(reports("ann", "away.example", spam, "text"))
	c.accept(timed("ann/x", "bob", "t", 60))
	c.accept(displayed("bob/x", "ann", "d", "t"))
	c.accept(retracting("ann/x", "bob", "r", "t"))
	f.Add(lookKey(1, command.Position{Revision: 9}), (&lookRecord{peer: 2, left: 5, id: "t", by: "r"}).append(nil))
	if err := c.v.each(func(key, value []byte) error {
		f.Add(bytes.Clone(key), bytes.Clone(value))
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if err := checkRecord(key, value); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if again := reencoded(key, value); again != nil && !bytes.Equal(again, value) && checkRecord(key, again) != nil {
			t.Fatalf("%x is encoded again as %x, which does not decode", value, again)
		}
	})
}

// reencoded decodes a good record and encodes it again, nil if there is
// nothing to it.
func reencoded(key, value []byte) []byte {
	switch key[0] {
	case tableArchive:
		peer, incoming, _ := parseArchiveRecord(value)
		return appendArchiveRecord(nil, peer, incoming)
	case tableCircle:
		m, _ := parseCircle(value)
		return appendCircle(nil, m)
	case tableMeta:
		m, _ := parseMeta(value)
		return m.append(nil)
	case tableInvite:
		i, _ := parseInvite(value)
		return appendInvite(nil, &i)
	case tableRoster:
		c, _ := parseContact(value)
		return c.append(nil)
	case tableAccount:
		a, _ := parseAccount(value)
		return a.append(nil)
	case tableRosterOf:
		of, _ := parseRosterOf(value)
		return of.append(nil)
	case tableCell:
		c, _ := parseCell(value)
		return c.append(nil)
	case tablePubsubOf:
		of, _ := parseOwned(value)
		return of.append(nil)
	case tableNode:
		n, _ := parseNode(value)
		return n.append(nil)
	case tableItem:
		i, _ := parseItem(value)
		return i.append(nil)
	case tablePrivate:
		if len(key) == 1+idSize {
			of, _ := parsePrivateOf(value)
			return of.append(nil)
		}
	case tableRelation:
		r, _ := parseRelation(value)
		return r.append(nil)
	case tableClient:
		c, _ := parseClient(value)
		return c.append(nil)
	case tableRecovery, tableLink:
		x, _ := parseSecret(value)
		return x.append(nil)
	case tableAvatar:
		a, _ := parseAvatar(value)
		return a.append(nil)
	case tablePush:
		p, _ := parsePush(value)
		return appendPush(nil, &p)
	case tablePushService:
		p, _ := parsePushService(value)
		return appendPushService(nil, &p)
	case tableUpload:
		u, _ := parseUpload(value)
		return u.append(nil)
	case tableOrder:
		id, _ := parseOrder(value)
		return appendOrder(nil, id)
	case tableReport:
		switch {
		case len(key) == 1:
			n, _ := parseReportCounts(value)
			return n.append(nil)
		case key[1] == reportByNumber:
			r, _ := parseReport(value)
			return appendReport(nil, &r)
		default:
			own, _ := parseOwnReports(value)
			return appendOwnReports(nil, own)
		}
	case tableLook:
		l, _ := parseLook(value)
		return l.append(nil)
	case tableExpiry:
		switch key[1] {
		case expiryWaiting:
			w, _ := parseWait(value)
			return w.append(nil)
		case expiryRead:
			m, _ := parseRead(value)
			return m.append(nil)
		}
	}
	return nil
}

// FuzzApply: whatever bytes the journal holds, applying ends in an outcome or
// in an error that stops, and never in a view that contradicts itself.
func FuzzApply(f *testing.F) {
	for _, cmd := range []*command.Command{
		cellInit(), create("ann"), createWith("eve", "Eve", "token"), on(message("ann/x", "bob", "m"), 1, 1),
		subscribing("ann", "bob", subscribeType), rosterSet("ann", at("bob"), "Bob", "a"), rosterRemove("ann", at("bob")),
		invite("token", 2, start, "ann", "circle"), retracting("ann/x", "bob", "r", "m"), timed("ann/x", "bob", "t", 1), displayed("bob/x", "ann", "d", "t"), blank(),
		publish("ann", "node", "item", "<x/>", &command.PubsubConfig{MaxItems: proto.Uint32(3)}), retract("ann", "node", "item"),
		purge("ann", "node"), deleteNode("ann", "node"), createNode("ann", "node", nil),
		configure("ann", "node", &command.PubsubConfig{RosterGroups: &command.PubsubGroups{Groups: []string{"g"}}}),
		noteChats("ann", command.Position{Revision: 1}), deleteChat("ann", at("bob"), command.Position{Revision: 1}), enlist("ann", true, "Ann"),
		reports("ann", at("bob"), spam, "text"), reportRemove(1),
		{Request: &command.Command_Noop{}},
		linkSet("ann", 5), recoverySet("ann"), revokeClient("ann", 1),
		loginOf("ann", 1, command.ClientAuth_CLIENT_AUTH_LINK, linkSet("ann", 5).GetLinkSet().Keys.StoredKey, 1),
		{Request: &command.Command_UploadSweep{UploadSweep: &command.UploadSweep{MessageBeforeMs: start.UnixMilli()}}},
		uploadRemove("ann", 1, 1),
		upload("ann", 1, 1, 100, command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE),
		{Request: &command.Command_OfflineCursor{OfflineCursor: &command.OfflineCursor{Account: at("ann"), Position: make([]byte, 12)}}},
		{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{Jid: at("ann")}}},
	} {
		f.Add(encode(f, cmd)[0])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := memView(t, vfs.NewMem())
		defer func() { _ = v.Close() }()
		run(t, v, []Batch{{Revision: 1, Commands: encode(t, cellInit(), create("ann"), create("bob"))}})
		for range 2 {
			r, err := v.Apply(Batch{Revision: v.Applied().Revision + 1, Commands: [][]byte{raw, raw}})
			if err != nil {
				if !errors.Is(err, ErrBadCommand) && !errors.Is(err, ErrUnknownCommand) && !errors.Is(err, ErrOrder) {
					t.Fatalf("error %v", err)
				}
				return
			}
			for _, o := range r.Outcomes {
				if o.Verdict < command.Accepted || o.Verdict > command.Refused || (o.Verdict == command.Refused) != (o.Err != nil) {
					t.Fatalf("outcome %+v", o)
				}
			}
		}
		if err := v.Scrub(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		checkRosters(t, v)
		checkNodes(t, v)
		checkUploads(t, v)
		if _, err := v.Archive(t.Context(), state.Query{Account: at("ann")}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Chats(t.Context(), chatsQuery("ann")); err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Fatal(err)
		}
	})
}

// FuzzRawMessage: the bytes kept of a message mean the same as the message.
func FuzzRawMessage(f *testing.F) {
	f.Add(encode(f, on(message("ann/x", "bob", "m"), 1, 1))[0])
	f.Fuzz(func(t *testing.T, raw []byte) {
		reqs, err := decode(Batch{Revision: 1, Commands: [][]byte{raw}}, Level)
		if err != nil || reqs[0].c.GetMessage() == nil {
			return
		}
		m := &command.Message{}
		if err := proto.Unmarshal(reqs[0].raw, m); err != nil || !proto.Equal(m, reqs[0].c.GetMessage()) {
			t.Fatalf("%v: %v versus %v", err, m, reqs[0].c.GetMessage())
		}
	})
}

// FuzzBrief: what lists of chats read of a stored message is what decoding it
// gives, whatever its payload; and that decides about any of it without a panic.
func FuzzBrief(f *testing.F) {
	for _, cmd := range []*command.Command{message("ann/x", "bob", "m"), marker("ann/x", "bob", "m"), sayIn("ann", "s")} {
		raw := encode(f, cmd)[0]
		reqs, err := decode(Batch{Revision: 1, Commands: [][]byte{raw}}, Level)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(reqs[0].raw)
	}
	who := &state.Somebody{Room: "r@rooms.example.org", JID: at("ann"), Nicks: []string{"Ann"}, Occupant: "o"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := command.Position{Revision: 1}
		head := appendTalkHead(nil, 1)
		m, err := briefTalk(p, append(head, raw...))
		if e, full := parseTalk(p, append(head, raw...)); full == nil {
			if err != nil || string(m.from) != e.Message.From || string(m.to) != e.Message.To || string(m.id) != e.Message.Id ||
				!bytes.Equal(m.payload, e.Message.Payload) || uint32(m.flags) != e.Message.Flags {
				t.Fatalf("%+v, %v; %v", m, err, e.Message)
			}
		}
		head = appendSaidHead(nil, 1, 7, 3)
		s, err := briefSaid(p, append(head, raw...))
		if e, full := parseSaid(p, append(head, raw...)); full == nil {
			if err != nil || s.number != 7 || s.sender != 3 || string(s.from) != e.Room.From || !bytes.Equal(s.payload, e.Room.Payload) || uint32(s.flags) != e.Room.Flags ||
				s.tombstone != (e.Room.Tombstone != nil) || s.notice != (e.Room.Moderates != nil) {
				t.Fatalf("%+v, %v; %v", s, err, e.Room)
			}
		}
		for _, m := range []*brief{&m, &s} {
			_, _, _, _ = m.counts(), m.displayed(), m.peer(at("ann")), m.mentions(who)
		}
	})
}
