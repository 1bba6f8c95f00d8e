// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// changed notifies of a change: the owner's devices, those of contacts that are
// subscribed to the owner's presence and may see the node
// (XEP-0163 §notify-autosubscribe @1.2.2), and who has subscribed to it.
//
// Who subscribed later than at, when it happened, gets it as the last item.
func (n *Notifier) changed(owner string, at command.Position, e *state.PubsubEvent) {
	if e.Kind == state.PubsubRelated {
		n.related(owner, e)
		return
	}
	event := eventOf(e)
	if event == nil || !e.Config.GetDeliverNotifications() {
		return
	}
	told := map[string]bool{}
	n.tell(owner, owner, e, event, told)
	relations := e.Relations
	if e.Kind != state.PubsubDeleted {
		relations, _ = n.o.View.PubsubRelations(owner, e.Node) // a node that is gone by now has none
	}
	if len(relations) == 0 && e.Config.GetAccessModel() == command.AccessModel_ACCESS_MODEL_WHITELIST {
		return
	}
	affiliations := map[string]command.NodeAffiliation{}
	for i := range relations {
		affiliations[relations[i].JID] = relations[i].Affiliation
	}
	items, _, err := n.o.View.Roster(owner)
	if err != nil {
		n.o.Logger.Debug("read a roster", "err", err)
		return
	}
	contacts := map[string]*state.RosterItem{}
	for i := range items {
		contacts[items[i].JID] = &items[i]
		if from(&items[i]) && state.MayRead(e.Config, affiliations[items[i].JID], &items[i]) == nil {
			n.tell(owner, items[i].JID, e, event, told)
		}
	}
	for i := range relations {
		r := &relations[i]
		who, err := jid.Parse(r.JID)
		if err != nil || !r.Subscribed || at.Before(r.Since) {
			continue
		}
		bare := who.Bare().String()
		// Whoever has lost access by another way than the node's owner changing it is
		// still on the list, and is not told any more.
		if bare == owner || state.MayRead(e.Config, affiliations[bare], contacts[bare]) == nil {
			n.subscriber(owner, who, e.Node, e.Config, told, event)
		}
	}
}

// tell sends an event to the devices of an account that are interested.
func (n *Notifier) tell(owner, account string, e *state.PubsubEvent, event *xmlstream.Element, told map[string]bool) {
	for _, to := range n.interested(account, e.Node) {
		told[to.String()] = true
		n.send(owner, to, e.Config, event)
	}
}

// interested gives the devices of an account that are, in a node.
func (n *Notifier) interested(account, node string) (list []jid.JID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.devices[account] {
		if _, ok := slices.BinarySearch(d.interest, node); ok {
			list = append(list, d.jid)
		}
	}
	return list
}

// subscriber sends an event to who has subscribed
// (XEP-0163 §notify-num @1.2.2): one by a full JID there, one by a bare JID to
// each device that is interested, or else to the bare JID. Whoever was told
// already is not told again.
func (n *Notifier) subscriber(owner string, who jid.JID, node string, c *command.PubsubConfig, told map[string]bool, children ...*xmlstream.Element) {
	to := []jid.JID{who}
	if who.IsBare() {
		if list := n.interested(who.String(), node); len(list) > 0 {
			to = list
		}
	}
	for _, j := range to {
		if !told[j.String()] {
			told[j.String()] = true
			n.send(owner, j, c, children...)
		}
	}
}

// related tells those whom somebody else's change concerns
// (XEP-0060 §owner-subscriptions-notifysub @1.30.0), and sends the last item to
// new subscribers (XEP-0163 §notify-last @1.2.2).
func (n *Notifier) related(owner string, e *state.PubsubEvent) {
	for i := range e.Relations {
		r := &e.Relations[i]
		who, err := jid.Parse(r.JID)
		if err != nil || !r.Changed {
			continue
		}
		if e.By != who.Bare().String() && who.Bare().String() != owner {
			event := xmlstream.New(stanza.NSPubsubEvent, "event").Add(subscription(stanza.NSPubsubEvent, e.Node, r.JID, r.Subscribed))
			n.send(owner, who, e.Config, event)
		}
		if r.Subscribed && e.Config.GetDeliverNotifications() && e.Config.GetSendLast() != command.SendLast_SEND_LAST_NEVER {
			n.lastTo(owner, who, e)
		}
	}
}

// lastTo sends a new subscriber the last item of the node.
func (n *Notifier) lastTo(owner string, who jid.JID, e *state.PubsubEvent) {
	found, err := n.o.View.PubsubLast(owner, []string{e.Node})
	if err != nil || len(found) == 0 || denied(n.o.View, owner, who.Bare().String(), e.Node, found[0].Node.Config) != nil {
		return
	}
	if event := published(e.Node, found[0].Node.Config, &found[0].Item); event != nil {
		n.subscriber(owner, who, e.Node, found[0].Node.Config, map[string]bool{}, event, delayed(&found[0].Item))
	}
}
