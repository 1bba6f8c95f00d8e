// SPDX-License-Identifier: Apache-2.0

// Package inbox gives a person's list of chats in one request (XEP-0430), and
// deletes chats from it. The list is computed by the view from what has been said
// and set: see docs/chats.md for what clients read, set and are told.
package inbox

import (
	"context"
	"errors"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what lists are read from.
type Reader interface {
	// Chats gives a page. state.ErrBehind: the account's chats have to be noted
	// first; the page then has Applied.
	Chats(context.Context, state.ChatsQuery) (state.ChatsPage, error)
	// ChatsDeleted gives up to where the chats are hidden that an account has deleted.
	ChatsDeleted(account string) (map[string]command.Position, error)
}

// IDs turns positions into archive ids and back.
type IDs interface {
	ID(command.Position) string
	Position(id string) (command.Position, bool)
}

// Rooms is what has to be known of rooms.
type Rooms interface {
	// OccupantID of a person in a room.
	OccupantID(room, jid string, account uint64) string
	// Inside reports whether a device is in a room.
	Inside(room, device jid.JID) bool
	// Archived gives how a room's messages are shown to somebody: it appends what
	// follows "<message", up to the end tag.
	Archived(room string, reader jid.JID) func([]byte, state.Entry) []byte
}

// Options of the feature.
type Options struct {
	View  Reader
	IDs   IDs
	Rooms Rooms
	// Do has a command decided upon.
	Do  func(context.Context, *command.Command) (command.Outcome, error)
	Now func() time.Time
}

const (
	// PageDefault and PageMost bound a page, in chats.
	PageDefault = 50
	PageMost    = 250
	// noteAbove is how many messages that are not noted a reader puts up with.
	noteAbove = 4000
	// notesMost bounds the commands that note an account's chats while a device
	// waits for its list: two million messages.
	notesMost = 500
	// noteWithin bounds them in time.
	noteWithin = 20 * time.Second
)

type inbox struct{ o Options }

// Feature answers XEP-0430 §overview @0.2.0 for one's own account.
func Feature(o Options) route.Feature {
	f := &inbox{o}
	entry := func(typ, space, local string, h route.Handler) route.Entry {
		return route.Entry{Key: route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: space, Local: local}}, Targets: route.ToSelf, Handle: h}
	}
	return route.Feature{
		Name: "inbox",
		Entries: []route.Entry{
			entry("get", stanza.NSInbox, "inbox", f.list),
			entry("set", stanza.NSChats, "delete", f.remove), entry("get", stanza.NSChats, "deletions", f.deletions),
		},
		Account: []string{stanza.NSInbox, stanza.NSChats},
	}
}

// list answers with a message for each chat, and then with the counts
// (XEP-0430 §overview @0.2.0).
func (f *inbox) list(r *route.Request) []route.Effect {
	q, bad := f.parse(r)
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	return []route.Effect{route.Queried{}, r.Read(func(ctx context.Context) []route.Effect {
		page, err := f.read(ctx, q)
		switch {
		case errors.Is(err, state.ErrBehind):
			return r.Err(stanza.Wait, stanza.ResourceConstraint, "the list of chats is not ready yet; try again")
		case err != nil:
			return r.Err(stanza.Wait, stanza.InternalServerError, "the list of chats could not be read; try again")
		}
		return f.answer(r, &page)
	})}
}

// read gives a page, and has the account's chats noted when that is due.
func (f *inbox) read(ctx context.Context, q state.ChatsQuery) (state.ChatsPage, error) {
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	page, err := f.o.View.Chats(ctx, q)
	if err != nil && !errors.Is(err, state.ErrBehind) || err == nil && page.Tail <= noteAbove {
		return page, err
	}
	for range notesMost {
		if bad := f.note(ctx, q.Account, page.Applied); bad != nil {
			break
		}
		if err == nil { // it was read: one slice is enough for now
			return page, nil
		}
		if page, err = f.o.View.Chats(ctx, q); !errors.Is(err, state.ErrBehind) {
			break
		}
	}
	return page, err
}

func (f *inbox) note(ctx context.Context, account string, until command.Position) error {
	out, err := f.o.Do(ctx, &command.Command{Request: &command.Command_ChatsNote{
		ChatsNote: &command.ChatsNote{Account: account, Until: until.AppendTo(nil)},
	}})
	if err == nil && out.Err != nil {
		err = errors.New(out.Err.Text)
	}
	return err
}

// parse reads the request.
func (f *inbox) parse(r *route.Request) (state.ChatsQuery, *stanza.Error) {
	q := state.ChatsQuery{
		Account: r.From.Bare().String(), Now: f.o.Now(), Max: PageDefault,
		Position: f.o.IDs.Position, OccupantID: f.o.Rooms.OccupantID,
	}
	for _, name := range []string{"unread-only", "messages"} {
		switch v := r.Payload.Get(name); v {
		case "", "0", "1", "true", "false":
			q.OnlyUnread = q.OnlyUnread || name == "unread-only" && (v == "1" || v == "true")
		default:
			return q, stanza.Err(stanza.Modify, stanza.BadRequest, name+" is true or false")
		}
	}
	set := r.Payload.Child(stanza.NSRSM, "set")
	for _, c := range set.Elements() {
		text := c.Text()
		switch c.Name.Local {
		case "max":
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return q, stanza.Err(stanza.Modify, stanza.BadRequest, "max is a number")
			}
			q.Max = min(int(n), PageMost)
		case "after", "before":
			p, ok := f.o.IDs.Position(text)
			if !ok && (text != "" || c.Name.Local == "after") {
				return q, stanza.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such place in the list")
			}
			if c.Name.Local == "after" {
				q.After = p
			} else {
				q.Before, q.Backward = p, true
			}
		case "index":
			return q, stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "pages are asked for by id, not by index")
		}
	}
	return q, nil
}

// answer serialises a page.
func (f *inbox) answer(r *route.Request, page *state.ChatsPage) []route.Effect {
	messages := r.Payload.Get("messages")
	out := make([]route.Effect, 0, len(page.Chats)+1)
	for i := range page.Chats {
		out = append(out, route.Send{Out: f.chat(r, &page.Chats[i], messages != "false" && messages != "0")})
	}
	set := xmlstream.New(stanza.NSRSM, "set")
	if n := len(page.Chats); n > 0 {
		set.Add(xmlstream.NewText(stanza.NSRSM, "first", f.o.IDs.ID(page.Chats[0].At), "index", strconv.Itoa(page.Index)),
			xmlstream.NewText(stanza.NSRSM, "last", f.o.IDs.ID(page.Chats[n-1].At)))
	}
	set.Add(xmlstream.NewText(stanza.NSRSM, "count", strconv.Itoa(page.Count)))
	fin := xmlstream.New(stanza.NSInbox, "fin", "total", strconv.Itoa(page.Total),
		"unread", strconv.Itoa(page.UnreadChats), "all-unread", strconv.Itoa(page.Unread)).Add(set)
	return append(out, r.Result(fin)...)
}

// chat serialises one chat: the entry, and the last message as the archive would
// give it.
func (f *inbox) chat(r *route.Request, c *state.Chat, message bool) route.Out {
	account := r.From.Bare().String()
	hidden := false
	if c.Guest { // what is said in a room is for who is there
		room, err := jid.Parse(c.JID)
		hidden = err != nil || !f.o.Rooms.Inside(room, r.From)
	}
	b := make([]byte, 0, 1024)
	b = xmlstream.AppendAttr(b, "from", account)
	b = xmlstream.AppendAttr(b, "to", r.From.String())
	b = append(b, '>')
	b = xmlstream.AppendElement(b, f.entry(c, hidden), stanza.NSClient)
	if c.Last != nil && message && !hidden {
		id := f.o.IDs.ID(c.Last.Position)
		b = append(b, "<result xmlns='"+stanza.NSMAM+"'"...)
		b = xmlstream.AppendAttr(b, "queryid", r.Stanza.Get("id"))
		b = xmlstream.AppendAttr(b, "id", id)
		b = append(b, '>')
		if c.Room {
			b = append(b, "<forwarded xmlns='"+stanza.NSForward+"'>"...)
			b = route.AppendDelay(b, "", c.Last.Time)
			b = f.o.Rooms.Archived(c.JID, r.From)(append(b, "<message xmlns='"+stanza.NSClient+"'"...), *c.Last)
			b = append(route.AppendStanzaID(b, c.JID, id), "</message></forwarded>"...)
		} else {
			b = route.AppendForwarded(b, c.Last.Message, c.Last.Time, route.AppendStanzaID(nil, account, id))
		}
		b = append(b, "</result>"...)
	}
	return route.Out{Name: "message", Rest: append(b, "</message>"...)}
}

// entry describes a chat; what XEP-0430 has no words for stands in an element of
// our own.
func (f *inbox) entry(c *state.Chat, hidden bool) *xmlstream.Element {
	e := xmlstream.New(stanza.NSInbox, "entry", "jid", c.JID, "unread", strconv.Itoa(c.Unread))
	if !c.Newest.IsZero() {
		e.Set("id", f.o.IDs.ID(c.Newest))
	}
	yes := func(is bool) string {
		if is {
			return "true"
		}
		return ""
	}
	x := xmlstream.New(stanza.NSChats, "chat",
		"room", yes(c.Room), "name", c.Name, "mention", yes(c.Mentioned && !hidden), "request", yes(c.Request),
		"archived", yes(c.Archived), "marked", yes(c.Marked))
	if !c.Read.IsZero() {
		x.Set("read", f.o.IDs.ID(c.Read))
	}
	if c.Settings.Pinned > 0 {
		x.Set("pinned", strconv.Itoa(c.Settings.Pinned))
	}
	if n := c.Settings.Notify; n.When != "" && !n.Over(f.o.Now()) {
		x.Set("notify", n.When)
		if !n.Until.IsZero() {
			x.Set("until", n.Until.UTC().Format(route.TimeLayout))
		}
	}
	if len(x.Attr) > 0 {
		e.Add(x)
	}
	return e
}

// remove deletes a chat from the account's list and hides what was said in it up
// to a message, for that account alone.
func (f *inbox) remove(r *route.Request) []route.Effect {
	peer, err := jid.Parse(r.Payload.Get("jid"))
	if err != nil || peer.IsZero() || !peer.IsBare() || peer.Local() == "" {
		return r.Err(stanza.Modify, stanza.JIDMalformed, "name the chat by the address of the person or the room")
	}
	id := r.Payload.Get("id")
	until, ok := f.o.IDs.Position(id)
	if !ok {
		return r.Err(stanza.Modify, stanza.BadRequest, "name the last message that is to be deleted by its archive id")
	}
	notice := xmlstream.New(stanza.NSChats, "chat").Add(xmlstream.New(stanza.NSChats, "deleted", "id", id))
	return []route.Effect{route.Append{
		Command: &command.Command{Request: &command.Command_ChatDelete{ChatDelete: &command.ChatDelete{
			Account: r.From.Bare().String(), Peer: peer.String(), Until: until.AppendTo(nil), By: r.From.String(),
			Notice: xmlstream.AppendElement(nil, notice, ""),
		}}},
		Then: func(out command.Outcome) []route.Effect {
			if out.Err != nil {
				return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
			}
			return r.Result()
		},
	}}
}
