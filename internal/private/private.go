// SPDX-License-Identifier: Apache-2.0

// Package private keeps what clients store for themselves: private XML
// (XEP-0049). Bookmarks that old clients keep there (XEP-0048) are those that
// new ones keep in a node (XEP-0402): they are stored once, in the node.
package private

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what is read.
type Reader interface {
	// Private gives what is stored under a name; state.ErrNotFound when nothing
	// is.
	Private(account, space, name string) ([]byte, error)
	PubsubItems(account, node string, q state.PubsubQuery) (state.PubsubPage, error)
}

// answerMost bounds an answer, in bytes: more than a client could store again.
const answerMost = 256 << 10

type private struct{ view Reader }

// Feature answers XEP-0049 @1.2 for one's own account, and unifies bookmarks
// (XEP-0402 §compatibility @1.2.0).
func Feature(view Reader) route.Feature {
	f := &private{view}
	entry := func(typ string, to route.Target, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: stanza.NSPrivate, Local: "query"}},
			Targets: to, Handle: h,
		}
	}
	const others = route.ToAccount | route.ToServer
	return route.Feature{
		Name: "private XML",
		Entries: []route.Entry{
			entry("get", route.ToSelf, f.get), entry("set", route.ToSelf, set),
			entry("get", others, forbidden), entry("set", others, forbidden),
		},
		Domain:  []string{stanza.NSPrivate},
		Account: []string{stanza.NSPrivate, stanza.NSBookmarksCompat},
	}
}

func forbidden(r *route.Request) []route.Effect {
	return r.Err(stanza.Auth, stanza.Forbidden, "private data are for their owner alone")
}

// contents gives the elements of a request, or what is wrong with them.
func contents(r *route.Request) ([]*xmlstream.Element, *stanza.Error) {
	all := r.Payload.Elements()
	if len(all) == 0 {
		return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "name the data by an element in a namespace of its own")
	}
	for _, e := range all {
		space := e.Name.Space
		switch {
		case space == "" || len(space)+len(e.Name.Local) > state.PrivateName:
			return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "private data need a namespace of their own")
		case strings.HasPrefix(space, "jabber:"), strings.HasPrefix(space, "http://jabber.org/"), space == stanza.NSVCard:
			return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "this namespace is reserved")
		}
	}
	return all, nil
}

func (f *private) get(r *route.Request) []route.Effect {
	all, bad := contents(r)
	if bad == nil && len(all) > 1 {
		bad = stanza.Err(stanza.Modify, stanza.NotAcceptable, "ask for one thing at a time")
	}
	if bad != nil {
		return fail(r, bad)
	}
	name := all[0].Name
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		stored, err := f.view.Private(r.From.Bare().String(), name.Space, name.Local)
		if errors.Is(err, state.ErrNotFound) {
			// What was never stored is what was asked for, empty.
			stored, err = xmlstream.AppendElement(nil, xmlstream.New(name.Space, name.Local), ""), nil
		}
		if err == nil && name == storage {
			stored, err = f.bookmarks(r.From.Bare().String(), stored)
		}
		switch {
		case errors.Is(err, errTooMuch):
			return r.Err(stanza.Wait, stanza.ResourceConstraint, "the bookmarks are too many for this format")
		case err != nil:
			return r.Err(stanza.Wait, stanza.InternalServerError, "the data could not be read; try again")
		}
		return []route.Effect{route.Send{Out: result(r, stored)}}
	})}
}

func result(r *route.Request, stored []byte) route.Out {
	b := make([]byte, 0, 192+len(stored))
	b = append(b, " type='result'"...)
	b = xmlstream.AppendAttr(b, "id", r.Stanza.Get("id"))
	if to := r.Stanza.Get("to"); to != "" {
		b = xmlstream.AppendAttr(b, "from", to)
	}
	b = xmlstream.AppendAttr(b, "to", r.From.String())
	b = append(b, "><query xmlns='"+stanza.NSPrivate+"'>"...)
	return route.Out{Name: "iq", Rest: append(append(b, stored...), "</query></iq>"...)}
}

func fail(r *route.Request, e *stanza.Error) []route.Effect {
	return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
}

// set stores each element under its name; several of one name are stored
// together. One without content removes what was there.
func set(r *route.Request) []route.Effect {
	all, bad := contents(r)
	if bad != nil {
		return fail(r, bad)
	}
	c := &command.PrivateSet{Account: r.From.Bare().String()}
	var commands []*command.Command
	for _, e := range all {
		if e.Name == storage {
			if commands != nil {
				return r.Err(stanza.Modify, stanza.NotAcceptable, "there is one list of bookmarks")
			}
			if commands, bad = bookmarks(r, e); bad != nil {
				return fail(r, bad)
			}
		}
		add(c, e)
	}
	return submit(r, append(commands, &command.Command{Request: &command.Command_PrivateSet{PrivateSet: c}}))
}

func add(c *command.PrivateSet, e *xmlstream.Element) {
	var b []byte
	if len(e.Children) > 0 || len(e.Attr) > 0 {
		b = xmlstream.AppendElement(nil, e, "")
	}
	i := slices.IndexFunc(c.Entries, func(o *command.PrivateXML) bool { return o.Space == e.Name.Space && o.Name == e.Name.Local })
	if i < 0 {
		c.Entries = append(c.Entries, &command.PrivateXML{Space: e.Name.Space, Name: e.Name.Local, Xml: b})
		return
	}
	c.Entries[i].Xml = append(c.Entries[i].Xml, b...)
}

// submit appends commands and answers once, when the last outcome is there.
func submit(r *route.Request, commands []*command.Command) []route.Effect {
	var mu sync.Mutex // outcomes come from the journal's and the applier's goroutines
	var refused *stanza.Error
	left := len(commands)
	effects := make([]route.Effect, 0, left)
	for _, cmd := range commands {
		effects = append(effects, route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
			mu.Lock()
			defer mu.Unlock()
			if out.Err != nil && refused == nil {
				refused = out.Err
			}
			if left--; left > 0 {
				return nil
			}
			if refused != nil {
				return fail(r, refused)
			}
			return r.Result()
		}})
	}
	return effects
}
