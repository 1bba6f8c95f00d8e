// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"context"
	"errors"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// ownerGet answers owners how a node is configured, or would be
// (XEP-0060 §owner-configure @1.30.0, §owner-default).
func (f *pubsub) ownerGet(r *route.Request) []route.Effect {
	if r.Target != route.ToSelf {
		return r.Err(stanza.Auth, stanza.Forbidden, "only the owner can do that")
	}
	reply := xmlstream.New(stanza.NSPubsubOwner, "pubsub")
	switch e := r.Payload.First(); {
	case e.Is(stanza.NSPubsubOwner, "default"):
		return r.Result(reply.Add(xmlstream.New(stanza.NSPubsubOwner, "default").Add(form("form", nodeConfig, command.DefaultPubsub()))))
	case e.Is(stanza.NSPubsubOwner, "affiliations"), e.Is(stanza.NSPubsubOwner, "subscriptions"):
		return f.listRelations(r, e)
	case e.Is(stanza.NSPubsubOwner, "configure"):
		node, bad := needNode(e)
		if bad != nil {
			return fail(r, bad)
		}
		return []route.Effect{r.Read(func(context.Context) []route.Effect {
			n, err := f.view.PubsubNode(r.From.Bare().String(), node)
			switch {
			case errors.Is(err, state.ErrNotFound):
				return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such node")
			case err != nil:
				return broken(r)
			}
			return r.Result(reply.Add(xmlstream.New(stanza.NSPubsubOwner, "configure", "node", node).
				Add(form("form", nodeConfig, n.Config))))
		})}
	}
	return unsupported(r)
}

// ownerSet configures, removes or empties a node
// (XEP-0060 §owner-configure-submit @1.30.0, §owner-delete, §owner-purge).
func (f *pubsub) ownerSet(r *route.Request) []route.Effect {
	if r.Target != route.ToSelf {
		return r.Err(stanza.Auth, stanza.Forbidden, "only the owner can do that")
	}
	e := r.Payload.First()
	var cmd command.Command
	node, bad := needNode(e)
	account := r.From.Bare().String()
	switch {
	case e.Is(stanza.NSPubsubOwner, "configure"):
		x := e.Child(stanza.NSData, "x")
		if x == nil {
			return r.Err(stanza.Modify, stanza.BadRequest, "there is no form")
		}
		if bad == nil && x.Get("type") == "cancel" {
			return r.Result()
		}
		config, wrong := parseConfig(x)
		if bad == nil {
			bad = wrong
		}
		cmd.Request = &command.Command_PubsubConfigure{PubsubConfigure: &command.PubsubConfigure{Account: account, Node: node, Config: config}}
	case e.Is(stanza.NSPubsubOwner, "delete"):
		cmd.Request = &command.Command_PubsubDelete{PubsubDelete: &command.PubsubDelete{Account: account, Node: node}}
	case e.Is(stanza.NSPubsubOwner, "purge"):
		cmd.Request = &command.Command_PubsubPurge{PubsubPurge: &command.PubsubPurge{Account: account, Node: node}}
	case e.Is(stanza.NSPubsubOwner, "affiliations"), e.Is(stanza.NSPubsubOwner, "subscriptions"):
		relate, wrong := relations(r, e)
		if bad == nil {
			bad = wrong
		}
		cmd.Request = &command.Command_PubsubRelate{PubsubRelate: relate}
	default:
		return unsupported(r)
	}
	if bad != nil {
		return fail(r, bad)
	}
	return submit(r, &cmd)
}
