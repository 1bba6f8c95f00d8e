// SPDX-License-Identifier: Apache-2.0

// Package lastactivity tells when somebody was last here, to who may see their
// presence, and how long the server has been running (XEP-0012).
package lastactivity

import (
	"context"
	"errors"
	"strconv"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what is read.
type Reader interface {
	route.Blocklists
	Account(bare string) (state.Account, error)
	RosterItem(account, peer string) (state.RosterItem, error)
	// Left gives when the account's last device went; state.ErrNotFound when
	// that is not known.
	Left(account string) (time.Time, error)
	// Hidden reports whether nobody is to see an account's presence.
	Hidden(account string) bool
}

// Presences gives the last presence of each available resource of an account.
type Presences interface {
	Presences(account string) []*xmlstream.Element
}

type last struct {
	view    Reader
	who     Presences
	now     func() time.Time
	started time.Time
}

// Feature answers XEP-0012 §protocol @2.0. now is the clock; the server runs
// since the call.
func Feature(view Reader, who Presences, now func() time.Time) route.Feature {
	f := &last{view: view, who: who, now: now, started: now()}
	entry := func(to route.Target, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: "get", Payload: xmlstream.Name{Space: stanza.NSLast, Local: "query"}},
			Targets: to, Handle: h,
		}
	}
	return route.Feature{
		Name: "last activity",
		Entries: []route.Entry{
			entry(route.ToServer, f.server), entry(route.ToSelf|route.ToAccount, f.account), entry(route.ToSession, f.session),
		},
		Domain: []string{stanza.NSLast},
		Shared: []string{stanza.NSLast},
	}
}

// server is XEP-0012 §server @2.0.
func (f *last) server(r *route.Request) []route.Effect {
	return []route.Effect{route.Read{Do: func(context.Context) []route.Effect { return f.answer(r, f.started) }}}
}

// account is XEP-0012 §offline @2.0.
func (f *last) account(r *route.Request) []route.Effect {
	account := r.To.Bare()
	if r.Target == route.ToSelf {
		account = r.From.Bare()
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		if refused := f.refused(r, account); refused != nil {
			return []route.Effect{route.Reply{Stanza: refused.Reply(r.Stanza)}}
		}
		if r.Target == route.ToSelf || len(f.who.Presences(account.String())) > 0 {
			return f.answer(r, f.now())
		}
		at, err := f.view.Left(account.String())
		if errors.Is(err, state.ErrNotFound) { // it was never here
			var a state.Account
			a, err = f.view.Account(account.String())
			at = a.Created
		}
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "try again later")
		}
		return f.answer(r, at)
	})}
}

// session asks a device, if its account lets the sender see it
// (XEP-0012 §online @2.0).
func (f *last) session(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		if refused := f.refused(r, r.To.Bare()); refused != nil {
			return []route.Effect{route.Reply{Stanza: refused.Reply(r.Stanza)}}
		}
		return []route.Effect{route.Deliver{To: r.To, Stanza: r.Stanza, Bounce: true}}
	})}
}

// refused gives the error for who may not see the account's presence.
func (f *last) refused(r *route.Request, account jid.JID) *stanza.Error {
	if account == r.From.Bare() {
		return nil
	}
	if barred := r.Barred(f.view); barred != nil {
		return barred
	}
	item, err := f.view.RosterItem(account.String(), r.From.Bare().String())
	if err == nil && !f.view.Hidden(account.String()) && (item.Subscription == "from" || item.Subscription == "both") {
		return nil
	}
	return stanza.Err(stanza.Auth, stanza.Forbidden, "only who may see the presence may see this")
}

func (f *last) answer(r *route.Request, since time.Time) []route.Effect {
	seconds := max(0, int64(f.now().Sub(since)/time.Second))
	return r.Result(xmlstream.New(stanza.NSLast, "query", "seconds", strconv.FormatInt(seconds, 10)))
}
