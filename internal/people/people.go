// SPDX-License-Identifier: Apache-2.0

// Package people lets people find each other: a directory of those accounts of
// the domain that want to be in it, which is searched (XEP-0055), and which one
// enters and leaves by registering with it (XEP-0077), as with the user
// directories that clients know. Nobody is in it who did not ask for it.
package people

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what the directory is read from.
type Reader interface {
	// Directory searches; see view.View.
	Directory(text, after string, most int) (found []state.Person, more bool, err error)
	// Listed gives the name under which an account is in it; state.ErrNotFound.
	Listed(account string) (string, error)
	Account(jid string) (state.Account, error)
	Blocked(account, address string) (bool, error)
}

// Options of the directory.
type Options struct {
	Domain string // of the directory
	View   Reader
	Now    func() time.Time
}

const (
	// page bounds what one search finds.
	page = 50
	// textLeast and textMost bound what is searched for, in letters and bytes.
	textLeast = 2
	textMost  = 255
)

type people struct {
	o      Options
	limits limits
}

// Feature serves the domain of the directory.
func Feature(o Options) route.Feature {
	f := &people{o: o}
	return route.Feature{Name: "people", Component: &route.Component{Domain: o.Domain, Name: "People", Handle: f.handle}}
}

func (f *people) handle(r *route.Request) []route.Effect {
	typ := r.Stanza.Get("type")
	switch {
	case typ == "error" || typ == "result" || r.Stanza.Name.Local == "presence":
		return nil
	case r.Stanza.Name.Local != "iq" || r.To.Local() != "" || r.To.Resource() != "":
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "this is a directory of people, and nobody reads here")
	}
	get, p := typ == "get", r.Payload
	switch {
	case get && (p.Is(stanza.NSDiscoInfo, "query") || p.Is(stanza.NSDiscoItems, "query")):
		return discover(r)
	case get && p.Is(stanza.NSPing, "ping"):
		return r.Result()
	case get && p.Is(stanza.NSSearch, "query"):
		return r.Result(fields())
	case p.Is(stanza.NSSearch, "query"):
		return f.search(r)
	case get && p.Is(stanza.NSRegister, "query"):
		return f.registered(r)
	case p.Is(stanza.NSRegister, "query"):
		return register(r)
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

func discover(r *route.Request) []route.Effect {
	switch {
	case r.Payload.Get("node") != "":
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
	case r.Payload.Name.Space == stanza.NSDiscoItems:
		return r.Result(xmlstream.New(stanza.NSDiscoItems, "query"))
	}
	d := route.Discovery{
		Identities: []route.Identity{{Category: "directory", Type: "user", Name: "People"}},
		Features:   []string{stanza.NSDiscoInfo, stanza.NSDiscoItems, stanza.NSPing, stanza.NSRSM, stanza.NSRegister, stanza.NSSearch},
	}
	return r.Result(d.Info(""))
}

func field(typ, name, label string, values ...string) *xmlstream.Element {
	e := xmlstream.New(stanza.NSData, "field", "type", typ, "var", name, "label", label)
	for _, v := range values {
		e.Add(xmlstream.NewText(stanza.NSData, "value", v))
	}
	return e
}

func form(typ, of string) *xmlstream.Element {
	return xmlstream.New(stanza.NSData, "x", "type", typ).Add(field("hidden", "FORM_TYPE", "", of))
}

// fields says what can be searched for (XEP-0055 §usecases-search @1.3,
// §extensibility).
func fields() *xmlstream.Element {
	const how = "The beginning of a name or an address: two letters or more."
	return xmlstream.New(stanza.NSSearch, "query").Add(
		xmlstream.NewText(stanza.NSSearch, "instructions", how), xmlstream.New(stanza.NSSearch, "nick"),
		form("form", stanza.NSSearch).Add(
			xmlstream.NewText(stanza.NSData, "title", "People"), xmlstream.NewText(stanza.NSData, "instructions", how),
			field("text-single", "nick", "Name or address")))
}

// value gives a field of a request, from its form if it has one.
func value(query *xmlstream.Element, name string) string {
	x := query.Child(stanza.NSData, "x")
	if x == nil {
		return strings.TrimSpace(query.Child(query.Name.Space, name).Text())
	}
	for _, e := range x.Elements() {
		if e.Is(stanza.NSData, "field") && e.Get("var") == name {
			return strings.TrimSpace(e.Child(stanza.NSData, "value").Text())
		}
	}
	return ""
}

// query is a parsed search.
type query struct {
	text, after string
	max         int
	form        bool
}

func parse(q *xmlstream.Element) (query, *stanza.Error) {
	out := query{max: page, form: q.Child(stanza.NSData, "x") != nil}
	// Whatever field a client has filled in, it is about a name or an address.
	for _, name := range []string{"nick", "first", "last", "email"} {
		if v := value(q, name); v != "" {
			out.text = strings.TrimSpace(out.text + " " + v)
		}
	}
	letters := 0
	for _, c := range out.text {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			letters++
		}
	}
	if letters < textLeast || len(out.text) > textMost || !utf8.ValidString(out.text) {
		return out, stanza.Err(stanza.Modify, stanza.NotAcceptable, "give the beginning of a name or an address: two letters or more")
	}
	for _, c := range q.Child(stanza.NSRSM, "set").Elements() {
		switch c.Name.Local {
		case "max":
			n, err := strconv.ParseUint(c.Text(), 10, 31)
			if err != nil {
				return out, stanza.Err(stanza.Modify, stanza.BadRequest, "max is a number")
			}
			out.max = min(int(n), page)
		case "after":
			j, err := jid.Parse(c.Text())
			if err != nil {
				return out, stanza.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such place in the list")
			}
			out.after = j.Bare().String()
		case "before", "index":
			return out, stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "pages are asked for by what they come after")
		}
	}
	return out, nil
}

// search finds people who want to be found (XEP-0055 §usecases-search @1.3).
func (f *people) search(r *route.Request) []route.Effect {
	q, bad := parse(r.Payload)
	if bad == nil && !f.limits.allow(r.From.Bare().String(), f.o.Now()) {
		bad = stanza.Err(stanza.Wait, stanza.ResourceConstraint, "that were many searches; try again in a few seconds")
	}
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		found, more, err := f.o.View.Directory(q.text, q.after, q.max)
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the directory could not be read; try again")
		}
		set := xmlstream.New(stanza.NSRSM, "set")
		if n := len(found); n > 0 {
			set.Add(xmlstream.NewText(stanza.NSRSM, "first", found[0].JID), xmlstream.NewText(stanza.NSRSM, "last", found[n-1].JID))
		}
		answer := results(f.visible(found, r.From), q.form)
		if more || r.Payload.Child(stanza.NSRSM, "set") != nil {
			answer.Add(set)
		}
		return r.Result(answer)
	})}
}

// visible leaves out who has blocked the one who searches, and whose account is
// switched off.
func (f *people) visible(found []state.Person, to jid.JID) []state.Person {
	var out []state.Person
	for _, p := range found {
		blocked, err := f.o.View.Blocked(p.JID, to.String())
		if err != nil || blocked {
			continue
		}
		if a, err := f.o.View.Account(p.JID); err == nil && !a.Disabled {
			out = append(out, p)
		}
	}
	return out
}

// results in the shape in which they were asked for.
func results(found []state.Person, asForm bool) *xmlstream.Element {
	q := xmlstream.New(stanza.NSSearch, "query")
	if !asForm {
		for _, p := range found {
			q.Add(xmlstream.New(stanza.NSSearch, "item", "jid", p.JID).Add(
				xmlstream.New(stanza.NSSearch, "first"), xmlstream.New(stanza.NSSearch, "last"),
				xmlstream.NewText(stanza.NSSearch, "nick", p.Name), xmlstream.New(stanza.NSSearch, "email")))
		}
		return q
	}
	x := form("result", stanza.NSSearch).Add(xmlstream.New(stanza.NSData, "reported").Add(
		field("jid-single", "jid", "Address"), field("text-single", "nick", "Name")))
	for _, p := range found {
		x.Add(xmlstream.New(stanza.NSData, "item").Add(
			field("", "jid", "", p.JID), field("", "nick", "", p.Name)))
	}
	return q.Add(x)
}

// registered tells whether one is in the directory, and how to enter it
// (XEP-0077 §usecases-register @2.4).
func (f *people) registered(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		account := r.From.Bare().String()
		q := xmlstream.New(stanza.NSRegister, "query")
		name, err := f.o.View.Listed(account)
		if err == nil {
			q.Add(xmlstream.New(stanza.NSRegister, "registered"))
		} else if a, err := f.o.View.Account(account); err == nil {
			name = a.Name
		}
		const how = "Who is registered here is found by everybody on this server, by this name and by address."
		return r.Result(q.Add(
			xmlstream.NewText(stanza.NSRegister, "instructions", how), xmlstream.NewText(stanza.NSRegister, "nick", name),
			form("form", stanza.NSRegister).Add(
				xmlstream.NewText(stanza.NSData, "title", "People"), xmlstream.NewText(stanza.NSData, "instructions", how),
				field("text-single", "nick", "Name", name))))
	})}
}

// register enters the directory, changes the name there, or leaves it
// (XEP-0077 §usecases-register @2.4, §usecases-cancel).
func register(r *route.Request) []route.Effect {
	c := &command.DirectorySet{Account: r.From.Bare().String(), Listed: r.Payload.Child(stanza.NSRegister, "remove") == nil}
	if x := r.Payload.Child(stanza.NSData, "x"); c.Listed && x.Get("type") == "cancel" {
		return r.Result()
	}
	if c.Listed {
		if c.Name = value(r.Payload, "nick"); c.Name == "" {
			c.Name = value(r.Payload, "name")
		}
		if len(c.Name) > state.DirectoryName {
			return r.Err(stanza.Modify, stanza.NotAcceptable, "the name is too long")
		}
	}
	return []route.Effect{route.Append{
		Command: &command.Command{Request: &command.Command_DirectorySet{DirectorySet: c}},
		Then: func(out command.Outcome) []route.Effect {
			if out.Err != nil {
				return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
			}
			return r.Result()
		},
	}}
}
