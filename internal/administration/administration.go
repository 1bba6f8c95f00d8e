// SPDX-License-Identifier: Apache-2.0

// Package administration lets the accounts that the operator has named manage
// the others from their client (XEP-0133), and see what people report, by ad-hoc
// commands (XEP-0050) of one form each.
package administration

import (
	"context"
	"errors"
	"strings"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	prefix   = "http://jabber.org/protocol/admin#"
	formType = "http://jabber.org/protocol/admin"
)

// Bounds of one command.
const (
	accountsMost = 100  // accounts, or reports, that it changes
	listMost     = 1000 // accounts that it lists
	reportsMost  = 100  // reports that it lists
)

// Accounts changes accounts. Errors are *stanza.Error where the fault is in
// what was given.
type Accounts interface {
	Find(name string) (jid.JID, error)
	Create(ctx context.Context, local, password, name string) (jid.JID, error)
	SetPassword(ctx context.Context, name, password string) (jid.JID, error)
	SetEnabled(ctx context.Context, name string, enabled bool) (jid.JID, error)
	Delete(ctx context.Context, name string) (jid.JID, error)
	RemoveReport(ctx context.Context, number uint64) error
}

// Options of the feature. All are required.
type Options struct {
	// Admins are the bare JIDs that may execute the commands.
	Admins   []string
	Accounts Accounts
	// Count gives how many accounts there are, List lists them above after.
	Count func() int
	List  func(after string, limit int) ([]state.Account, error)
	// Online lists the accounts with an available device, at most limit, and
	// gives how many there are.
	Online func(limit int) (accounts []string, count int)
	// Reports gives reports of abuse, the newest first, of those with a lower number
	// than before, 0 for all; and how many there are.
	Reports func(before uint64, most int) (page []state.Report, all int, err error)
}

type administration struct {
	o      Options
	admins map[string]bool
}

// Feature answers XEP-0133 §usecases @1.3.1, as far as it concerns accounts.
func Feature(o Options) route.Feature {
	f := &administration{o: o, admins: map[string]bool{}}
	for _, a := range o.Admins {
		f.admins[a] = true
	}
	feature := route.Feature{Name: "administration"}
	for _, c := range f.commands() {
		feature.Commands = append(feature.Commands, route.Command{
			Node: c.address(), Name: c.name, Execute: c.execute,
			Allowed: func(j jid.JID) bool { return f.admins[j.String()] },
		})
	}
	return feature
}

// form is a command: the fields it asks for, and what it does once it has them.
type form struct {
	node, name string // a node with a colon is one of ours, not of XEP-0133
	fields     []field
	do         func(ctx context.Context, in values) (result []*xmlstream.Element, note string, err error)
}

// address is the command's node.
func (c *form) address() string {
	if strings.Contains(c.node, ":") {
		return c.node
	}
	return prefix + c.node
}

type field struct {
	typ, name, label string
	optional         bool
}

// values of a form that was submitted.
type values map[string][]string

func (v values) one(name string) string {
	if all := v[name]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// execute shows the form, or does what one that was filled in asks for; a
// command without fields is done at once. The form carries all there is, so
// that nothing is kept between the two.
func (c *form) execute(r *route.Request) []route.Effect {
	switch r.Payload.Get("action") {
	case "", "execute", "complete", "next":
	default:
		return r.Err(stanza.Modify, stanza.BadRequest, "this command can be executed, completed and cancelled")
	}
	x := r.Payload.Child(stanza.NSData, "x")
	if x == nil && len(c.fields) > 0 {
		return r.Result(c.answer(r, "executing").Add(
			xmlstream.New(stanza.NSCommands, "actions", "execute", "complete").Add(xmlstream.New(stanza.NSCommands, "complete")),
			c.ask()))
	}
	in, bad := c.read(x)
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect {
		result, note, err := c.do(ctx, in)
		if err != nil {
			return fail(r, err)
		}
		done := c.answer(r, "completed")
		if note != "" {
			done.Add(xmlstream.NewText(stanza.NSCommands, "note", note).Set("type", "error"))
		}
		if result != nil {
			done.Add(xmlstream.New(stanza.NSData, "x", "type", "result").Add(c.hidden()).Add(result...))
		}
		return r.Result(done)
	})}
}

func (c *form) answer(r *route.Request, status string) *xmlstream.Element {
	session := r.Payload.Get("sessionid")
	if session == "" {
		session = c.node + "-" + r.Stanza.Get("id")
	}
	return xmlstream.New(stanza.NSCommands, "command", "node", c.address(), "sessionid", session, "status", status)
}

// ask makes the form to fill in.
func (c *form) ask() *xmlstream.Element {
	x := xmlstream.New(stanza.NSData, "x", "type", "form").Add(xmlstream.NewText(stanza.NSData, "title", c.name), c.hidden())
	for _, f := range c.fields {
		e := xmlstream.New(stanza.NSData, "field", "type", f.typ, "var", f.name, "label", f.label)
		if !f.optional {
			e.Add(xmlstream.New(stanza.NSData, "required"))
		}
		x.Add(e)
	}
	return x
}

func (c *form) hidden() *xmlstream.Element {
	typ := formType
	if strings.Contains(c.node, ":") {
		typ = stanza.NSReports
	}
	return xmlstream.New(stanza.NSData, "field", "type", "hidden", "var", "FORM_TYPE").Add(xmlstream.NewText(stanza.NSData, "value", typ))
}

// read takes a form that was filled in (XEP-0133 §errors @1.3.1).
func (c *form) read(x *xmlstream.Element) (values, *stanza.Error) {
	in := values{}
	if x != nil {
		for _, f := range x.Elements() {
			if !f.Is(stanza.NSData, "field") {
				continue
			}
			for _, v := range f.Elements() {
				if v.Is(stanza.NSData, "value") && v.Text() != "" && len(in[f.Get("var")]) <= accountsMost {
					in[f.Get("var")] = append(in[f.Get("var")], v.Text())
				}
			}
		}
	}
	for _, f := range c.fields {
		n := len(in[f.name])
		switch {
		case n == 0 && !f.optional:
			return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "fill in: "+f.label)
		case n > accountsMost:
			return nil, stanza.Err(stanza.Modify, stanza.PolicyViolation, "at most 100 at once")
		}
	}
	return in, nil
}

func fail(r *route.Request, err error) []route.Effect {
	var e *stanza.Error
	if errors.As(err, &e) {
		return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
	}
	return r.Err(stanza.Wait, stanza.InternalServerError, "try again later")
}
