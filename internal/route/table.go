// SPDX-License-Identifier: Apache-2.0

// Package route decides what a stanza means. It does no I/O, reads no clock
// and keeps no state: the answer is a list of effects that the session
// performs. Features register their handlers and what they advertise in one
// table, so that service discovery tells what is implemented and nothing else.
package route

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Target says how the address of a stanza relates to its sender.
type Target uint8

// Targets; a handler may serve several.
const (
	ToServer    Target = 1 << iota // the domain
	ToSelf                         // no address, or the sender's own bare JID
	ToAccount                      // the bare JID of another account of the domain
	ToSession                      // a full JID of the domain
	ToRemote                       // another domain
	ToComponent                    // any address of a component's domain
)

// Request is a stanza to decide about.
type Request struct {
	// From is the sender's full JID, authenticated.
	From jid.JID
	// Stanza with from set by the server.
	Stanza *xmlstream.Element
	// To is the normalised address, zero when there was none.
	To     jid.JID
	Target Target
	// Payload is the first child of an IQ, nil for other stanzas.
	Payload *xmlstream.Element
	// Ending: the session made this presence itself because it ends.
	Ending bool
}

// Err answers the request with a stanza error.
func (r *Request) Err(t stanza.ErrorType, c stanza.Condition, text string) []Effect {
	return []Effect{Reply{stanza.Err(t, c, text).Reply(r.Stanza)}}
}

// Result answers an IQ.
func (r *Request) Result(payload ...*xmlstream.Element) []Effect {
	return []Effect{Reply{stanza.Result(r.Stanza, payload...)}}
}

// Read makes a Read that waits until the view is current, and answers the
// request with an error when it does not get there in time.
func (r *Request) Read(do func(context.Context) []Effect) Read {
	return Read{Current: true, Do: do, Else: r.Err(stanza.Wait, stanza.ResourceConstraint,
		"this node cannot read what is current right now; try again")}
}

// Handler decides about one kind of stanza.
type Handler func(*Request) []Effect

// Key finds a handler. Payload is only used for IQs.
type Key struct {
	Stanza  string // message, presence, iq
	Type    string // as the stanza has it; "" for none
	Payload xmlstream.Name
}

// Entry is a handler with the targets it serves.
type Entry struct {
	Key
	Targets Target
	Handle  Handler
}

// Identity in service discovery (XEP-0030 §info-nodes @2.5.0).
type Identity struct{ Category, Type, Name string }

// Item in service discovery.
type Item struct{ JID, Node, Name string }

// Feature is what a package brings.
type Feature struct {
	Name    string
	Entries []Entry
	// Features advertised for the domain and for an account's bare JID.
	Domain, Account []string
	// Shared are features of an account that its contacts are told as well, and
	// not its owner alone.
	Shared []string
	// Forms that the domain's answer to disco#info has (XEP-0128); read-only. Each
	// has a FORM_TYPE of its own.
	Forms           []*xmlstream.Element
	Identities      []Identity // of the domain
	AccountIdentity []Identity
	// Stream feature elements advertised after authentication.
	Stream []*xmlstream.Element
	// Commands that the domain executes (XEP-0050).
	Commands []Command
	// Items and Info by node of the domain (XEP-0030).
	Items map[string][]Item
	Nodes map[string]Discovery
	// Messages looks at each message of a client, unless it is an error, before
	// the message's handler does: it may take out of it what is for the server,
	// and its effects come first.
	Messages func(r *Request) []Effect
	// AccountNodes answers service discovery about nodes of accounts, the items
	// of an account, and other accounts than the sender's; base is what every
	// account answers to who asks, if they may ask at all. At most one feature has it.
	AccountNodes func(r *Request, base Discovery) []Effect
	// Component is a domain of its own that the feature serves. nil for none.
	Component *Component
}

// Component handles everything that is addressed to its domain, answers to
// IQs included. An IQ of type get or set has an id and one child, which is the
// request's payload.
type Component struct {
	Domain string
	Name   string // as service discovery shows it among the domain's items
	Handle Handler
}

// Discovery is an answer to disco#info.
type Discovery struct {
	Identities []Identity
	Features   []string
	Forms      []*xmlstream.Element // read-only
}

// Table is the finished table; it does not change and needs no lock.
type Table struct {
	domain   string
	handlers map[Key][]Entry
	features []Feature
	domainD  Discovery
	accountD Discovery
	contactD Discovery // what contacts are told of an account
	ver      string    // of domainD
	// components by their domains.
	components map[string]*Component
}

// NewTable builds the table for a domain. Two features that claim the same key
// and target are an error.
func NewTable(domain string, features ...Feature) (*Table, error) {
	t := &Table{domain: domain, handlers: map[Key][]Entry{}, features: features, components: map[string]*Component{}}
	features = append(features, t.discovery())
	if f, some := t.adhoc(); some {
		features = append(features, f)
	}
	t.features = features
	for _, f := range features {
		if c := f.Component; c != nil {
			if t.components[c.Domain] != nil || c.Domain == domain {
				return nil, fmt.Errorf("route: %s claims the domain %s that another feature has", f.Name, c.Domain)
			}
			t.components[c.Domain] = c
		}
		for _, e := range f.Entries {
			for _, other := range t.handlers[e.Key] {
				if other.Targets&e.Targets != 0 {
					return nil, fmt.Errorf("route: %s claims %v that another feature has", f.Name, e.Key)
				}
			}
			t.handlers[e.Key] = append(t.handlers[e.Key], e)
		}
		t.domainD.Identities = append(t.domainD.Identities, f.Identities...)
		t.domainD.Features = append(t.domainD.Features, f.Domain...)
		t.domainD.Forms = append(t.domainD.Forms, f.Forms...)
		t.accountD.Identities = append(t.accountD.Identities, f.AccountIdentity...)
		t.accountD.Features = append(append(t.accountD.Features, f.Account...), f.Shared...)
		t.contactD.Identities = append(t.contactD.Identities, f.AccountIdentity...)
		t.contactD.Features = append(t.contactD.Features, f.Shared...)
	}
	sort.Strings(t.domainD.Features)
	sort.Strings(t.accountD.Features)
	sort.Strings(t.contactD.Features)
	t.ver = verification(&t.domainD)
	return t, nil
}

// StreamFeatures are what the features advertise on an authenticated stream,
// entity capabilities of the server included (XEP-0115 §stream @1.6.0).
func (t *Table) StreamFeatures() []*xmlstream.Element {
	var out []*xmlstream.Element
	for _, f := range t.features {
		out = append(out, f.Stream...)
	}
	return append(out, t.caps())
}

// Domain that the table routes for.
func (t *Table) Domain() string { return t.domain }

// Decide gives the effects of a stanza of a bound session. Its from is
// overwritten with the sender's full JID.
func (t *Table) Decide(from jid.JID, st *xmlstream.Element) []Effect {
	r := &Request{From: from, Stanza: st}
	st.Set("from", from.String())
	if to, ok := st.Lookup("to"); ok {
		j, err := jid.Parse(to)
		if err != nil {
			if st.Get("type") == "error" || st.Get("type") == "result" {
				return nil
			}
			// From the domain: what is no address cannot stand in from either.
			e := stanza.Err(stanza.Modify, stanza.JIDMalformed, "the address "+clip(to)+" is not a JID").Reply(st)
			return []Effect{Reply{e.Set("from", t.domain)}}
		}
		r.To = j
	}
	r.Target = t.target(from, r.To)
	switch st.Name.Local {
	case "iq":
		return t.iq(r)
	case "message", "presence":
		return t.plain(r)
	}
	return []Effect{Close{stanza.StreamErr(stanza.StreamUnsupportedStanza, "stanzas are message, presence and iq")}}
}

func (t *Table) target(from, to jid.JID) Target {
	switch {
	case to.IsZero():
		return ToSelf
	case to.Domain() != t.domain:
		if t.components[to.Domain()] != nil {
			return ToComponent
		}
		return ToRemote
	case to.Local() == "":
		return ToServer
	case to.Resource() != "":
		return ToSession
	case to == from.Bare():
		return ToSelf
	}
	return ToAccount
}

// iq follows RFC 6120 §8.2.3 and the delivery rules of RFC 6121 §8.
func (t *Table) iq(r *Request) []Effect {
	typ := r.Stanza.Get("type")
	switch typ {
	case "result", "error":
		switch r.Target {
		case ToSession:
			return []Effect{Deliver{To: r.To, Stanza: r.Stanza}}
		case ToComponent:
			return t.components[r.To.Domain()].Handle(r)
		case ToServer, ToSelf:
			return []Effect{Answered{r.Stanza.Get("id"), r.Stanza}}
		}
		return nil
	case "get", "set":
	default:
		return r.Err(stanza.Modify, stanza.BadRequest, "an iq has the type get, set, result or error")
	}
	if id, ok := r.Stanza.Lookup("id"); !ok || id == "" {
		return r.Err(stanza.Modify, stanza.BadRequest, "an iq needs an id")
	}
	children := r.Stanza.Elements()
	if len(children) != 1 {
		return r.Err(stanza.Modify, stanza.BadRequest, "an iq of type "+typ+" has exactly one child")
	}
	r.Payload = children[0]
	if r.Target == ToComponent {
		return t.components[r.To.Domain()].Handle(r)
	}
	if r.Target == ToRemote {
		return r.Err(stanza.Cancel, stanza.RemoteServerNotFound, "this server does not talk to other domains yet")
	}
	for _, e := range t.handlers[Key{"iq", typ, r.Payload.Name}] {
		if e.Targets&r.Target != 0 {
			return e.Handle(r)
		}
	}
	if r.Target == ToSession {
		return []Effect{Deliver{To: r.To, Stanza: r.Stanza, Bounce: true}}
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

func (t *Table) plain(r *Request) []Effect {
	typ := r.Stanza.Get("type")
	var first []Effect
	if r.Stanza.Name.Local == "message" && typ != "error" {
		for i := range t.features {
			if look := t.features[i].Messages; look != nil {
				first = append(first, look(r)...)
			}
		}
	}
	if r.Target == ToComponent {
		return join(append(first, t.components[r.To.Domain()].Handle(r)...))
	}
	return join(append(first, t.handled(r, typ)...))
}

// join has what is Displayed go with the command of its message, or with one of its
// own when the message needs none. The number that its node needs to apply it is 1.
func join(effects []Effect) []Effect {
	at := slices.IndexFunc(effects, func(e Effect) bool { _, ok := e.(Displayed); return ok })
	if at < 0 {
		return effects
	}
	publish := effects[at].(Displayed).Publish
	effects = slices.Delete(effects, at, at+1)
	for _, e := range effects {
		if a, ok := e.(Append); ok {
			switch a.Command.Request.(type) {
			case *command.Command_Message, *command.Command_RoomMessage:
				a.Command.Displayed, a.Command.Level = publish, 1
				return effects
			}
		}
	}
	alone := &command.Command{Level: 1, Displayed: publish, Request: &command.Command_Noop{Noop: &command.Noop{}}}
	return slices.Insert(effects, at, Effect(Append{Command: alone}))
}

// handled gives the effects of a message's or a presence's handler.
func (t *Table) handled(r *Request, typ string) []Effect {
	if r.Stanza.Name.Local == "message" {
		switch typ {
		case "normal", "chat", "headline", "groupchat", "error":
		default:
			typ = "" // RFC 6121 §5.2.2: a type that is not understood is normal
		}
	}
	for _, e := range t.handlers[Key{Stanza: r.Stanza.Name.Local, Type: typ}] {
		if e.Targets&r.Target != 0 {
			return e.Handle(r)
		}
	}
	if typ == "error" {
		return nil
	}
	if r.Target == ToRemote {
		return r.Err(stanza.Cancel, stanza.RemoteServerNotFound, "this server does not talk to other domains yet")
	}
	if r.Stanza.Name.Local == "presence" && t.handlers[Key{Stanza: "presence", Type: typ}] == nil {
		return r.Err(stanza.Modify, stanza.BadRequest, "unknown presence type")
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

// clip shortens what a client sent before it is quoted back.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
