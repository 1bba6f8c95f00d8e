// SPDX-License-Identifier: Apache-2.0

// Package vcard keeps what people say about themselves (XEP-0054): each
// account's vCard, which the server shows on the account's behalf.
package vcard

import (
	"context"
	"errors"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Most bounds a vCard without its picture, in bytes.
const Most = 64 << 10

// Reader is what vCards are read from.
type Reader interface {
	route.Blocklists
	// VCard gives the element as it was stored; state.ErrNotFound when there is
	// none.
	VCard(account string) ([]byte, error)
	// Avatar gives the picture, which is kept beside it; state.ErrNotFound when
	// there is none.
	Avatar(account string) (state.Avatar, error)
	RosterItem(account, peer string) (state.RosterItem, error)
}

type vcard struct {
	view  Reader
	newID func() string
}

// Feature answers XEP-0054 §usecases @1.3.0, with the picture that the account
// has by XEP-0084 (XEP-0398 §conversion @1.0.0). newID makes an id for an item:
// at most 64 bytes.
func Feature(view Reader, newID func() string) route.Feature {
	f := &vcard{view, newID}
	name := xmlstream.Name{Space: stanza.NSVCard, Local: "vCard"}
	entry := func(typ string, to route.Target, h route.Handler) route.Entry {
		return route.Entry{Key: route.Key{Stanza: "iq", Type: typ, Payload: name}, Targets: to, Handle: h}
	}
	return route.Feature{
		Name: "vcard",
		Entries: []route.Entry{
			entry("get", route.ToSelf|route.ToAccount, f.get), entry("get", route.ToServer, domain),
			entry("set", route.ToSelf, f.set), entry("set", route.ToAccount|route.ToServer, refuse),
		},
		Domain: []string{stanza.NSVCard},
		Shared: []string{stanza.NSVCard, stanza.NSConversion},
	}
}

func (f *vcard) get(r *route.Request) []route.Effect {
	account := r.From.Bare().String()
	// Whether an account is there does not show in the answer.
	none := stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
	if r.Target == route.ToAccount {
		account = r.To.String()
	} else {
		none = stanza.Err(stanza.Cancel, stanza.ItemNotFound, "there is no vCard yet")
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		if barred := r.Barred(f.view); barred != nil {
			return []route.Effect{route.Reply{Stanza: barred.Reply(r.Stanza)}}
		}
		stored, err := f.read(account, r)
		switch {
		case errors.Is(err, state.ErrNotFound):
			return []route.Effect{route.Reply{Stanza: none.Reply(r.Stanza)}}
		case err != nil:
			return r.Err(stanza.Wait, stanza.InternalServerError, "the vCard could not be read; try again")
		}
		return []route.Effect{route.Send{Out: result(r, stored)}}
	})}
}

// read gives a vCard with its picture, if the sender may see that: it may be
// for who sees the presence (XEP-0398 §security @1.0.0).
func (f *vcard) read(account string, r *route.Request) ([]byte, error) {
	stored, err := f.view.VCard(account)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return nil, err
	}
	picture, none := f.view.Avatar(account)
	if none != nil && !errors.Is(none, state.ErrNotFound) {
		return nil, none
	}
	if none != nil || !picture.Open && !f.trusted(account, r) {
		return stored, err
	}
	return picture.Into(stored), nil
}

// trusted reports whether the sender may see the account's presence.
func (f *vcard) trusted(account string, r *route.Request) bool {
	if r.Target == route.ToSelf {
		return true
	}
	item, err := f.view.RosterItem(account, r.From.Bare().String())
	return err == nil && (item.Subscription == "from" || item.Subscription == "both")
}

// result carries the vCard as it was stored.
func result(r *route.Request, stored []byte) route.Out {
	b := make([]byte, 0, 128+len(stored))
	b = append(b, " type='result'"...)
	b = xmlstream.AppendAttr(b, "id", r.Stanza.Get("id"))
	if to := r.Stanza.Get("to"); to != "" {
		b = xmlstream.AppendAttr(b, "from", to)
	}
	b = xmlstream.AppendAttr(b, "to", r.From.String())
	b = append(append(append(b, '>'), stored...), "</iq>"...)
	return route.Out{Name: "iq", Rest: b}
}

// domain answers for the server itself.
func domain(r *route.Request) []route.Effect {
	return r.Result(xmlstream.New(stanza.NSVCard, "vCard").Add(
		xmlstream.NewText(stanza.NSVCard, "FN", "bavard"),
		xmlstream.NewText(stanza.NSVCard, "JABBERID", r.To.String())))
}

func (f *vcard) set(r *route.Request) []route.Effect {
	p := picture(r.Payload, f.newID)
	b := xmlstream.AppendElement(nil, r.Payload, stanza.NSClient)
	if len(b) > Most {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "a vCard has at most 64 KiB besides its picture, and that 144 KiB: make it smaller")
	}
	cmd := &command.Command{Request: &command.Command_VcardSet{VcardSet: &command.VCardSet{
		Account: r.From.Bare().String(), Vcard: b, Picture: p, Publisher: r.From.String(),
	}}}
	return []route.Effect{route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result()
	}}}
}

func refuse(r *route.Request) []route.Effect {
	return r.Err(stanza.Auth, stanza.Forbidden, "only one's own vCard can be set")
}
