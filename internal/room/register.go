// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// formRegister is the type of the form by which somebody registers with a room,
// nickField its only field (XEP-0045 §registrar-formtype-register @1.35.5).
const (
	formRegister = "http://jabber.org/protocol/muc#register"
	nickField    = "muc#register_roomnick"
)

// register serves who registers with a room: who is no member becomes one, where
// the owner allows it; members reserve another nick, or give up what they are
// (XEP-0045 §register @1.35.5, XEP-0077 §usecases-cancel @2.4).
func (f *rooms) register(r *route.Request, get bool) []route.Effect {
	x := r.Payload.Child(stanza.NSData, "x")
	switch {
	case get:
		return []route.Effect{r.Read(func(context.Context) []route.Effect { return f.registration(r) })}
	case r.Payload.Child(stanza.NSRegister, "remove") != nil:
		return []route.Effect{r.Read(func(context.Context) []route.Effect { return f.unregister(r) })}
	case x != nil && x.Get("type") == "cancel":
		return r.Result()
	case x == nil || x.Get("type") != "submit" || first(values(r, "FORM_TYPE")) != formRegister:
		return r.Err(stanza.Modify, stanza.BadRequest, "send the form that the room gives to who asks for it")
	}
	name := first(values(r, nickField))
	as, err := r.To.WithResource(name)
	if err != nil || as.Resource() == "" {
		return r.Err(stanza.Modify, stanza.BadRequest, "say under which nick, in the field "+nickField)
	}
	return commanded(r, &command.Command{Request: &command.Command_RoomRegister{RoomRegister: &command.RoomRegister{
		Room: r.To.String(), By: r.From.String(), Nick: as.Resource(), Free: f.hub.Occupant(r.To, as.Resource()).IsZero(),
	}}})
}

// registration says what it takes to register, and to who has, under which nick.
func (f *rooms) registration(r *route.Request) []route.Effect {
	st, err := f.o.View.Room(r.To.String())
	if err != nil || st.Locked {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
	}
	m, err := f.o.View.RoomMember(st.JID, r.From.Bare().String())
	switch {
	case err != nil:
		return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
	case m.Affiliation >= command.Affiliation_AFFILIATION_MEMBER:
		return r.Result(xmlstream.New(stanza.NSRegister, "query").
			Add(xmlstream.New(stanza.NSRegister, "registered"), xmlstream.NewText(stanza.NSRegister, "username", m.Nick())))
	case m.Affiliation == command.Affiliation_AFFILIATION_OUTCAST, !st.Config.GetRegistration():
		return r.Err(stanza.Cancel, stanza.NotAllowed, "in this room admins make members")
	}
	const text = "Choose the nick that is to be yours in this room."
	field := xmlstream.New(stanza.NSData, "field", "var", nickField, "type", "text-single", "label", "Nick").Add(xmlstream.New(stanza.NSData, "required"))
	if n := m.Nick(); n != "" {
		field.Add(xmlstream.NewText(stanza.NSData, "value", n))
	}
	return r.Result(xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.NewText(stanza.NSRegister, "instructions", text),
		xmlstream.New(stanza.NSData, "x", "type", "form").Add(
			xmlstream.NewText(stanza.NSData, "title", "Become a member of "+nameOf(&st)),
			xmlstream.NewText(stanza.NSData, "instructions", text),
			datum("FORM_TYPE", formRegister).Set("type", "hidden"), field)))
}

// unregister ends a membership at the member's own wish.
func (f *rooms) unregister(r *route.Request) []route.Effect {
	who := r.From.Bare().String()
	m, err := f.o.View.RoomMember(r.To.String(), who)
	switch {
	case err != nil:
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
	case m.Affiliation < command.Affiliation_AFFILIATION_MEMBER:
		return r.Err(stanza.Auth, stanza.RegistrationRequired, "you are no member of the room")
	}
	return commanded(r, &command.Command{Request: &command.Command_RoomAffiliate{RoomAffiliate: &command.RoomAffiliate{
		Room: r.To.String(), By: r.From.String(), Changes: []*command.RoomAffiliation{{Jid: who}},
	}}})
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
