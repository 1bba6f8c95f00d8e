// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Invite links. Who may invite makes, lists and takes back links by commands of
// the room (XEP-0050); whoever has one becomes a member: by registering with
// its token (XEP-0445), or, with an account, by showing it to the server.

// Nodes of the commands.
const (
	nodeLink   = stanza.NSInvite + "#invite" // XEP-0401 §create-invitation @0.6.0, of a room
	nodeLinks  = stanza.NSRoomInvite + "#links"
	nodeRevoke = stanza.NSRoomInvite + "#revoke"
)

const (
	linkUses = 100                // unless asked otherwise
	linkTTL  = 7 * 24 * time.Hour // unless asked otherwise
	linkLong = 366 * 24 * time.Hour
	// linkUsesMost bounds the uses of one link.
	linkUsesMost = command.RoomMembers
)

func linkCommands() []route.Item {
	return []route.Item{
		{Node: nodeLink, Name: "Make an invite link"},
		{Node: nodeLinks, Name: "List invite links"},
		{Node: nodeRevoke, Name: "Take invite links back"},
	}
}

// invites reports whether who asks may invite to the room by links, and whether
// those of others are theirs to see.
func (f *rooms) invites(r *route.Request) (may, all bool, refused []route.Effect) {
	st, a, refused := f.visible(r)
	if refused != nil {
		return false, false, refused
	}
	all = a >= command.Affiliation_AFFILIATION_ADMIN
	return all || a == command.Affiliation_AFFILIATION_MEMBER && st.Config.GetInvitesByMembers(), all, nil
}

// commands lists what who asks may do (XEP-0050 §retrieve @1.3.0).
func (f *rooms) commands(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		may, _, refused := f.invites(r)
		if refused != nil {
			return refused
		}
		q := xmlstream.New(stanza.NSDiscoItems, "query", "node", stanza.NSCommands)
		if may {
			for _, c := range linkCommands() {
				q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", r.To.String(), "node", c.Node, "name", c.Name))
			}
		}
		return r.Result(q)
	})}
}

func commandInfo(r *route.Request, node string) []route.Effect {
	for _, c := range linkCommands() {
		if c.Node == node {
			d := route.Discovery{
				Identities: []route.Identity{{Category: "automation", Type: "command-node", Name: c.Name}},
				Features:   []string{stanza.NSCommands, stanza.NSData},
			}
			return r.Result(d.Info(node))
		}
	}
	return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
}

// command executes one; each has one step (XEP-0050 §execute @1.3.0).
func (f *rooms) command(r *route.Request) []route.Effect {
	node := r.Payload.Get("node")
	do, ok := map[string]func(context.Context, *route.Request, bool) []route.Effect{
		nodeLink: f.makeLink, nodeLinks: f.listLinks, nodeRevoke: f.revokeLinks,
	}[node]
	switch {
	case !ok:
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such command")
	case r.Stanza.Get("type") != "set":
		return r.Err(stanza.Modify, stanza.BadRequest, "a command is executed by a set")
	case r.Payload.Get("action") == "cancel":
		return r.Result(xmlstream.New(stanza.NSCommands, "command", "node", node, "sessionid", r.Payload.Get("sessionid"), "status", "canceled"))
	}
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect {
		ctx, cancel := context.WithTimeout(ctx, commandWithin)
		defer cancel()
		may, all, refused := f.invites(r)
		switch {
		case refused != nil:
			return refused
		case !may:
			return r.Err(stanza.Auth, stanza.Forbidden, "only admins of the room can do that")
		}
		return do(ctx, r, all)
	})}
}

// values of a field of the submitted form.
func values(r *route.Request, name string) []string {
	for _, e := range r.Payload.Child(stanza.NSData, "x").Elements() {
		if e.Is(stanza.NSData, "field") && e.Get("var") == name {
			return fieldValues(e)
		}
	}
	return nil
}

// fieldValues gives the values of a field of a form.
func fieldValues(field *xmlstream.Element) []string {
	var out []string
	for _, v := range field.Elements() {
		if v.Is(stanza.NSData, "value") {
			out = append(out, v.Text())
		}
	}
	return out
}

func number(r *route.Request, name string, def, most uint64) (uint64, bool) {
	v := values(r, name)
	if len(v) == 0 {
		return def, true
	}
	n, err := strconv.ParseUint(v[0], 10, 32)
	return n, err == nil && n <= most
}

func completed(r *route.Request, form *xmlstream.Element) []route.Effect {
	return r.Result(xmlstream.New(stanza.NSCommands, "command", "node", r.Payload.Get("node"), "status", "completed", "sessionid", "link").Add(form))
}

func datum(name, value string) *xmlstream.Element {
	return xmlstream.New(stanza.NSData, "field", "var", name).Add(xmlstream.NewText(stanza.NSData, "value", value))
}

// makeLink makes a link. The form may say after how many seconds it ends, 0 for
// never, and how many people it is for.
func (f *rooms) makeLink(ctx context.Context, r *route.Request, _ bool) []route.Effect {
	seconds, ok1 := number(r, "expires", uint64(linkTTL/time.Second), uint64(linkLong/time.Second))
	uses, ok2 := number(r, "uses", linkUses, linkUsesMost)
	if !ok1 || !ok2 || uses == 0 {
		return r.Err(stanza.Modify, stanza.NotAcceptable, "a link is for 1 to 1024 people, and for up to 366 days (0 seconds: for ever)")
	}
	token, expires, err := f.o.Invite(ctx, r.From.Bare().String(), r.To.String(), uint32(uses), time.Duration(seconds)*time.Second)
	if err != nil {
		return failed(r, err)
	}
	x := xmlstream.New(stanza.NSData, "x", "type", "result").Add(
		datum("FORM_TYPE", stanza.NSInvite+"#invitation").Set("type", "hidden"),
		datum("uri", "xmpp:"+f.o.Host+"?register;preauth="+token),
		datum("token", token), datum("id", state.InviteID(hash(token))), datum("uses", strconv.FormatUint(uses, 10)))
	if !expires.IsZero() {
		x.Add(datum("expire", expires.UTC().Format(route.TimeLayout)))
	}
	if url := f.o.Link(token); url != "" {
		x.Add(datum("landing-url", url))
	}
	return completed(r, x)
}

func failed(r *route.Request, err error) []route.Effect {
	var e *stanza.Error
	if errors.As(err, &e) {
		return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
	}
	return r.Err(stanza.Wait, stanza.InternalServerError, "the room could not be reached; try again")
}

func hash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

func alive(i *state.Invite, now time.Time) bool {
	return i.Uses > 0 && (i.Expires.IsZero() || now.Before(i.Expires))
}

// listLinks lists the links that can be used: an admin all, others their own.
func (f *rooms) listLinks(_ context.Context, r *route.Request, all bool) []route.Effect {
	links, err := f.o.View.RoomLinks(r.To.String())
	if err != nil {
		return failed(r, err)
	}
	x := xmlstream.New(stanza.NSData, "x", "type", "result")
	reported := xmlstream.New(stanza.NSData, "reported")
	for _, name := range []string{"id", "by", "created", "expires", "uses"} {
		reported.Add(xmlstream.New(stanza.NSData, "field", "var", name, "label", name))
	}
	x.Add(reported)
	slices.SortFunc(links, func(a, b state.ListedInvite) int { return a.Created.Compare(b.Created) })
	for i := range links {
		l := &links[i]
		if !alive(&l.Invite, time.Now()) || !all && l.Inviter != r.From.Bare().String() {
			continue
		}
		expires := ""
		if !l.Expires.IsZero() {
			expires = l.Expires.UTC().Format(route.TimeLayout)
		}
		x.Add(xmlstream.New(stanza.NSData, "item").Add(datum("id", l.ID()), datum("by", l.Inviter),
			datum("created", l.Created.UTC().Format(route.TimeLayout)), datum("expires", expires), datum("uses", strconv.Itoa(int(l.Uses)))))
	}
	return completed(r, x)
}

// revokeLinks takes back the links whose ids the form names.
func (f *rooms) revokeLinks(ctx context.Context, r *route.Request, _ bool) []route.Effect {
	ids := values(r, "id")
	if len(ids) == 0 || len(ids) > command.RoomLinks {
		return r.Err(stanza.Modify, stanza.BadRequest, "name the links by their ids, in a field id")
	}
	links, err := f.o.View.RoomLinks(r.To.String())
	if err != nil {
		return failed(r, err)
	}
	for _, id := range ids {
		i := slices.IndexFunc(links, func(l state.ListedInvite) bool { return l.ID() == id })
		if i < 0 {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "the room has no such invite")
		}
		out, err := f.o.Do(ctx, &command.Command{Request: &command.Command_InviteRevoke{InviteRevoke: &command.InviteRevoke{
			TokenHash: links[i].Hash, Room: r.To.String(), By: r.From.Bare().String(),
		}}})
		if err == nil && out.Err != nil {
			err = out.Err
		}
		if err != nil {
			return failed(r, err)
		}
	}
	return completed(r, nil)
}
