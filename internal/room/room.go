// SPDX-License-Identifier: Apache-2.0

// Package room serves rooms (XEP-0045): private groups and public rooms. What
// must not be lost, affiliations, nicks and what is said, are commands and
// live in the view; who is there is soft and lives in the Hub, of all nodes of a
// cell. Membership does
// not depend on presence: who is away finds what was said in the room's
// archive.
package room

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Reader is what rooms are read from.
type Reader interface {
	Room(jid string) (state.Room, error)
	RoomMember(room, jid string) (state.RoomMember, error)
	RoomMembers(room string) ([]state.RoomMember, error)
	RoomNick(room, nick string) (string, error)
	Rooms(after string, most int) ([]state.Room, error)
	Archive(ctx context.Context, q state.Query) (state.Page, error)
	Applied() command.Position
	VCard(account string) ([]byte, error)
	// AccountID tells an account from others that had its name; 0 for none.
	AccountID(jid string) (uint64, error)
	// Invite reads an invite by the SHA-256 of its token, RoomLinks those to a room.
	Invite(tokenHash []byte) (state.Invite, error)
	RoomLinks(room string) ([]state.ListedInvite, error)
	// Blocked reports whether an account's blocklist holds an address.
	Blocked(account, address string) (bool, error)
}

// IDs turns positions into archive ids and back.
type IDs interface {
	ID(command.Position) string
	Position(id string) (command.Position, bool)
}

// Options of rooms.
type Options struct {
	Domain string // of the rooms
	Host   string // domain of the accounts
	View   Reader
	IDs    IDs
	// Do has a command decided upon.
	Do func(context.Context, *command.Command) (command.Outcome, error)
	// OccupantKey makes occupant-ids: 16 bytes or more, the same for ever.
	OccupantKey []byte
	// Archive answers queries of a room's archive by who may read it.
	Archive func(*route.Request) []route.Effect
	// Invite makes an invite to a room for an account; ttl 0 never expires.
	Invite func(ctx context.Context, by, room string, uses uint32, ttl time.Duration) (token string, expires time.Time, err error)
	// Link makes the address of an invite's page, "" when there is none.
	Link func(token string) string
	// NoDedupe: see chat.Options.
	NoDedupe bool
	// Elsewhere are the other nodes of the cell; nil: there is none.
	Elsewhere Elsewhere
	Logger    *slog.Logger // nil is silent
}

// commandWithin bounds the wait for a command.
const commandWithin = 20 * time.Second

type rooms struct {
	o      Options
	hub    *Hub
	misses *misses
}

// Feature serves the domain of the rooms.
func Feature(o Options, hub *Hub) route.Feature {
	f := &rooms{o: o, hub: hub, misses: newMisses(time.Now)}
	return route.Feature{
		Name:      "rooms",
		Component: &route.Component{Domain: o.Domain, Name: "Rooms", Handle: f.handle},
		Entries:   f.redeeming(),
		Domain:    []string{stanza.NSRoomInvite},
	}
}

// handle decides about everything that is addressed to the domain of the
// rooms.
func (f *rooms) handle(r *route.Request) []route.Effect {
	typ := r.Stanza.Get("type")
	if f.barred(r, typ) {
		return []route.Effect{route.Reply{Stanza: stanza.Blocked().Reply(r.Stanza)}}
	}
	switch r.Stanza.Name.Local {
	case "iq":
		switch {
		case typ == "result" || typ == "error":
			return f.answer(r)
		case r.To.Local() == "":
			return f.service(r)
		case r.To.Resource() != "":
			return f.toOccupant(r)
		}
		return f.toRoom(r)
	case "presence":
		return f.presence(r, typ)
	}
	switch {
	case typ == "error":
		return nil
	case r.To.Local() == "":
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "this is an address of rooms, and no person reads here")
	case r.To.Resource() != "":
		return f.whisper(r, typ)
	case typ == "groupchat":
		return f.groupchat(r)
	}
	return f.mediated(r)
}

// barred reports whether the sender blocks the room, or the occupant, that it
// writes to (XEP-0191 §block @1.3). Who is in a room can always leave it. It costs
// a read only for who blocks somebody.
func (f *rooms) barred(r *route.Request, typ string) bool {
	switch typ {
	case "error", "result", "unavailable":
		return false
	}
	blocked, err := f.o.View.Blocked(r.From.Bare().String(), r.To.String())
	return blocked || err != nil
}

// splitNick cuts an address at its resource.
func splitNick(s string) (bare, resource string, ok bool) { return strings.Cut(s, "/") }

// presence enters, changes and leaves (XEP-0045 §enter @1.35.5, §exit
// @1.35.5). All of it runs through the session's reads, one after the other,
// so that it stays in order.
func (f *rooms) presence(r *route.Request, typ string) []route.Effect {
	if r.To.Local() == "" || r.To.Resource() == "" {
		if typ == "error" || typ == "unavailable" || typ == "probe" {
			return nil
		}
		return r.Err(stanza.Modify, stanza.JIDMalformed, "enter a room under a nick: room@"+f.o.Domain+"/nick")
	}
	switch typ {
	case "unavailable":
		return []route.Effect{route.Read{Do: func(context.Context) []route.Effect {
			return []route.Effect{route.Visit{Do: func(v route.Visitor) { f.hub.exit(v, r) }}}
		}}}
	case "":
		return []route.Effect{r.Read(func(ctx context.Context) []route.Effect { return f.enter(ctx, r) })}
	}
	return nil // subscriptions and probes mean nothing to a room
}

// enter claims the nick, makes the room if there is none, and goes on in the
// hub. It runs outside of the session.
func (f *rooms) enter(ctx context.Context, r *route.Request) []route.Effect {
	q := &entering{Request: r, room: r.To.Bare().String(), nick: r.To.Resource(), x: r.Stanza.Child(stanza.NSMUC, "x")}
	if _, inside := f.hub.Find(r.To.Bare(), r.From); !inside && q.x == nil {
		// XEP-0045 §enter-gc @1.35.5: the old way to enter is not served, so that
		// who has lost track of a room is told so.
		e := stanza.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room")
		return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
	}
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	st, err := f.o.View.Room(q.room)
	var c *command.Command
	switch m, _ := f.o.View.RoomMember(q.room, r.From.Bare().String()); {
	case err != nil:
		if c = f.creation(r, q); c == nil {
			return q.err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
		}
		q.created = true
	case m.Nick() != q.nick:
		holder := f.hub.Occupant(r.To.Bare(), q.nick)
		if q.knows(st.Config, &m) {
			c = &command.Command{Request: &command.Command_RoomNick{RoomNick: &command.RoomNick{
				Room: q.room, Jid: r.From.Bare().String(), Nick: q.nick, Free: holder.IsZero(),
			}}}
		}
	}
	if c != nil {
		out, err := f.o.Do(ctx, c)
		switch {
		case err != nil:
			return q.err(stanza.Wait, stanza.InternalServerError, "the room could not be reached; try again")
		case out.Err != nil && !(q.created && out.Err.Condition == stanza.Conflict):
			return q.err(out.Err.Type, out.Err.Condition, out.Err.Text)
		case out.Err != nil: // made by somebody else at the same moment
			q.created = false
		}
	}
	return []route.Effect{route.Visit{Do: func(v route.Visitor) { f.hub.enter(v, q) }}}
}

// creation is the command that makes the room that somebody enters; nil when
// its address cannot be one.
func (f *rooms) creation(r *route.Request, q *entering) *command.Command {
	if len(q.nick) > command.RoomNickSize {
		return nil
	}
	return &command.Command{Request: &command.Command_RoomCreate{RoomCreate: &command.RoomCreate{
		Room: q.room, By: r.From.String(), Nick: q.nick,
	}}}
}

func (q *entering) err(t stanza.ErrorType, c stanza.Condition, text string) []route.Effect {
	return []route.Effect{route.Reply{Stanza: q.answer(stanza.Err(t, c, text))}}
}

// commanded has a command decided upon and answers the request.
func commanded(r *route.Request, c *command.Command) []route.Effect {
	return []route.Effect{route.Append{Command: c, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result()
	}}}
}
