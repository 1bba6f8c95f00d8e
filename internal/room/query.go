// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"strconv"
	"strings"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// service answers for the domain of the rooms (XEP-0045 §entity @1.35.5).
func (f *rooms) service(r *route.Request) []route.Effect {
	get := r.Stanza.Get("type") == "get"
	node := r.Payload.Get("node")
	switch {
	case get && r.Payload.Is(stanza.NSDiscoInfo, "query") && node == "":
		d := route.Discovery{
			Identities: []route.Identity{{Category: "conference", Type: "text", Name: "Rooms"}},
			Features:   []string{stanza.NSDiscoInfo, stanza.NSDiscoItems, stanza.NSRSM, stanza.NSMUC, stanza.NSOccupantID, stanza.NSVCard, stanza.NSPing},
		}
		return r.Result(d.Info(""))
	case get && r.Payload.Is(stanza.NSDiscoItems, "query") && node == "":
		return f.public(r)
	case get && r.Payload.Is(stanza.NSPing, "ping"):
		return r.Result()
	case node != "" && (r.Payload.Is(stanza.NSDiscoInfo, "query") || r.Payload.Is(stanza.NSDiscoItems, "query")):
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

const (
	// roomsPage bounds a page of rooms, roomsLooked the rooms that are looked
	// at to fill it.
	roomsPage   = 100
	roomsLooked = 1000
)

// public lists the rooms that are shown to everybody (XEP-0045 §disco-rooms
// @1.35.5), in pages (XEP-0059 §forwards @1.0).
func (f *rooms) public(r *route.Request) []route.Effect {
	set := r.Payload.Child(stanza.NSRSM, "set")
	after, most := set.Child(stanza.NSRSM, "after").Text(), roomsPage
	if n, err := strconv.Atoi(set.Child(stanza.NSRSM, "max").Text()); err == nil && n >= 0 {
		most = min(n, roomsPage)
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		all, err := f.o.View.Rooms(after, roomsLooked)
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the rooms could not be read; try again")
		}
		q := xmlstream.New(stanza.NSDiscoItems, "query")
		first, last, n := "", "", 0
		for i := range all {
			if st := &all[i]; st.Config.GetPublic() && !st.Locked && n < most {
				q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", st.JID, "name", nameOf(st)))
				if last = st.JID; n == 0 {
					first = last
				}
				n++
			}
		}
		if set != nil {
			rsm := xmlstream.New(stanza.NSRSM, "set")
			if n > 0 {
				rsm.Add(xmlstream.NewText(stanza.NSRSM, "first", first), xmlstream.NewText(stanza.NSRSM, "last", last))
			}
			q.Add(rsm)
		}
		return r.Result(q)
	})}
}

func nameOf(st *state.Room) string {
	if n := st.Config.GetName(); n != "" {
		return n
	}
	local, _, _ := strings.Cut(st.JID, "@")
	return local
}

// toRoom answers what is asked of a room.
func (f *rooms) toRoom(r *route.Request) []route.Effect {
	get := r.Stanza.Get("type") == "get"
	p := r.Payload
	switch {
	case p.Is(stanza.NSMUCAdmin, "query"):
		return f.administer(r)
	case p.Is(stanza.NSMUCOwner, "query"):
		return f.own(r)
	case get && p.Is(stanza.NSDiscoInfo, "query"):
		return f.info(r)
	case p.Is(stanza.NSCommands, "command"):
		return f.command(r)
	case get && p.Is(stanza.NSDiscoItems, "query") && p.Get("node") == stanza.NSCommands:
		return f.commands(r)
	case get && p.Is(stanza.NSDiscoItems, "query"):
		return r.Result(xmlstream.New(stanza.NSDiscoItems, "query", "node", p.Get("node"))) // who is in it is shown by entering
	case get && p.Is(stanza.NSPing, "ping"):
		return r.Result()
	case p.Name.Space == stanza.NSMAM:
		return f.archived(r)
	case p.Is(stanza.NSRegister, "query"):
		return f.register(r, get)
	case p.Is(stanza.NSVCard, "vCard"):
		return f.vcard(r, get)
	case p.Is(stanza.NSModerate, "moderate"):
		return f.moderate(r, p, p.Get("id"), p.Child(stanza.NSModerate, "reason").Text())
	case p.Is(stanza.NSFasten, "apply-to") && p.Child(stanza.NSModerate0, "moderate") != nil:
		m := p.Child(stanza.NSModerate0, "moderate")
		return f.moderate(r, m, p.Get("id"), m.Child(stanza.NSModerate0, "reason").Text())
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

// visible gives the room, and refuses who may not know more of it than that
// it exists.
func (f *rooms) visible(r *route.Request) (state.Room, command.Affiliation, []route.Effect) {
	st, err := f.o.View.Room(r.To.Bare().String())
	if err != nil {
		return st, 0, r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
	}
	m, err := f.o.View.RoomMember(st.JID, r.From.Bare().String())
	switch {
	case err != nil:
		return st, 0, r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be read; try again")
	case m.Affiliation == command.Affiliation_AFFILIATION_OUTCAST,
		st.Config.GetMembersOnly() && m.Affiliation < command.Affiliation_AFFILIATION_MEMBER:
		return st, 0, r.Err(stanza.Auth, stanza.Forbidden, "that is for members of the room")
	}
	return st, m.Affiliation, nil
}

// info says what kind of room it is (XEP-0045 §disco-roominfo @1.35.5).
func (f *rooms) info(r *route.Request) []route.Effect {
	node := r.Payload.Get("node")
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		st, err := f.o.View.Room(r.To.String())
		if err != nil {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
		}
		switch node {
		case "":
		case "x-roomuser-item": // XEP-0045 §reservednick @1.35.5
			m, _ := f.o.View.RoomMember(st.JID, r.From.Bare().String())
			q := xmlstream.New(stanza.NSDiscoInfo, "query", "node", node)
			if nick := m.Nick(); nick != "" {
				q.Add(xmlstream.New(stanza.NSDiscoInfo, "identity", "category", "conference", "type", "text", "name", nick))
			}
			return r.Result(q)
		default:
			return commandInfo(r, node)
		}
		return r.Result(f.describe(&st))
	})}
}

func (f *rooms) describe(st *state.Room) *xmlstream.Element {
	c := st.Config
	features := []string{
		stanza.NSDiscoInfo, stanza.NSMUC, stanza.NSMUC + "#stable_id", stanza.NSSelfPing, stanza.NSOccupantID, stanza.NSSID, stanza.NSVCard, stanza.NSPing, stanza.NSCommands,
	}
	either := func(on bool, yes, no string) {
		if !on {
			yes = no
		}
		features = append(features, yes)
	}
	either(c.GetMembersOnly(), "muc_membersonly", "muc_open")
	either(c.GetModerated() || c.GetAnnouncements(), "muc_moderated", "muc_unmoderated")
	either(c.GetNonAnonymous(), "muc_nonanonymous", "muc_semianonymous")
	either(c.GetPassword() != "", "muc_passwordprotected", "muc_unsecured")
	either(c.GetPersistent(), "muc_persistent", "muc_temporary")
	either(c.GetPublic(), "muc_public", "muc_hidden")
	if c.GetRegistration() {
		features = append(features, stanza.NSRegister, formRegister)
	}
	if !c.GetUnarchived() {
		features = append(features, stanza.NSMAM, stanza.NSMAMExtended, stanza.NSRSM, stanza.NSModerate, stanza.NSModerate0,
			stanza.NSRetract, stanza.NSTombstone, stanza.NSEphemeral)
	}
	d := route.Discovery{Identities: []route.Identity{{Category: "conference", Type: "text", Name: nameOf(st)}}, Features: features}
	field := func(name, value string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "var", name).Add(xmlstream.NewText(stanza.NSData, "value", value))
	}
	bit := map[bool]string{true: "1", false: "0"}
	form := xmlstream.New(stanza.NSData, "x", "type", "result").Add(
		xmlstream.New(stanza.NSData, "field", "var", "FORM_TYPE", "type", "hidden").Add(xmlstream.NewText(stanza.NSData, "value", formInfo)),
		field("muc#roomconfig_roomname", nameOf(st)), field("muc#roominfo_description", c.GetDescription()), field("muc#roominfo_lang", c.GetLang()),
		field("muc#roominfo_occupants", strconv.Itoa(f.hub.Count(st.JID))),
		field("muc#roomconfig_changesubject", bit[c.GetSubjectByAll()]), field("muc#roomconfig_allowinvites", bit[c.GetInvitesByMembers()]))
	if sums := pictureHashes(c.GetVcard()); len(sums) > 0 {
		hash := xmlstream.New(stanza.NSData, "field", "var", "muc#roominfo_avatarhash", "type", "text-multi")
		for _, sum := range sums {
			hash.Add(xmlstream.NewText(stanza.NSData, "value", sum))
		}
		form.Add(hash)
	}
	return d.Info("").Add(form)
}

// archived queries a room's archive (XEP-0313 §business-storeret-muc-archives
// @1.1.3): for members, and of an open room for whoever is in it.
func (f *rooms) archived(r *route.Request) []route.Effect {
	_, inside := f.hub.Find(r.To, r.From)
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect {
		st, a, refused := f.visible(r)
		switch {
		case refused != nil:
			return refused
		case st.Config.GetUnarchived():
			return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "this room keeps nothing of what is said")
		case a < command.Affiliation_AFFILIATION_MEMBER && !inside:
			return r.Err(stanza.Auth, stanza.Forbidden, "enter the room before you read what was said in it")
		}
		return f.o.Archive(r)
	})}
}

// moderate takes back what somebody said (XEP-0425 §usecase @0.3.0, and the
// older shape of 0.2).
func (f *rooms) moderate(r *route.Request, m *xmlstream.Element, id, why string) []route.Effect {
	if r.Stanza.Get("type") != "set" || m.Child(stanza.NSRetract, "retract") == nil && m.Child(retract0, "retract") == nil {
		return r.Err(stanza.Modify, stanza.BadRequest, "messages can be retracted, and nothing else")
	}
	p, ok := f.o.IDs.Position(id)
	if !ok {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "the room has no such message")
	}
	who, inside := f.hub.Find(r.To, r.From)
	if !inside {
		return r.Err(stanza.Modify, stanza.NotAcceptable, "you are not in the room")
	}
	return commanded(r, &command.Command{Request: &command.Command_RoomModerate{RoomModerate: &command.RoomModerate{
		Room: r.To.String(), By: r.From.String(), Nick: who.Nick, Role: who.Role, Target: p.AppendTo(nil), Reason: why,
	}}})
}

const retract0 = "urn:xmpp:message-retract:0"

// vcard answers and sets a room's picture (XEP-0486 §usecases @0.1.0).
func (f *rooms) vcard(r *route.Request, get bool) []route.Effect {
	if !get {
		return commanded(r, &command.Command{Request: &command.Command_RoomConfigure{RoomConfigure: &command.RoomConfigure{
			Room: r.To.String(), By: r.From.String(), Config: &command.RoomConfig{Vcard: xmlstream.AppendElement(nil, r.Payload, stanza.NSClient)},
		}}})
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		st, err := f.o.View.Room(r.To.String())
		if err != nil || len(st.Config.GetVcard()) == 0 {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "the room has no picture")
		}
		return parsed(r, st.Config.GetVcard())
	})}
}
