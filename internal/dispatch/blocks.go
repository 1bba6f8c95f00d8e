// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"strings"

	"bavard/internal/jid"
	"bavard/internal/roster"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// barrier says whose blocklist keeps a stanza from passing.
type barrier uint8

const (
	passes barrier = iota
	blockedBySender
	blockedByRecipient
)

// barred looks at the blocklists of both sides; an account without one costs
// no read. One that cannot be read blocks: it is there for somebody's safety.
func (h *Hub) barred(from, to string) barrier {
	for _, side := range [...]struct {
		account, address string
		found            barrier
	}{{bareOf(from), to, blockedBySender}, {bareOf(to), from, blockedByRecipient}} {
		blocked, err := h.o.View.Blocked(side.account, side.address)
		if err != nil {
			h.o.Logger.Error("read a blocklist", "err", err)
		}
		if blocked || err != nil {
			return side.found
		}
	}
	return passes
}

// answer is what the sender of a blocked stanza is told, nil for nothing
// (XEP-0191 §block @1.3): who blocks is told so, who is blocked sees somebody
// who is not there.
func (b barrier) answer(st *xmlstream.Element) *stanza.Error {
	typ := st.Get("type")
	switch st.Name.Local {
	case "message":
		if typ == "error" || typ == "headline" || typ == "groupchat" {
			return nil
		}
	case "iq":
		if typ != "get" && typ != "set" {
			return nil
		}
	case "presence":
		if b == blockedByRecipient || typ == "error" {
			return nil
		}
	}
	if b == blockedBySender {
		return stanza.Blocked()
	}
	return stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "nobody is there to answer")
}

// blocks pushes a change of the blocklist to who asked for the list, and tells
// the contacts that it concerns that the account has gone or is back
// (XEP-0191 §block @1.3, §unblock).
func (h *Hub) blocks(s *shard, e *state.Event, targets []target) {
	h.pushBlocks(e, targets)
	named := addresses(e.Blocks.JIDs)
	h.announce(s, e, targets, named)
	items, _, err := h.o.View.Roster(e.Account)
	if err != nil {
		h.o.Logger.Error("read a roster", "err", err)
		return
	}
	for i := range items {
		for _, to := range named.of(items[i].JID) {
			if roster.From(&items[i]) {
				h.appear(e, targets, to)
			}
		}
		if !e.Blocks.Added && roster.To(&items[i]) && len(named.of(items[i].JID)) > 0 {
			h.show(items[i].JID, targets, true)
		}
	}
}

func (h *Hub) pushBlocks(e *state.Event, targets []target) {
	name := "unblock"
	if e.Blocks.Added {
		name = "block"
	}
	change := xmlstream.New(stanza.NSBlocking, name)
	if !e.Blocks.All {
		for _, j := range e.Blocks.JIDs {
			change.Add(xmlstream.New(stanza.NSBlocking, "item", "jid", j))
		}
	}
	for i := range targets {
		if targets[i].blocklist {
			iq := xmlstream.New(stanza.NSClient, "iq", "type", "set", "id", "push-"+roster.Version(e.Position),
				"to", targets[i].JID.String()).Add(change)
			targets[i].device.Enqueue(route.Serialise(iq))
		}
	}
}

// announce takes directed presence back from whom is blocked.
func (h *Hub) announce(s *shard, e *state.Event, targets []target, named blocked) {
	if !e.Blocks.Added {
		return
	}
	var list []*xmlstream.Element
	s.mu.Lock()
	for i := range targets {
		r := targets[i].Resource
		for to := range r.directed {
			if named.has(to.String()) {
				list = append(list, gone(r.JID.String(), to.String()))
				delete(r.directed, to)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range list {
		h.pass(p)
	}
}

// appear shows an address the account's presence, or that it has gone.
func (h *Hub) appear(e *state.Event, targets []target, to string) {
	if h.o.View.Hidden(e.Account) {
		return
	}
	for i := range targets {
		if !targets[i].available || targets[i].presence == nil {
			continue
		}
		p := targets[i].presence.Clone().Set("to", to)
		switch {
		case e.Blocks.Added:
			p = gone(targets[i].JID.String(), to)
		case h.barred(targets[i].JID.String(), to) != passes:
			continue
		}
		h.pass(p)
	}
}

// pass hands on presence that no blocklist is to hold back.
func (h *Hub) pass(p *xmlstream.Element) { h.passOn(p, false) }

// passHere does for the devices of this node.
func (h *Hub) passHere(p *xmlstream.Element) { h.passOn(p, true) }

func (h *Hub) passOn(p *xmlstream.Element, told bool) {
	to, err := jid.Parse(p.Get("to"))
	if err != nil {
		return
	}
	from, err := jid.Parse(p.Get("from"))
	if err != nil {
		return
	}
	account := to.Bare().String()
	h.post(account, func(s *shard) { h.hand(s, account, from, route.Deliver{To: to, Stanza: p, Told: told}) })
}

// blocked are addresses of a blocklist: by what precedes the resource, the
// resources, of which "" is all.
type blocked map[string][]string

func addresses(jids []string) blocked {
	b := blocked{}
	for _, j := range jids {
		bare := bareOf(j)
		b[bare] = append(b[bare], strings.TrimPrefix(j[len(bare):], "/"))
	}
	return b
}

// of gives what an account of the list is to be addressed as, nothing when the
// list does not concern it (XEP-0191 §matching @1.3).
func (b blocked) of(bare string) []string {
	var out []string
	for _, key := range []string{bare, bare[strings.IndexByte(bare, '@')+1:]} {
		for _, resource := range b[key] {
			if resource == "" {
				return []string{bare}
			}
			if key == bare {
				out = append(out, bare+"/"+resource)
			}
		}
	}
	return out
}

// has reports whether the list concerns a JID.
func (b blocked) has(j string) bool {
	for _, to := range b.of(bareOf(j)) {
		if to == j || to == bareOf(j) {
			return true
		}
	}
	return false
}

func bareOf(j string) string {
	bare, _, _ := strings.Cut(j, "/")
	return bare
}
