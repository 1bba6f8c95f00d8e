// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

const (
	formConfig = "http://jabber.org/protocol/muc#roomconfig"
	formInfo   = "http://jabber.org/protocol/muc#roominfo"
)

// own answers an owner who configures or removes a room (XEP-0045 §roomconfig
// @1.35.5, §destroyroom @1.35.5).
func (f *rooms) own(r *route.Request) []route.Effect {
	room := r.To.String()
	if r.Stanza.Get("type") == "get" {
		return []route.Effect{r.Read(func(context.Context) []route.Effect {
			st, err := f.o.View.Room(room)
			if err != nil {
				return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such room")
			}
			m, err := f.o.View.RoomMember(room, r.From.Bare().String())
			if err != nil || m.Affiliation != command.Affiliation_AFFILIATION_OWNER {
				return r.Err(stanza.Auth, stanza.Forbidden, "only an owner of the room can do that")
			}
			return r.Result(xmlstream.New(stanza.NSMUCOwner, "query").Add(configForm(st.Config)))
		})}
	}
	if d := r.Payload.Child(stanza.NSMUCOwner, "destroy"); d != nil {
		c := &command.RoomDestroy{Room: room, By: r.From.String(), Reason: d.Child(stanza.NSMUCOwner, "reason").Text()}
		if to, err := jid.Parse(d.Get("jid")); err == nil {
			c.Alternate = to.String()
		}
		return commanded(r, &command.Command{Request: &command.Command_RoomDestroy{RoomDestroy: c}})
	}
	x := r.Payload.Child(stanza.NSData, "x")
	switch {
	case x == nil:
		return r.Err(stanza.Modify, stanza.BadRequest, "send the form of the room's configuration")
	case x.Get("type") == "cancel":
		return f.cancel(r)
	}
	config, text := parseConfig(x)
	if text != "" {
		return r.Err(stanza.Modify, stanza.NotAcceptable, text)
	}
	return commanded(r, &command.Command{Request: &command.Command_RoomConfigure{
		RoomConfigure: &command.RoomConfigure{Room: room, By: r.From.String(), Config: config},
	}})
}

// cancel ends the making of a room that is still locked (XEP-0045
// §createroom-reserved @1.35.5); of another it changes nothing.
func (f *rooms) cancel(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		if st, err := f.o.View.Room(r.To.String()); err != nil || !st.Locked {
			return r.Result()
		}
		return commanded(r, &command.Command{Request: &command.Command_RoomDestroy{
			RoomDestroy: &command.RoomDestroy{Room: r.To.String(), By: r.From.String()},
		}})
	})}
}

// option is one field of the form: how it reads and is written.
type option struct {
	name, typ, label string
	options          []string // of a list
	get              func(*command.RoomConfig) []string
	set              func(c *command.RoomConfig, values []string) bool // false: no such value
}

// single is an option that has one value.
func single(o option, get func(*command.RoomConfig) string, set func(c *command.RoomConfig, value string) bool) option {
	o.get = func(c *command.RoomConfig) []string { return []string{get(c)} }
	o.set = func(c *command.RoomConfig, v []string) bool { return set(c, first(v)) }
	return o
}

func flag(name, label string, get func(*command.RoomConfig) bool, at func(*command.RoomConfig) **bool) option {
	return single(option{name: name, typ: "boolean", label: label},
		func(c *command.RoomConfig) string {
			if get(c) {
				return "1"
			}
			return "0"
		},
		func(c *command.RoomConfig, v string) bool {
			*at(c) = proto.Bool(v == "1" || v == "true")
			return v == "0" || v == "1" || v == "true" || v == "false"
		})
}

func text(name, typ, label string, get func(*command.RoomConfig) string, at func(*command.RoomConfig) **string) option {
	return single(option{name: "muc#roomconfig_" + name, typ: typ, label: label}, get,
		func(c *command.RoomConfig, v string) bool { *at(c) = proto.String(v); return true })
}

// options of the form (XEP-0045 §registrar-formtype-owner @1.35.5).
func options() []option {
	return append(texts(), append(flags(), lists()...)...)
}

func texts() []option {
	return []option{
		text("roomname", "text-single", "Name", (*command.RoomConfig).GetName, func(c *command.RoomConfig) **string { return &c.Name }),
		text("roomdesc", "text-single", "Description", (*command.RoomConfig).GetDescription, func(c *command.RoomConfig) **string { return &c.Description }),
		text("lang", "text-single", "Language", (*command.RoomConfig).GetLang, func(c *command.RoomConfig) **string { return &c.Lang }),
		text("roomsecret", "text-private", "Password", (*command.RoomConfig).GetPassword, func(c *command.RoomConfig) **string { return &c.Password }),
	}
}

func flags() []option {
	return []option{
		flag("muc#roomconfig_persistentroom", "Stays when nobody is in it", (*command.RoomConfig).GetPersistent, func(c *command.RoomConfig) **bool { return &c.Persistent }),
		flag("muc#roomconfig_publicroom", "Shown in the list of rooms", (*command.RoomConfig).GetPublic, func(c *command.RoomConfig) **bool { return &c.Public }),
		flag("muc#roomconfig_membersonly", "Only for members", (*command.RoomConfig).GetMembersOnly, func(c *command.RoomConfig) **bool { return &c.MembersOnly }),
		flag("muc#roomconfig_moderatedroom", "Who is no member needs voice to write", (*command.RoomConfig).GetModerated, func(c *command.RoomConfig) **bool { return &c.Moderated }),
		flag("muc#roomconfig_changesubject", "Everybody may change the subject", (*command.RoomConfig).GetSubjectByAll, func(c *command.RoomConfig) **bool { return &c.SubjectByAll }),
		flag("muc#roomconfig_allowinvites", "Members may invite", (*command.RoomConfig).GetInvitesByMembers, func(c *command.RoomConfig) **bool { return &c.InvitesByMembers }),
		flag("{urn:bavard:rooms:0}registration", "People may make themselves members", (*command.RoomConfig).GetRegistration, func(c *command.RoomConfig) **bool { return &c.Registration }),
		flag("{urn:bavard:rooms:0}announcements", "Only admins write", (*command.RoomConfig).GetAnnouncements, func(c *command.RoomConfig) **bool { return &c.Announcements }),
		single(option{name: "muc#roomconfig_enablearchiving", typ: "boolean", label: "What is said is kept"},
			func(c *command.RoomConfig) string {
				if c.GetUnarchived() {
					return "0"
				}
				return "1"
			},
			func(c *command.RoomConfig, v string) bool {
				c.Unarchived = proto.Bool(v == "0" || v == "false")
				return v == "0" || v == "1" || v == "true" || v == "false"
			}),
	}
}

func lists() []option {
	return []option{
		single(option{name: "muc#roomconfig_whois", typ: "list-single", label: "Who sees the real addresses", options: []string{"moderators", "anyone"}},
			func(c *command.RoomConfig) string {
				if c.GetNonAnonymous() {
					return "anyone"
				}
				return "moderators"
			},
			func(c *command.RoomConfig, v string) bool {
				c.NonAnonymous = proto.Bool(v == "anyone")
				return v == "anyone" || v == "moderators"
			}),
		single(option{name: "muc#roomconfig_allowpm", typ: "list-single", label: "Who may send private messages", options: whispers[:]},
			func(c *command.RoomConfig) string { return whispers[c.GetWhispers()] },
			func(c *command.RoomConfig, v string) bool {
				i := slices.Index(whispers[:], v)
				c.Whispers = command.RoomWhispers(max(i, 0)).Enum()
				return i >= 0
			}),
		{
			name: "muc#roomconfig_presencebroadcast", typ: "list-multi", label: "Who is seen by all, and not by moderators alone", options: seenRoles[:],
			get: seen, set: setSeen,
		},
		{
			name: "muc#roomconfig_getmemberlist", typ: "list-multi", label: "Who may have the lists of members", options: listReaders[:],
			get: readers, set: setReaders,
		},
		single(option{
			name: "muc#roomconfig_maxusers", typ: "list-single", label: "How many may be in it",
			options: []string{"10", "50", "100", "500", "1000", "5000"},
		},
			func(c *command.RoomConfig) string { return strconv.Itoa(int(c.GetMaxOccupants())) },
			func(c *command.RoomConfig, v string) bool {
				n, err := strconv.ParseUint(v, 10, 16)
				c.MaxOccupants = proto.Uint32(uint32(n))
				return err == nil && n > 0 && n <= command.RoomOccupants
			}),
	}
}

var seenRoles = [...]string{"moderator", "participant", "visitor"} // immutable

// seen gives the roles whose presence is broadcast.
func seen(c *command.RoomConfig) []string {
	var out []string
	for _, role := range seenRoles {
		if broadcasts(c, command.RoomRole(slices.Index(roles[:], role))) {
			out = append(out, role)
		}
	}
	return out
}

func setSeen(c *command.RoomConfig, values []string) bool {
	bits, known := bitsOf(roles[:], values)
	c.Unseen = proto.Uint32(command.RoomUnseen &^ bits)
	return known
}

// bitsOf gives the sum of 1 << the number of each value among names, and false when one is none of them.
func bitsOf(names, values []string) (bits uint32, known bool) {
	for _, v := range values {
		i := slices.Index(names, v)
		if i < 0 {
			return 0, false
		}
		bits |= 1 << i
	}
	return bits, true
}

// listReaders are the roles and the affiliation that may have the lists of members, by their bit of
// RoomConfig.lists_for.
var listReaders = [...]string{"visitor", "participant", "moderator", "member"} // immutable

// listsFor gives who may have the lists of members, as in RoomConfig.lists_for.
func listsFor(c *command.RoomConfig) uint32 {
	if c.ListsFor == nil {
		return command.RoomListsForMembers
	}
	return c.GetListsFor()
}

func readers(c *command.RoomConfig) []string {
	var out []string
	for i, name := range listReaders {
		if listsFor(c)>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}

func setReaders(c *command.RoomConfig, values []string) bool {
	bits, known := bitsOf(listReaders[:], values)
	c.ListsFor = proto.Uint32(bits)
	return known
}

var whispers = [...]string{"anyone", "participants", "moderators", "none"} // immutable, by number

// configForm is the form of a room's configuration.
func configForm(c *command.RoomConfig) *xmlstream.Element {
	x := xmlstream.New(stanza.NSData, "x", "type", "form").Add(
		xmlstream.NewText(stanza.NSData, "title", "Configuration of the room"),
		xmlstream.New(stanza.NSData, "field", "var", "FORM_TYPE", "type", "hidden").Add(xmlstream.NewText(stanza.NSData, "value", formConfig)))
	for _, o := range options() {
		field := xmlstream.New(stanza.NSData, "field", "var", o.name, "type", o.typ, "label", o.label)
		for _, v := range o.get(c) {
			field.Add(xmlstream.NewText(stanza.NSData, "value", v))
		}
		for _, choice := range o.options {
			field.Add(xmlstream.New(stanza.NSData, "option", "label", choice).Add(xmlstream.NewText(stanza.NSData, "value", choice)))
		}
		x.Add(field)
	}
	return x
}

// parseConfig reads what a form sets; text says what is wrong with it. Fields
// that are not known are left alone: clients send what other servers have.
func parseConfig(x *xmlstream.Element) (c *command.RoomConfig, wrong string) {
	c = &command.RoomConfig{}
	protected, known := true, options()
	for _, e := range x.Elements() {
		if !e.Is(stanza.NSData, "field") {
			continue
		}
		name, all := e.Get("var"), fieldValues(e)
		value := first(all)
		switch name {
		case "FORM_TYPE":
			if value != formConfig {
				return nil, "the form's type is " + formConfig
			}
			continue
		case "muc#roomconfig_passwordprotectedroom":
			protected = value == "1" || value == "true"
			continue
		}
		for _, o := range known {
			if o.name == name && !o.set(c, all) {
				return nil, "the field " + name + " cannot have this value"
			}
		}
	}
	if !protected {
		c.Password = proto.String("")
	}
	return c, ""
}
