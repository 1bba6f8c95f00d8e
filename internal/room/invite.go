// SPDX-License-Identifier: Apache-2.0

package room

import (
	"bytes"
	"context"
	"errors"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// mediated is a message to a room that is not for all in it: an invitation
// (XEP-0045 §invite-mediated @1.35.5). It goes to the invited person as a
// direct one (XEP-0249 §howitworks @1.2) from who invites, archived like any
// message, so that it also reaches who is not there.
func (f *rooms) mediated(r *route.Request) []route.Effect {
	if form := voiceForm(r.Stanza); form != nil {
		return f.voice(r, form)
	}
	x := r.Stanza.Child(stanza.NSMUCUser, "x")
	invite := x.Child(stanza.NSMUCUser, "invite")
	if invite == nil {
		if decline := x.Child(stanza.NSMUCUser, "decline"); decline != nil {
			return []route.Effect{r.Read(func(ctx context.Context) []route.Effect { return f.decline(ctx, r, decline) })}
		}
		return r.Err(stanza.Modify, stanza.BadRequest, "a message to everybody in the room is of the type groupchat")
	}
	who, err := jid.Parse(invite.Get("to"))
	if err != nil || who.Local() == "" {
		return r.Err(stanza.Modify, stanza.JIDMalformed, "whom do you want to invite?")
	}
	room := r.To
	if _, inside := f.hub.Find(room, r.From); !inside {
		return r.Err(stanza.Modify, stanza.NotAcceptable, "enter the room before you invite to it")
	}
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect { return f.invite(ctx, r, invite, who) })}
}

func (f *rooms) invite(ctx context.Context, r *route.Request, invite *xmlstream.Element, who jid.JID) []route.Effect {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	st, err := f.o.View.Room(r.To.String())
	if err != nil {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
	}
	m, err := f.o.View.RoomMember(st.JID, who.Bare().String())
	if err != nil {
		return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
	}
	text := invite.Child(stanza.NSMUCUser, "reason").Text()
	if st.Config.GetMembersOnly() && m.Affiliation < command.Affiliation_AFFILIATION_MEMBER {
		if bad := f.do(ctx, r, &command.Command{Request: &command.Command_RoomAffiliate{RoomAffiliate: &command.RoomAffiliate{
			Room: st.JID, By: r.From.String(), Invite: true,
			Changes: []*command.RoomAffiliation{{Jid: who.Bare().String(), Affiliation: command.Affiliation_AFFILIATION_MEMBER}},
		}}}); bad != nil {
			return bad
		}
	}
	x := xmlstream.New(stanza.NSConference, "x", "jid", st.JID, "reason", text, "password", st.Config.GetPassword())
	if c := invite.Child(stanza.NSMUCUser, "continue"); c != nil { // XEP-0045 §continue @1.35.5
		x.Set("continue", "true")
		if thread := c.Get("thread"); thread != "" {
			x.Set("thread", thread)
		}
	}
	return f.do(ctx, r, &command.Command{Request: &command.Command_Message{Message: &command.Message{
		From: r.From.String(), To: who.Bare().String(), Id: r.Stanza.Get("id"), Flags: command.FlagNoCopy,
		Payload: xmlstream.AppendElement(nil, x, stanza.NSClient),
	}}})
}

// do has a command decided upon, and gives the error to answer with.
func (f *rooms) do(ctx context.Context, r *route.Request, c *command.Command) []route.Effect {
	switch out, err := f.o.Do(ctx, c); {
	case err != nil:
		return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be reached; try again")
	case out.Err != nil:
		return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
	}
	return nil
}

const (
	// invitedMost bounds the messages, newest first, among which an invitation is
	// looked for that somebody declines.
	invitedMost   = 200
	declineWithin = 5 * time.Second
)

// decline tells who has invited somebody to the room that they do not come, if
// devices of theirs are there (XEP-0045 §invite-mediated @1.35.5). That is soft.
// Nobody is told who has not invited them: the invitation is in the archive of who
// declines. In a group the membership that it made ends, unless they have been in.
func (f *rooms) decline(ctx context.Context, r *route.Request, decline *xmlstream.Element) []route.Effect {
	by, err := jid.Parse(decline.Get("to"))
	text := decline.Child(stanza.NSMUCUser, "reason").Text()
	switch {
	case err != nil || by.Local() == "":
		return r.Err(stanza.Modify, stanza.JIDMalformed, "whose invitation do you decline?")
	case len(text) > command.RoomTextSize:
		return r.Err(stanza.Modify, stanza.NotAcceptable, "the reason is too long")
	}
	by = by.Bare()
	ctx, cancel := context.WithTimeout(ctx, declineWithin)
	defer cancel()
	invited, err := f.invited(ctx, r.From.Bare(), by, r.To)
	if err != nil {
		return r.Err(stanza.Wait, stanza.InternalServerError, "your archive could not be read; try again")
	}
	if !invited {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "nobody of this address has invited you to this room lately")
	}
	if bad := f.unjoin(ctx, r); bad != nil {
		return bad
	}
	if blocked, err := f.o.View.Blocked(by.String(), r.To.String()); blocked || err != nil {
		return nil
	}
	who := r.From.Bare().String()
	return []route.Effect{route.Deliver{To: by, Quiet: true, Stanza: xmlstream.New(stanza.NSClient, "message",
		"from", r.To.String(), "to", by.String(), "id", r.Stanza.Get("id")).Add(
		xmlstream.New(stanza.NSMUCUser, "x").Add(xmlstream.New(stanza.NSMUCUser, "decline", "from", who).Add(reason(stanza.NSMUCUser, text))))}}
}

// unjoin ends the membership of somebody in a group who has never been in it, nor
// reserved a nick.
func (f *rooms) unjoin(ctx context.Context, r *route.Request) []route.Effect {
	room, who := r.To.String(), r.From.Bare().String()
	st, err := f.o.View.Room(room)
	if err != nil || !st.Config.GetMembersOnly() {
		return nil // or there is no such room any more
	}
	m, err := f.o.View.RoomMember(room, who)
	if err != nil || m.Affiliation != command.Affiliation_AFFILIATION_MEMBER || m.Nick() != "" {
		return nil
	}
	return f.do(ctx, r, &command.Command{Request: &command.Command_RoomAffiliate{RoomAffiliate: &command.RoomAffiliate{
		Room: room, By: r.From.String(), Changes: []*command.RoomAffiliation{{Jid: who}},
	}}})
}

// invited reports whether somebody has had an invitation to a room of somebody else (XEP-0249
// §howitworks @1.2), which may have come by the room or not.
func (f *rooms) invited(ctx context.Context, who, by, room jid.JID) (bool, error) {
	page, err := f.o.View.Archive(ctx, state.Query{Account: who.String(), With: by.String(), Backward: true, Max: invitedMost})
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	for _, e := range page.Entries {
		m := e.Message
		if from, _, _ := splitNick(m.From); from == by.String() && invitation(m.Payload, room) {
			return true, err
		}
	}
	return false, err
}

// invitation reports whether the children of a message invite to a room.
func invitation(payload []byte, room jid.JID) bool {
	if !bytes.Contains(payload, []byte(stanza.NSConference)) {
		return false
	}
	to, err := jid.Parse(stanza.Message(payload).Child(stanza.NSConference, "x").Get("jid"))
	return err == nil && to == room
}
