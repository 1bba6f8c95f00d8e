// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"context"
	"errors"
	"strconv"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// idsMost bounds the items that one request names.
const idsMost = 256

// items answers a request for items, the newest first
// (XEP-0060 §subscriber-retrieve @1.30.0), by pages if it asks for them
// (XEP-0059).
func (f *pubsub) items(r *route.Request, e *xmlstream.Element) []route.Effect {
	node, bad := needNode(e)
	if bad != nil {
		return fail(r, bad)
	}
	q, bad := query(r.Payload, e)
	if bad != nil {
		return fail(r, bad)
	}
	return f.read(r, func() []route.Effect {
		if _, bad := f.readable(r, node); bad != nil {
			return fail(r, bad)
		}
		page, err := f.view.PubsubItems(owner(r).String(), node, q.PubsubQuery)
		switch {
		case errors.Is(err, state.ErrNotFound):
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "the node has no such item")
		case err != nil:
			return broken(r)
		}
		return []route.Effect{route.Send{Out: answer(r, node, q, page)}}
	})
}

// read reads for somebody whom no blocklist keeps away.
func (f *pubsub) read(r *route.Request, do func() []route.Effect) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		if barred := r.Barred(f.view); barred != nil {
			return fail(r, barred)
		}
		return do()
	})}
}

func broken(r *route.Request) []route.Effect {
	return r.Err(stanza.Wait, stanza.InternalServerError, "the node could not be read; try again")
}

// readable reads a node that the sender may see, or says why not.
func (f *pubsub) readable(r *route.Request, node string) (state.PubsubNode, *stanza.Error) {
	n, err := f.view.PubsubNode(owner(r).String(), node)
	switch {
	case errors.Is(err, state.ErrNotFound):
		missing := stanza.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such node")
		// Without this code Profanity 0.13 does not take its account's list of OMEMO
		// devices for missing, and never publishes one.
		missing.Code = "404"
		return n, missing
	case err != nil:
		return n, stanza.Err(stanza.Wait, stanza.InternalServerError, "the node could not be read; try again")
	}
	return n, denied(f.view, owner(r).String(), r.From.Bare().String(), node, n.Config)
}

// pages is a query with what it said of pages.
type pages struct {
	state.PubsubQuery
	paged bool // it has <set/>
	limit bool // it says how many
	empty bool // only the count is asked for
}

func query(pubsub, items *xmlstream.Element) (pages, *stanza.Error) {
	var q pages
	for _, i := range items.Elements() {
		if i.Is(stanza.NSPubsub, "item") && i.Get("id") != "" {
			q.IDs = append(q.IDs, i.Get("id"))
		}
	}
	if len(q.IDs) > idsMost {
		return q, stanza.Err(stanza.Modify, stanza.PolicyViolation, "ask for fewer items at a time")
	}
	if s, ok := items.Lookup("max_items"); ok {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil || n == 0 {
			return q, stanza.Err(stanza.Modify, stanza.BadRequest, "max_items is a number above 0")
		}
		q.Max, q.limit = int(n), true
	}
	set := pubsub.Child(stanza.NSRSM, "set")
	if set == nil {
		return q, nil
	}
	q.paged = true
	if m := set.Child(stanza.NSRSM, "max"); m != nil {
		n, err := strconv.ParseUint(m.Text(), 10, 31)
		if err != nil {
			return q, stanza.Err(stanza.Modify, stanza.BadRequest, "max is a number")
		}
		q.Max, q.empty = int(n), n == 0
	}
	if set.Child(stanza.NSRSM, "index") != nil {
		return q, stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "pages are asked for by id, not by index")
	}
	q.After = set.Child(stanza.NSRSM, "after").Text()
	if before := set.Child(stanza.NSRSM, "before"); before != nil {
		q.Before, q.Backward = before.Text(), true
	}
	return q, nil
}

// answer serialises items without reading their payloads again.
func answer(r *route.Request, node string, q pages, page state.PubsubPage) route.Out {
	if q.empty {
		page.Items = nil
	}
	size := 512
	for i := range page.Items {
		size += 64 + len(page.Items[i].ID) + len(page.Items[i].Payload)
	}
	b := make([]byte, 0, size)
	b = append(b, " type='result'"...)
	b = xmlstream.AppendAttr(b, "id", r.Stanza.Get("id"))
	if to := r.Stanza.Get("to"); to != "" {
		b = xmlstream.AppendAttr(b, "from", to)
	}
	b = xmlstream.AppendAttr(b, "to", r.From.String())
	b = append(b, "><pubsub xmlns='"+stanza.NSPubsub+"'><items"...)
	b = xmlstream.AppendAttr(b, "node", node)
	b = append(b, '>')
	for i := range page.Items {
		b = append(b, "<item"...)
		b = xmlstream.AppendAttr(b, "id", page.Items[i].ID)
		b = append(b, '>')
		b = append(b, page.Items[i].Payload...)
		b = append(b, "</item>"...)
	}
	b = append(b, "</items>"...)
	if q.paged || !page.Complete && !q.limit {
		set := xmlstream.New(stanza.NSRSM, "set")
		if n := len(page.Items); n > 0 {
			set.Add(xmlstream.NewText(stanza.NSRSM, "first", page.Items[0].ID), xmlstream.NewText(stanza.NSRSM, "last", page.Items[n-1].ID))
		}
		set.Add(xmlstream.NewText(stanza.NSRSM, "count", strconv.Itoa(page.Node.Items)))
		b = xmlstream.AppendElement(b, set, stanza.NSPubsub)
	}
	return route.Out{Name: "iq", Rest: append(b, "</pubsub></iq>"...)}
}

// discover answers service discovery about accounts and their nodes
// (XEP-0060 §entity-info @1.30.0, §entity-metadata, §entity-discoveritems).
func (f *pubsub) discover(r *route.Request, base route.Discovery) []route.Effect {
	node, info := r.Payload.Get("node"), r.Payload.Name.Space == stanza.NSDiscoInfo
	return f.read(r, func() []route.Effect {
		if node == "" && info {
			return f.account(r, base)
		}
		if node == "" {
			return f.nodes(r)
		}
		n, bad := f.readable(r, node)
		switch {
		case bad != nil && !f.trusted(r) && info:
			return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
		case bad != nil && !f.trusted(r):
			return r.Result(xmlstream.New(stanza.NSDiscoItems, "query", "node", node))
		case bad != nil:
			return fail(r, bad)
		case info:
			d := route.Discovery{
				Identities: []route.Identity{{Category: "pubsub", Type: "leaf", Name: n.Config.GetTitle()}},
				Features:   []string{stanza.NSPubsub},
			}
			return r.Result(d.Info(node).Add(form("result", metaData, n.Config)))
		}
		return f.listed(r, node)
	})
}

// account tells contacts what every account is. Who may not know whether there
// is such an account is told that there is nobody.
func (f *pubsub) account(r *route.Request, base route.Discovery) []route.Effect {
	if !f.trusted(r) {
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
	}
	return r.Result(base.Info(""))
}

// trusted reports whether the sender may see the owner's presence, and so may
// know that there is such an account (XEP-0030 §security @2.5.0).
func (f *pubsub) trusted(r *route.Request) bool {
	if r.Target == route.ToSelf {
		return true
	}
	item, err := f.view.RosterItem(owner(r).String(), r.From.Bare().String())
	return err == nil && from(&item)
}

// nodes lists those that the sender may read.
func (f *pubsub) nodes(r *route.Request) []route.Effect {
	who := owner(r).String()
	list, err := f.view.PubsubNodes(who)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return broken(r)
	}
	q := xmlstream.New(stanza.NSDiscoItems, "query")
	for i := range list {
		if denied(f.view, who, r.From.Bare().String(), list[i].Name, list[i].Config) == nil {
			q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", who, "node", list[i].Name, "name", list[i].Config.GetTitle()))
		}
	}
	return r.Result(q)
}

// listed lists the items of a node by their ids.
func (f *pubsub) listed(r *route.Request, node string) []route.Effect {
	who := owner(r).String()
	q := xmlstream.New(stanza.NSDiscoItems, "query", "node", node)
	page, err := f.view.PubsubItems(who, node, state.PubsubQuery{})
	if err != nil {
		return broken(r)
	}
	for i := range page.Items {
		q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", who, "name", page.Items[i].ID))
	}
	return r.Result(q)
}
