// SPDX-License-Identifier: Apache-2.0

// Package pubsub keeps what a person tells about themselves, and what their
// devices share: the nodes of an account (XEP-0163, a subset of XEP-0060).
// Pictures, names, keys for encryption, bookmarks and what has been read are
// items of nodes. Nodes are durable and live in the view; who is interested in
// which of them is soft, and comes with presence.
package pubsub

import (
	"errors"
	"strings"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what nodes are read from.
type Reader interface {
	route.Blocklists
	PubsubNode(account, node string) (state.PubsubNode, error)
	PubsubNodes(account string) ([]state.PubsubNode, error)
	PubsubItems(account, node string, q state.PubsubQuery) (state.PubsubPage, error)
	access
	PubsubRelations(account, node string) ([]state.PubsubRelation, error)
	PubsubRelationsOf(account, who string) ([]state.PubsubRelation, error)
}

// advertised are the features of XEP-0060 §features @1.30.0 that accounts have.
// immutable
var advertised = [...]string{
	"access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "auto-subscribe",
	"config-node", "config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes",
	"filtered-notifications", "item-ids", "last-published", "manage-subscriptions", "member-affiliation", "meta-data",
	"modify-affiliations", "multi-items", "outcast-affiliation", "persistent-items",
	"presence-notifications", "presence-subscribe", "publish", "publish-options", "purge-nodes",
	"retract-items", "retrieve-affiliations", "retrieve-default", "retrieve-items", "retrieve-subscriptions", "rsm", "subscribe",
}

// Archive finds the position of a message by its archive id; false for what is none.
type Archive interface {
	Position(id string) (command.Position, bool)
}

type pubsub struct {
	view    Reader
	archive Archive
	newID   func() string
}

// Feature handles the nodes of accounts. newID makes an id for an item that is
// published without one: unpredictable, at most 64 bytes.
func Feature(view Reader, archive Archive, newID func() string) route.Feature {
	f := &pubsub{view, archive, newID}
	const accounts = route.ToSelf | route.ToAccount
	entry := func(typ, space string, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: space, Local: "pubsub"}},
			Targets: accounts, Handle: h,
		}
	}
	feature := route.Feature{
		Name: "pubsub",
		Entries: []route.Entry{
			entry("get", stanza.NSPubsub, f.get),
			entry("set", stanza.NSPubsub, f.set),
			entry("get", stanza.NSPubsubOwner, f.ownerGet),
			entry("set", stanza.NSPubsubOwner, f.ownerSet),
		},
		Shared:          []string{stanza.NSPubsub, stanza.NSPubsubOwner},
		AccountIdentity: []route.Identity{{Category: "pubsub", Type: "pep"}},
		Account:         []string{stanza.NSDisplayedAssist},
		AccountNodes:    f.discover,
		Messages:        f.displayed,
		// The domain has no nodes, but Profanity 0.13 looks for this only there, and
		// without it lets only contacts read its keys.
		Domain: []string{stanza.NSPubsub + "#publish-options"},
	}
	for _, name := range advertised {
		feature.Shared = append(feature.Shared, stanza.NSPubsub+"#"+name)
	}
	return feature
}

// owner of the nodes that a request is about.
func owner(r *route.Request) jid.JID {
	if r.To.IsZero() {
		return r.From.Bare()
	}
	return r.To
}

// get answers requests for items (XEP-0060 §subscriber-retrieve @1.30.0).
func (f *pubsub) get(r *route.Request) []route.Effect {
	if items := r.Payload.Child(stanza.NSPubsub, "items"); items != nil {
		return f.items(r, items)
	}
	for _, name := range []string{"subscriptions", "affiliations"} {
		if e := r.Payload.Child(stanza.NSPubsub, name); e != nil {
			return f.own(r, e)
		}
	}
	return unsupported(r)
}

// set handles what publishers do, who are the owners, and subscribers.
func (f *pubsub) set(r *route.Request) []route.Effect {
	for _, e := range r.Payload.Elements() {
		if e.Name.Local == "subscribe" || e.Name.Local == "unsubscribe" {
			return subscribe(r, e)
		}
		var handle func(*route.Request, *xmlstream.Element) []route.Effect
		switch e.Name.Local {
		case "publish":
			handle = f.publish
		case "retract":
			handle = retract
		case "create":
			handle = create
		}
		if handle == nil {
			continue
		}
		if r.Target != route.ToSelf {
			return r.Err(stanza.Auth, stanza.Forbidden, "only the owner can do that")
		}
		return handle(r, e)
	}
	return unsupported(r)
}

// unsupported names the feature of XEP-0060 §features @1.30.0 that a request
// needs and that there is not.
func unsupported(r *route.Request) []route.Effect {
	first := r.Payload.First()
	if first == nil {
		return r.Err(stanza.Modify, stanza.BadRequest, "there is nothing to do")
	}
	names := map[string]string{
		"options": "subscription-options", "default": "retrieve-default-sub",
	}
	name, ok := names[first.Name.Local]
	if !ok {
		return r.Err(stanza.Modify, stanza.BadRequest, "unknown request")
	}
	e := stanza.PubsubErr(stanza.Cancel, stanza.FeatureNotImplemented, "unsupported", "")
	e.App.Set("feature", name)
	return fail(r, e)
}

func fail(r *route.Request, e *stanza.Error) []route.Effect {
	return []route.Effect{route.Reply{Stanza: e.Reply(r.Stanza)}}
}

// needNode gives the name of the node that e is about, or the error of
// XEP-0060 §owner-delete-error @1.30.0 and its like.
func needNode(e *xmlstream.Element) (string, *stanza.Error) {
	node := e.Get("node")
	switch {
	case node == "":
		return "", stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "nodeid-required", "say which node")
	case len(node) > state.PubsubName:
		return "", stanza.Err(stanza.Modify, stanza.NotAcceptable, "the name of the node is too long")
	}
	return node, nil
}

// append submits a command and answers with what it came to.
func submit(r *route.Request, cmd *command.Command, result ...*xmlstream.Element) []route.Effect {
	return []route.Effect{route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return fail(r, out.Err)
		}
		return r.Result(result...)
	}}}
}

// publish is XEP-0060 §publisher-publish @1.30.0: one item, into a node that is
// made if need be (XEP-0163 §publish @1.2.2).
func (f *pubsub) publish(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	items := e.Elements()
	if len(items) == 0 || !items[0].Is(stanza.NSPubsub, "item") {
		return fail(r, stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "item-required", "there is no item to publish"))
	}
	if len(items) > 1 {
		return fail(r, stanza.PubsubErr(stanza.Cancel, stanza.NotAllowed, "max-items-exceeded", "publish one item at a time"))
	}
	id := items[0].Get("id")
	if id == "" {
		id = f.newID()
	}
	payload, bad := payload(items[0], id)
	if bad != nil {
		return fail(r, bad)
	}
	options, bad := publishOptions(r.Payload)
	if bad != nil {
		return fail(r, bad)
	}
	c := &command.PubsubPublish{
		Account: r.From.Bare().String(), Node: node, Item: id, Publisher: r.From.String(), Payload: payload, Options: options,
		Made: made(node),
	}
	cmd := &command.Command{Request: &command.Command_PubsubPublish{PubsubPublish: c}}
	if c.Read = f.readUpTo(node, payload); c.Read != nil {
		cmd.Level = 1
	}
	return submit(r, cmd, xmlstream.New(stanza.NSPubsub, "pubsub").Add(
		xmlstream.New(stanza.NSPubsub, "publish", "node", node).Add(xmlstream.New(stanza.NSPubsub, "item", "id", id))))
}

func payload(item *xmlstream.Element, id string) ([]byte, *stanza.Error) {
	children := item.Elements()
	switch {
	case len(id) > state.PubsubName:
		return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "the id of the item is too long")
	case len(children) == 0:
		return nil, stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "payload-required", "the item is empty")
	case len(children) > 1:
		return nil, stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "invalid-payload", "an item holds exactly one element")
	}
	b := xmlstream.AppendElement(nil, children[0], "")
	if len(b) > state.PubsubPayload {
		return nil, stanza.PubsubErr(stanza.Modify, stanza.NotAcceptable, "payload-too-big", "the item is too large")
	}
	return b, nil
}

// retract is XEP-0060 §publisher-delete @1.30.0.
func retract(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	items := e.Elements()
	if len(items) != 1 || !items[0].Is(stanza.NSPubsub, "item") || items[0].Get("id") == "" {
		return fail(r, stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "item-required", "say which one item is to go"))
	}
	notify := e.Get("notify")
	return submit(r, &command.Command{Request: &command.Command_PubsubRetract{PubsubRetract: &command.PubsubRetract{
		Account: r.From.Bare().String(), Node: node, Item: items[0].Get("id"), Notify: notify == "1" || notify == "true",
	}}})
}

// create is XEP-0060 §owner-create @1.30.0.
func create(r *route.Request, e *xmlstream.Element) []route.Effect {
	if e.Get("node") == "" {
		return fail(r, stanza.PubsubErr(stanza.Modify, stanza.NotAcceptable, "nodeid-required", "a node needs a name"))
	}
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	var config *command.PubsubConfig
	if form := r.Payload.Child(stanza.NSPubsub, "configure").Child(stanza.NSData, "x"); form != nil {
		if config, bad = parseConfig(form); bad != nil {
			return fail(r, bad)
		}
	}
	return submit(r, &command.Command{Request: &command.Command_PubsubCreate{
		PubsubCreate: &command.PubsubCreate{Account: r.From.Bare().String(), Node: node, Config: config},
	}})
}

// denied says why a person may not read a node, nil when they may
// (XEP-0060 §accessmodels @1.30.0).
func denied(view access, owner, asker, node string, c *command.PubsubConfig) *stanza.Error {
	if owner == asker {
		return nil
	}
	r, err := view.PubsubRelation(owner, node, asker)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return stanza.Err(stanza.Wait, stanza.InternalServerError, "the node could not be read; try again")
	}
	item, err := view.RosterItem(owner, asker)
	if err != nil {
		return state.MayRead(c, r.Affiliation, nil)
	}
	return state.MayRead(c, r.Affiliation, &item)
}

// access is what says who may read a node.
type access interface {
	RosterItem(account, peer string) (state.RosterItem, error)
	PubsubRelation(account, node, jid string) (state.PubsubRelation, error)
}

// from: the contact is subscribed to the owner's presence.
func from(i *state.RosterItem) bool { return i.Subscription == "from" || i.Subscription == "both" }

// to: the owner is subscribed to the contact's presence.
func to(i *state.RosterItem) bool { return i.Subscription == "to" || i.Subscription == "both" }

// boolean reads an xs:boolean.
func boolean(s string) (value, ok bool) {
	switch strings.TrimSpace(s) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}
