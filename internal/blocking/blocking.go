// SPDX-License-Identifier: Apache-2.0

// Package blocking lets a person block others (XEP-0191), and report them to who
// runs the server (XEP-0377): the list, and its changes. What it keeps back is decided where stanzas pass: by the view for
// messages and subscriptions, by dispatch for what is not archived.
package blocking

import (
	"context"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Most bounds a blocklist, in addresses.
const Most = 1000

// Reader is what blocking reads from.
type Reader interface {
	// Blocklist gives the addresses that an account blocks, sorted.
	Blocklist(account string) ([]string, error)
}

type blocking struct{ view Reader }

// Feature answers XEP-0191 §usecases @1.3, and takes reports with it (XEP-0377 §disco
// @0.4.1).
func Feature(view Reader) route.Feature {
	f := &blocking{view}
	entry := func(typ, local string, h route.Handler) route.Entry {
		return route.Entry{
			Key:     route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: stanza.NSBlocking, Local: local}},
			Targets: route.ToSelf, Handle: h,
		}
	}
	return route.Feature{
		Name:    "blocking",
		Entries: []route.Entry{entry("get", "blocklist", f.list), entry("set", "block", block), entry("set", "unblock", unblock)},
		Domain:  []string{stanza.NSBlocking, stanza.NSReporting},
		Account: []string{stanza.NSBlocking},
	}
}

func (f *blocking) list(r *route.Request) []route.Effect {
	return []route.Effect{route.Blocklisted{}, r.Read(func(context.Context) []route.Effect {
		jids, err := f.view.Blocklist(r.From.Bare().String())
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the blocklist could not be read; try again")
		}
		list := xmlstream.New(stanza.NSBlocking, "blocklist")
		for _, j := range jids {
			list.Add(xmlstream.New(stanza.NSBlocking, "item", "jid", j))
		}
		return r.Result(list)
	})}
}

// block adds items to the list. Reports with them go to who runs the server, with the
// same command.
func block(r *route.Request) []route.Effect {
	jids, bad := items(r)
	if bad == nil && len(jids) == 0 {
		bad = stanza.Err(stanza.Modify, stanza.BadRequest, "name at least one item to block")
	}
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	b := &command.Block{Account: r.From.Bare().String(), Jids: jids}
	if reports := reports(r); len(reports) > 0 {
		return change(r, &command.Command{Request: &command.Command_BlockReport{BlockReport: &command.BlockReport{Block: b, Reports: reports}}})
	}
	return change(r, &command.Command{Request: &command.Command_Block{Block: b}})
}

// unblock takes items off the list, all when there are none in the request
// (XEP-0191 §unblockall @1.3).
func unblock(r *route.Request) []route.Effect {
	jids, bad := items(r)
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	return change(r, &command.Command{Request: &command.Command_Unblock{
		Unblock: &command.Unblock{Account: r.From.Bare().String(), Jids: jids},
	}})
}

func change(r *route.Request, cmd *command.Command) []route.Effect {
	return []route.Effect{route.Append{Command: cmd, Then: func(out command.Outcome) []route.Effect {
		if out.Err != nil {
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result()
	}}}
}

// items reads the addresses of a request, each once. What stands in an item
// besides does not keep it from being blocked.
func items(r *route.Request) ([]string, *stanza.Error) {
	var jids []string
	seen := map[string]bool{}
	for _, item := range r.Payload.Elements() {
		if !item.Is(stanza.NSBlocking, "item") {
			continue
		}
		j, err := jid.Parse(item.Get("jid"))
		if err != nil {
			return nil, stanza.Err(stanza.Modify, stanza.JIDMalformed, "an item has no valid JID")
		}
		if seen[j.String()] {
			continue
		}
		if len(jids) == Most {
			return nil, stanza.Err(stanza.Modify, stanza.PolicyViolation, "at most 1000 items in a request")
		}
		seen[j.String()] = true
		jids = append(jids, j.String())
	}
	return jids, nil
}
