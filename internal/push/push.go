// SPDX-License-Identifier: Apache-2.0

// Package push has people told that something has come while no device of
// theirs shows it: where, is what clients say (XEP-0357 and docs/push.md); when,
// is decided from what the view applies and from who is there. What is told is
// that there is something, never what or from whom.
package push

import (
	"encoding/base64"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Options of the feature.
type Options struct {
	Domain string
	// PublicKey is what browsers subscribe with, in base64url (RFC 8292 §3.2).
	PublicKey string
	// CheckEndpoint says whether an endpoint may be pushed to, CheckKeys whether
	// something can be encrypted for a browser; nil is yes.
	CheckEndpoint func(endpoint string) error
	CheckKeys     func(p256dh, auth []byte) error
	// Client names what a device has logged in as, "" when that is not known; nil
	// knows none.
	Client func(full jid.JID) string
	// NewID makes an unpredictable name, at most 64 bytes.
	NewID func() string
}

type push struct {
	o         Options
	component string
}

// Feature answers XEP-0357 for accounts, and the domain of our own push
// component.
func Feature(o Options) route.Feature {
	f := &push{o, state.PushComponent(o.Domain)}
	entry := func(local string, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: "set", Payload: xmlstream.Name{Space: stanza.NSPush, Local: local}},
			Targets: route.ToSelf, Handle: h,
		}
	}
	return route.Feature{
		Name:      "push",
		Entries:   []route.Entry{entry("enable", f.enable), entry("disable", f.disable)},
		Account:   []string{stanza.NSPush},
		Component: &route.Component{Domain: f.component, Name: "Notifications", Handle: f.serve},
	}
}

// service reads the address of a push service. Others than ours cannot be
// reached before there is federation.
func (f *push) service(r *route.Request) (string, []route.Effect) {
	text, ok := r.Payload.Lookup("jid")
	if !ok || text == "" {
		return "", r.Err(stanza.Modify, stanza.BadRequest, "name the push service: jid='…'")
	}
	j, err := jid.Parse(text)
	switch {
	case err != nil:
		return "", r.Err(stanza.Modify, stanza.JIDMalformed, "the push service's jid is no address")
	case j.String() == f.component:
	case j.Domain() == f.o.Domain || j.Domain() == f.component:
		return "", r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no push service; ours is "+f.component)
	default:
		return "", r.Err(stanza.Cancel, stanza.RemoteServerNotFound,
			"this server does not talk to other domains yet, so only its own push service can be used: "+f.component)
	}
	return j.String(), nil
}

// enable is XEP-0357 §enabling @0.4.1.
func (f *push) enable(r *route.Request) []route.Effect {
	service, refused := f.service(r)
	if refused != nil {
		return refused
	}
	c := &command.PushEnable{
		Account: r.From.Bare().String(), Resource: r.From.Resource(), Client: f.client(r.From), Jid: service, Node: r.Payload.Get("node"),
	}
	if x := r.Payload.Child(stanza.NSData, "x"); x != nil {
		if field(x, "FORM_TYPE") != stanza.NSPublishOpts {
			return r.Err(stanza.Modify, stanza.BadRequest, "the form is of the type "+stanza.NSPublishOpts)
		}
		c.Secret, c.Options = field(x, "secret"), xmlstream.AppendElement(nil, x, "")
	}
	if len(c.Node) > state.PushName || len(c.Options) > state.PushOptions {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "the node or its options are too large")
	}
	return do(r, &command.Command{Request: &command.Command_PushEnable{PushEnable: c}})
}

func (f *push) client(full jid.JID) []byte {
	if f.o.Client == nil {
		return nil
	}
	return []byte(f.o.Client(full))
}

// field gives the value of a form's field, "" when there is none.
func field(x *xmlstream.Element, name string) string {
	for _, f := range x.Elements() {
		if f.Is(stanza.NSData, "field") && f.Get("var") == name {
			return f.Child(stanza.NSData, "value").Text()
		}
	}
	return ""
}

// disable is XEP-0357 §disabling @0.4.1.
func (f *push) disable(r *route.Request) []route.Effect {
	text := r.Payload.Get("jid")
	j, err := jid.Parse(text)
	if text == "" || err != nil {
		return r.Err(stanza.Modify, stanza.BadRequest, "name the push service: jid='…'")
	}
	return do(r, &command.Command{Request: &command.Command_PushDisable{PushDisable: &command.PushDisable{
		Account: r.From.Bare().String(), Jid: j.String(), Node: r.Payload.Get("node"),
	}}})
}

// do has a command decided, and answers with these payloads.
func do(r *route.Request, cmd *command.Command, payload ...*xmlstream.Element) []route.Effect {
	return []route.Effect{route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result(payload...)
	}}}
}

// serve answers for our own push component.
func (f *push) serve(r *route.Request) []route.Effect {
	if r.Stanza.Name.Local != "iq" {
		if r.Stanza.Name.Local == "message" && r.Stanza.Get("type") != "error" {
			return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
		}
		return nil
	}
	get := false
	switch r.Stanza.Get("type") {
	case "get":
		get = true
	case "set":
	default:
		return nil
	}
	p := r.Payload
	switch here := r.To.String() == f.component; {
	case !here:
	case get && p.Is(stanza.NSDiscoInfo, "query") && p.Get("node") == "":
		d := route.Discovery{
			Identities: []route.Identity{{Category: "pubsub", Type: "push", Name: "Notifications"}},
			Features:   []string{stanza.NSDiscoInfo, stanza.NSDiscoItems, stanza.NSPing, stanza.NSPush, stanza.NSWebPush},
		}
		return r.Result(d.Info(""))
	case get && p.Is(stanza.NSDiscoItems, "query") && p.Get("node") == "":
		return r.Result(xmlstream.New(stanza.NSDiscoItems, "query"))
	case get && p.Is(stanza.NSPing, "ping"):
		return r.Result()
	case get && p.Is(stanza.NSWebPush, "key"):
		return r.Result(xmlstream.NewText(stanza.NSWebPush, "key", f.o.PublicKey))
	case !get && p.Is(stanza.NSWebPush, "register"):
		return f.register(r)
	case p.Is(stanza.NSDiscoInfo, "query"), p.Is(stanza.NSDiscoItems, "query"):
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
	case p.Is(stanza.NSPubsub, "pubsub"):
		return r.Err(stanza.Auth, stanza.Forbidden, "the server itself publishes here")
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

// register takes an address of Web Push; see docs/push.md.
func (f *push) register(r *route.Request) []route.Effect {
	text := func(local string) string { return r.Payload.Child(stanza.NSWebPush, local).Text() }
	endpoint := text("endpoint")
	if endpoint == "" || len(endpoint) > state.PushEndpoint {
		return r.Err(stanza.Modify, stanza.BadRequest, "the endpoint is missing or too long")
	}
	p256dh, err := base64.RawURLEncoding.DecodeString(text("p256dh"))
	auth, err2 := base64.RawURLEncoding.DecodeString(text("auth"))
	if err == nil && err2 == nil && f.o.CheckKeys != nil {
		err = f.o.CheckKeys(p256dh, auth)
	}
	if err != nil || err2 != nil {
		return r.Err(stanza.Modify, stanza.BadRequest, "p256dh and auth are the browser's keys, in base64url without padding")
	}
	if f.o.CheckEndpoint != nil && f.o.CheckEndpoint(endpoint) != nil {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "an endpoint is an https address that everybody can reach")
	}
	c := &command.PushRegister{
		Account: r.From.Bare().String(), Resource: r.From.Resource(), Node: f.o.NewID(), Secret: f.o.NewID(),
		Client: f.client(r.From), Endpoint: endpoint, P256Dh: p256dh, Auth: auth,
	}
	return do(r, &command.Command{Request: &command.Command_PushRegister{PushRegister: c}},
		xmlstream.New(stanza.NSWebPush, "registered", "node", c.Node, "secret", c.Secret))
}
