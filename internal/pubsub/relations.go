// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// affiliationNames by number (XEP-0060 §affiliations @1.30.0). Owner is the
// account alone, and publisher too: a node of an account has one
// (XEP-0163 §approach-publisher @1.2.2). immutable
var affiliationNames = [...]string{"none", "member", "outcast"}

// subscribe subscribes the sender to a node, or ends that
// (XEP-0060 §subscriber-subscribe @1.30.0, §subscriber-unsubscribe).
func subscribe(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	who, err := jid.Parse(e.Get("jid"))
	if err != nil || who.Bare() != r.From.Bare() {
		return fail(r, stanza.PubsubErr(stanza.Modify, stanza.BadRequest, "invalid-jid", "subscribe yourself"))
	}
	on := e.Name.Local == "subscribe"
	cmd := &command.Command{Request: &command.Command_PubsubRelate{PubsubRelate: &command.PubsubRelate{
		Account: owner(r).String(), Node: node, By: r.From.Bare().String(),
		Relations: []*command.PubsubRelation{{Jid: who.String(), Subscribed: &on}},
	}}}
	return submit(r, cmd, xmlstream.New(stanza.NSPubsub, "pubsub").Add(subscription(stanza.NSPubsub, node, who.String(), on)))
}

func subscription(space, node, who string, on bool) *xmlstream.Element {
	value := "none"
	if on {
		value = "subscribed"
	}
	return xmlstream.New(space, "subscription", "node", node, "jid", who, "subscription", value)
}

// own answers what the sender is to the nodes of an account, or to one of them
// (XEP-0060 §entity-subscriptions @1.30.0, §entity-affiliations). Subscriptions
// that come with presence are not listed.
func (f *pubsub) own(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, who := e.Get("node"), r.From.Bare().String()
	return f.read(r, func() []route.Effect {
		list, err := f.view.PubsubRelationsOf(owner(r).String(), who)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return broken(r)
		}
		out := xmlstream.New(stanza.NSPubsub, e.Name.Local, "node", node)
		if r.Target == route.ToSelf && e.Name.Local == "affiliations" {
			nodes, err := f.view.PubsubNodes(who)
			if err != nil && !errors.Is(err, state.ErrNotFound) {
				return broken(r)
			}
			for i := range nodes {
				if node == "" || node == nodes[i].Name {
					out.Add(xmlstream.New(stanza.NSPubsub, "affiliation", "node", nodes[i].Name, "affiliation", "owner"))
				}
			}
		}
		for i := range list {
			rel := &list[i]
			switch {
			case node != "" && node != rel.Node:
			case e.Name.Local == "subscriptions" && rel.Subscribed:
				out.Add(subscription(stanza.NSPubsub, rel.Node, rel.JID, true))
			case e.Name.Local == "affiliations" && rel.Affiliation != 0:
				out.Add(xmlstream.New(stanza.NSPubsub, "affiliation", "node", rel.Node, "affiliation", name(affiliationNames[:], int(rel.Affiliation))))
			}
		}
		return r.Result(xmlstream.New(stanza.NSPubsub, "pubsub").Add(out))
	})
}

// listRelations answers the owner who is what to a node
// (XEP-0060 §owner-affiliations-retrieve @1.30.0, §owner-subscriptions-retrieve).
func (f *pubsub) listRelations(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		list, err := f.view.PubsubRelations(r.From.Bare().String(), node)
		switch {
		case errors.Is(err, state.ErrNotFound):
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such node")
		case err != nil:
			return broken(r)
		}
		out := xmlstream.New(stanza.NSPubsubOwner, e.Name.Local, "node", node)
		if e.Name.Local == "affiliations" {
			out.Add(xmlstream.New(stanza.NSPubsubOwner, "affiliation", "jid", r.From.Bare().String(), "affiliation", "owner"))
		}
		for i := range list {
			rel := &list[i]
			switch {
			case e.Name.Local == "subscriptions" && rel.Subscribed:
				out.Add(subscription(stanza.NSPubsubOwner, "", rel.JID, true))
			case e.Name.Local == "affiliations" && rel.Affiliation != 0:
				out.Add(xmlstream.New(stanza.NSPubsubOwner, "affiliation", "jid", rel.JID, "affiliation", name(affiliationNames[:], int(rel.Affiliation))))
			}
		}
		return r.Result(xmlstream.New(stanza.NSPubsubOwner, "pubsub").Add(out))
	})}
}

// relations reads what an owner changes
// (XEP-0060 §owner-affiliations-modify @1.30.0, §owner-subscriptions-modify).
func relations(r *route.Request, e *xmlstream.Element) (*command.PubsubRelate, *stanza.Error) {
	account := r.From.Bare().String()
	out := &command.PubsubRelate{Account: account, Node: e.Get("node"), By: account}
	for _, c := range e.Elements() {
		who, err := jid.Parse(c.Get("jid"))
		if err != nil {
			return nil, stanza.PubsubErr(stanza.Modify, stanza.NotAcceptable, "invalid-jid", "")
		}
		rel := &command.PubsubRelation{Jid: who.String()}
		switch {
		case c.Is(stanza.NSPubsubOwner, "affiliation"):
			value := c.Get("affiliation")
			if value == "" {
				continue // is not to be changed
			}
			if value == "publisher" || value == "publish-only" {
				unsupported := stanza.PubsubErr(stanza.Cancel, stanza.FeatureNotImplemented, "unsupported", "an account publishes for itself")
				unsupported.App.Set("feature", value+"-affiliation")
				return nil, unsupported
			}
			if value == "owner" && who.String() == account {
				continue // it is
			}
			if !choice(affiliationNames[:], []string{value}, func(i int) { rel.Affiliation = command.NodeAffiliation(i).Enum() }) {
				return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "others are members, outcasts or none")
			}
		case c.Is(stanza.NSPubsubOwner, "subscription"):
			switch c.Get("subscription") {
			case "":
				continue
			case "subscribed":
				rel.Subscribed = proto.Bool(true)
			case "none":
				rel.Subscribed = proto.Bool(false)
			default:
				return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, "a subscription is subscribed or none")
			}
		default:
			return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "")
		}
		out.Relations = append(out.Relations, rel)
	}
	return out, nil
}
