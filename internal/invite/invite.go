// SPDX-License-Identifier: Apache-2.0

// Package invite lets people bring others: the ad-hoc command that makes an
// invite link (XEP-0401), the change of one's own password and the removal
// of one's own account (XEP-0077).
package invite

import (
	"context"
	"errors"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// node of the command (XEP-0401 §create-invitation @0.6.0).
const node = stanza.NSInvite + "#invite"

// TTL is how long a person's invite is valid.
const TTL = 7 * 24 * time.Hour

// Accounts makes invites and changes passwords.
type Accounts interface {
	// Invite makes an invite of one use that makes inviter and invitee contacts.
	Invite(ctx context.Context, inviter string, ttl time.Duration) (token string, expires time.Time, err error)
	// ChangeOwnPassword changes the password of a device's account.
	ChangeOwnPassword(ctx context.Context, by jid.JID, password string) error
}

type feature struct {
	accounts Accounts
	domain   string
	link     func(token string) string
}

// Feature for a domain; link makes the address of the landing page, "" when
// there is none.
func Feature(domain string, accounts Accounts, link func(token string) string) route.Feature {
	f := &feature{accounts, domain, link}
	entry := func(typ string, h route.Handler) route.Entry {
		key := route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: stanza.NSRegister, Local: "query"}}
		return route.Entry{Key: key, Targets: route.ToServer | route.ToSelf, Handle: h}
	}
	return route.Feature{
		Name: "invite",
		Entries: []route.Entry{
			entry("get", registered),
			entry("set", f.password),
		},
		Domain:   []string{stanza.NSRegister},
		Commands: []route.Command{{Node: node, Name: "Invite a person", Execute: f.command}},
	}
}

// command executes an ad-hoc command in one step (XEP-0050 §execute @1.3.0).
func (f *feature) command(r *route.Request) []route.Effect {
	switch r.Payload.Get("action") {
	case "", "execute":
	default:
		return r.Err(stanza.Modify, stanza.BadRequest, "this command has one step: execute")
	}
	return []route.Effect{route.Read{Do: func(ctx context.Context) []route.Effect {
		token, expires, err := f.accounts.Invite(ctx, r.From.Bare().String(), TTL)
		if err != nil {
			return fail(r, err)
		}
		return r.Result(f.completed(r.From.Bare(), token, expires))
	}}}
}

func (f *feature) completed(inviter jid.JID, token string, expires time.Time) *xmlstream.Element {
	field := func(typ, name, value string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "type", typ, "var", name).Add(xmlstream.NewText(stanza.NSData, "value", value))
	}
	x := xmlstream.New(stanza.NSData, "x", "type", "result").Add(
		field("hidden", "FORM_TYPE", stanza.NSInvite+"#invitation"),
		field("text-single", "uri", "xmpp:"+inviter.String()+"?roster;preauth="+token+";ibr=y"),
		field("text-single", "expire", expires.UTC().Format("2006-01-02T15:04:05Z")))
	if url := f.link(token); url != "" {
		x.Add(field("text-single", "landing-url", url))
	}
	return xmlstream.New(stanza.NSCommands, "command", "node", node, "status", "completed", "sessionid", "invite-"+expires.UTC().Format("20060102T150405Z")).Add(x)
}

// registered tells who has an account what is known of it: not the password
// (XEP-0077 §usecases-register @2.4).
func registered(r *route.Request) []route.Effect {
	return r.Result(xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.New(stanza.NSRegister, "registered"),
		xmlstream.NewText(stanza.NSRegister, "instructions", "This account exists; a new password can be set here."),
		xmlstream.NewText(stanza.NSRegister, "username", r.From.Local()),
		xmlstream.New(stanza.NSRegister, "password")))
}

// remove removes the sender's account (XEP-0077 §usecases-cancel @2.4). The
// result is queued before the account's sessions end.
func remove(r *route.Request) []route.Effect {
	if len(r.Payload.Elements()) != 1 {
		return r.Err(stanza.Modify, stanza.BadRequest, "remove stands alone")
	}
	cmd := &command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: r.From.Bare().String()}}}
	return []route.Effect{route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return fail(r, out.Err)
		}
		return r.Result()
	}}}
}

// password changes the sender's password (XEP-0077 §usecases-changepw @2.4).
func (f *feature) password(r *route.Request) []route.Effect {
	if r.Payload.Child(stanza.NSRegister, "remove") != nil {
		return remove(r)
	}
	user, password := r.Payload.Child(stanza.NSRegister, "username").Text(), r.Payload.Child(stanza.NSRegister, "password").Text()
	j, err := jid.Make(user, f.domain, "")
	if err != nil || j != r.From.Bare() {
		return r.Err(stanza.Cancel, stanza.NotAllowed, "only the password of this account can be changed")
	}
	return []route.Effect{route.Read{Do: func(ctx context.Context) []route.Effect {
		if err := f.accounts.ChangeOwnPassword(ctx, r.From, password); err != nil {
			return fail(r, err)
		}
		return r.Result()
	}}}
}

func fail(r *route.Request, err error) []route.Effect {
	var e *stanza.Error
	if errors.As(err, &e) {
		return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
	}
	return r.Err(stanza.Wait, stanza.InternalServerError, "try again later")
}
