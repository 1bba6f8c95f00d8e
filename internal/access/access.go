// SPDX-License-Identifier: Apache-2.0

// Package access shows people what has access to their account, and lets them
// take it away (XEP-0494), let one more device in without a password, and make a
// code for the day when they have none left (docs/login.md).
package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what is read of the view.
type Reader interface {
	Clients(account string) ([]state.Client, error)
	Recovery(account string) (state.Secret, error)
}

// Session is a device that is connected or waits to resume.
type Session struct {
	JID    jid.JID
	Client string // as state.Client.ID; "" when it has not said what it is
	Since  time.Time
}

// Accounts changes who has access.
type Accounts interface {
	// Revoke ends a client's tokens and sessions. Errors are *stanza.Error where it
	// cannot be done.
	Revoke(ctx context.Context, account, client string) error
	// NewLink makes a token that lets one more device in, once, soon.
	NewLink(ctx context.Context, account string) (token string, expires time.Time, err error)
	// NewRecovery makes the recovery code, NoRecovery voids it.
	NewRecovery(ctx context.Context, account string) (code string, err error)
	NoRecovery(ctx context.Context, account string) error
}

type feature struct {
	view      Reader
	accounts  Accounts
	connected func(account string) []Session
	now       func() time.Time
}

// Feature reads from view; connected gives the sessions of an account.
func Feature(view Reader, accounts Accounts, connected func(account string) []Session, now func() time.Time) route.Feature {
	f := &feature{view, accounts, connected, now}
	entry := func(typ, space, local string, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: space, Local: local}},
			Targets: route.ToSelf, Handle: h,
		}
	}
	return route.Feature{
		Name: "access",
		Entries: []route.Entry{
			entry("get", stanza.NSCAM, "list", f.list),
			entry("set", stanza.NSCAM, "revoke", f.revoke),
			entry("set", stanza.NSLink, "link", f.link),
			entry("get", stanza.NSRecovery, "recovery", f.recovery),
			entry("set", stanza.NSRecovery, "recovery", f.recover),
		},
		Account: []string{stanza.NSCAM, stanza.NSLink, stanza.NSRecovery},
	}
}

// list is XEP-0494 §listing-clients @0.1.0.
func (f *feature) list(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		account := r.From.Bare().String()
		clients, err := f.view.Clients(account)
		if err != nil {
			return fail(r, err)
		}
		slices.SortStableFunc(clients, func(a, b state.Client) int { return a.First.Compare(b.First) })
		list := xmlstream.New(stanza.NSCAM, "clients")
		sessions := f.connected(account)
		on := map[string]bool{}
		for _, s := range sessions {
			on[s.Client] = true
		}
		for i := range clients {
			list.Add(f.client(&clients[i], on[clients[i].ID]))
		}
		for _, s := range sessions {
			if s.Client == "" {
				list.Add(f.unnamed(s))
			}
		}
		return r.Result(list)
	})}
}

// client describes one that has said what it is.
func (f *feature) client(c *state.Client, connected bool) *xmlstream.Element {
	last := c.Last
	if connected {
		last = f.now()
	}
	var auth []string
	if c.Password {
		auth = append(auth, "password")
	}
	if c.Link || c.Recovery {
		auth = append(auth, "grant")
	}
	if good(c.Current, f.now()) || good(c.Next, f.now()) {
		auth = append(auth, "fast")
	}
	e := entry(base64.RawURLEncoding.EncodeToString([]byte(c.ID)), connected, c.First, last, auth)
	agent := xmlstream.New(stanza.NSCAM, "user-agent")
	for _, t := range [][2]string{{"software", c.Software}, {"device", c.Device}} {
		if t[1] != "" {
			agent.Add(xmlstream.NewText(stanza.NSCAM, t[0], t[1]))
		}
	}
	return e.Add(agent)
}

// unnamed describes a session of a program that did not say what it is: it knows
// the password, and is only known while it is here.
func (f *feature) unnamed(s Session) *xmlstream.Element {
	return entry(sessionPrefix+base64.RawURLEncoding.EncodeToString([]byte(s.JID.Resource())), true, s.Since, f.now(), []string{"password"}).
		Add(xmlstream.New(stanza.NSCAM, "user-agent").Add(xmlstream.NewText(stanza.NSCAM, "software", s.JID.Resource())))
}

// sessionPrefix begins what names a session that has no client's name; it is not
// in the alphabet of those.
const sessionPrefix = "session."

func good(t *state.Token, now time.Time) bool { return t != nil && now.Before(t.Expires) }

func entry(id string, connected bool, first, last time.Time, auth []string) *xmlstream.Element {
	is := "false"
	if connected {
		is = "true"
	}
	how := xmlstream.New(stanza.NSCAM, "auth")
	for _, a := range auth {
		how.Add(xmlstream.New(stanza.NSCAM, a))
	}
	return xmlstream.New(stanza.NSCAM, "client", "id", id, "connected", is, "type", "session").Add(
		xmlstream.NewText(stanza.NSCAM, "first-seen", stamp(first)),
		xmlstream.NewText(stanza.NSCAM, "last-seen", stamp(last)),
		how, xmlstream.New(stanza.NSCAM, "permission", "status", "unrestricted"))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// idMost bounds the id of a client, in bytes: those that are handed out name at
// most a resource, in base64url.
const idMost = 2048

// revoke is XEP-0494 §revoking-access @0.1.0. A device that knows the password is
// only kept out by a new one.
func (f *feature) revoke(r *route.Request) []route.Effect {
	account, id := r.From.Bare().String(), r.Payload.Get("id")
	if len(id) > idMost {
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such device")
	}
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect {
		for _, s := range f.connected(account) {
			if s.Client == "" && sessionPrefix+base64.RawURLEncoding.EncodeToString([]byte(s.JID.Resource())) == id {
				return knowsPassword(r)
			}
		}
		name, err := base64.RawURLEncoding.DecodeString(id)
		if err != nil || len(name) == 0 {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such device")
		}
		err = f.accounts.Revoke(ctx, account, string(name))
		var refused *stanza.Error
		switch {
		case err == nil:
			return r.Result()
		case errors.As(err, &refused) && refused.Condition == stanza.ServiceUnavailable:
			return knowsPassword(r)
		}
		return fail(r, err)
	})}
}

func knowsPassword(r *route.Request) []route.Effect {
	e := stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "This device knows the password: change that, and it is logged out.")
	e.App = xmlstream.New(stanza.NSCAM, "password-reset-required")
	return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
}

// link makes the token that one more device logs in with.
func (f *feature) link(r *route.Request) []route.Effect {
	return []route.Effect{route.Read{Do: func(ctx context.Context) []route.Effect {
		token, expires, err := f.accounts.NewLink(ctx, r.From.Bare().String())
		if err != nil {
			return fail(r, err)
		}
		uri := "xmpp:" + url.PathEscape(r.From.Local()) + "@" + r.From.Domain() + "?login;token=" + token
		return r.Result(xmlstream.New(stanza.NSLink, "link", "token", token, "expires", stamp(expires), "uri", uri))
	}}}
}

// recovery tells since when there is a recovery code.
func (f *feature) recovery(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		s, err := f.view.Recovery(r.From.Bare().String())
		e := xmlstream.New(stanza.NSRecovery, "recovery")
		switch {
		case errors.Is(err, state.ErrNotFound):
		case err != nil:
			return fail(r, err)
		case s.Expires.IsZero():
			e.Set("made", stamp(s.Made))
		case f.now().Before(s.Expires):
			e.Set("made", stamp(s.Made)).Set("expires", stamp(s.Expires))
		}
		return r.Result(e)
	})}
}

// recover makes a recovery code, or voids the one there is.
func (f *feature) recover(r *route.Request) []route.Effect {
	account, remove := r.From.Bare().String(), r.Payload.Child(stanza.NSRecovery, "remove") != nil
	return []route.Effect{route.Read{Do: func(ctx context.Context) []route.Effect {
		if remove {
			if err := f.accounts.NoRecovery(ctx, account); err != nil {
				return fail(r, err)
			}
			return r.Result()
		}
		code, err := f.accounts.NewRecovery(ctx, account)
		if err != nil {
			return fail(r, err)
		}
		return r.Result(xmlstream.New(stanza.NSRecovery, "recovery", "code", code))
	}}}
}

func fail(r *route.Request, err error) []route.Effect {
	var e *stanza.Error
	if errors.As(err, &e) {
		return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
	}
	return r.Err(stanza.Wait, stanza.InternalServerError, "try again later")
}
