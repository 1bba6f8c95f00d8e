// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Limits of a roster.
const (
	maxItems   = 5000
	maxWaiting = 1000 // requests of entities that are no items
	maxGroups  = 32
	// maxPresence bounds the children of a subscription's presence stanza, in
	// bytes.
	maxPresence = 4 << 10
)

// side is one account's view of a peer, while a command changes it.
type side struct {
	account, peer string
	id            uint64
	old, new      contact
}

// side loads what account has of peer.
func (t *txn) side(account, peer string) (*side, error) {
	s := &side{account: account, peer: peer, id: t.account(account)}
	b, err := t.get(rosterKey(s.id, peer))
	if err != nil || b == nil {
		return s, err
	}
	c, err := parseContact(b)
	if err != nil {
		return nil, t.a.v.damaged(err)
	}
	s.old, s.new = c, c
	return s, nil
}

// step follows a presence stanza on this side.
func (s *side) step(typ command.SubscriptionType, d direction) step {
	st := subscribe(s.new.sub, typ, d)
	s.new.sub = st.next
	if s.new.sub&visibleSubscription != 0 {
		s.new.item = true
	}
	if s.new.sub&pendingIn == 0 {
		s.new.waiting = state.Subscription{}
	}
	return st
}

// exists reports whether there is anything to store.
func (c *contact) exists() bool { return c.item || c.sub != 0 }

func (c *contact) waits() bool { return !c.item && c.sub != 0 }

// equal compares what is stored.
func (c *contact) equal(o *contact) bool {
	return c.sub == o.sub && c.item == o.item && c.name == o.name && slices.Equal(c.groups, o.groups)
}

// full refuses what would take a roster over its limits.
func (t *txn) full(s *side) (*command.Outcome, error) {
	grows, waits := s.new.item && !s.old.item, s.new.waits() && !s.old.waits()
	if !grows && !waits {
		return nil, nil
	}
	of, err := t.rosterOf(s.id)
	if err != nil {
		return nil, err
	}
	if grows && of.items >= maxItems || waits && of.waiting >= maxWaiting {
		o := refuse(stanza.Wait, stanza.ResourceConstraint, "the roster of "+s.account+" is full")
		return &o, nil
	}
	return nil, nil
}

func (t *txn) rosterOf(id uint64) (rosterOf, error) {
	b, err := t.get(idKey(tableRosterOf, id))
	if err != nil || b == nil {
		return rosterOf{}, err
	}
	of, err := parseRosterOf(b)
	return of, t.a.v.damaged(err)
}

// save stores a side and, if its account's clients can see the change or push
// is set, tells them.
func (t *txn) save(s *side, push bool) error {
	changed := !s.new.equal(&s.old)
	push = push || s.new.item != s.old.item ||
		s.new.item && changed && s.new.sub&visibleSubscription != s.old.sub&visibleSubscription
	if !changed && !push {
		return nil
	}
	of, err := t.rosterOf(s.id)
	if err != nil {
		return err
	}
	count(&of.items, s.old.item, s.new.item)
	count(&of.waiting, s.old.waits(), s.new.waits())
	if push {
		of.version = t.pos
	}
	if s.new.exists() {
		t.put(rosterKey(s.id, s.peer), s.new.append(nil))
	} else {
		t.delete(rosterKey(s.id, s.peer))
	}
	t.put(idKey(tableRosterOf, s.id), of.append(nil))
	if push {
		item := s.new.rosterItem(s.account, s.peer)
		if !s.new.item {
			item = state.RosterItem{JID: s.peer, Subscription: "remove"}
		}
		t.event(state.Event{
			Kind: state.EventRoster, Account: s.account, Position: t.pos, Item: item,
			Appears: s.new.sub&subTo != 0 && s.old.sub&subTo == 0,
		})
	}
	return nil
}

func count(n *uint32, before, now bool) {
	switch {
	case now && !before:
		*n++
	case before && !now && *n > 0:
		*n--
	}
}

// rosterSet is RFC 6121 §2.3 and §2.4.
func (t *txn) rosterSet(c *command.RosterSet) (command.Outcome, error) {
	if t.account(c.Account) == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	if o := checkItem(c); o != nil {
		return *o, nil
	}
	s, err := t.side(c.Account, c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	s.new.item, s.new.name, s.new.groups = true, c.Name, slices.Clone(c.Groups)
	if o, err := t.full(s); err != nil || o != nil {
		return outcomeOr(o), err
	}
	// RFC 6121 §2.1.6: every roster set that succeeds is pushed.
	if err := t.save(s, true); err != nil {
		return command.Outcome{}, err
	}
	return accept(), nil
}

// checkItem is RFC 6121 §2.3.3.
func checkItem(c *command.RosterSet) *command.Outcome {
	no := func(cond stanza.Condition, text string) *command.Outcome {
		o := refuse(stanza.Modify, cond, text)
		return &o
	}
	switch {
	case c.Jid == "" || len(c.Jid) > maxJID:
		return no(stanza.JIDMalformed, "the item needs an address")
	case c.Jid == c.Account:
		return no(stanza.NotAllowed, "an account is not its own contact")
	case len(c.Name) > maxName:
		return no(stanza.NotAcceptable, "the name is too long")
	case len(c.Groups) > maxGroups:
		return no(stanza.PolicyViolation, "too many groups")
	}
	for i, g := range c.Groups {
		switch {
		case g == "" || len(g) > maxName:
			return no(stanza.NotAcceptable, "a group's name is empty or too long")
		case slices.Contains(c.Groups[:i], g):
			return no(stanza.BadRequest, "a group is named twice")
		}
	}
	return nil
}

// rosterRemove is RFC 6121 §2.5: it cancels the subscriptions both ways. A
// request of the peer that still waits goes on waiting.
func (t *txn) rosterRemove(c *command.RosterRemove) (command.Outcome, error) {
	if t.account(c.Account) == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	s, err := t.side(c.Account, c.Jid)
	if err != nil {
		return command.Outcome{}, err
	}
	if !s.old.item {
		return refuse(stanza.Modify, stanza.ItemNotFound, "the roster has no such item"), nil
	}
	s.new = contact{sub: s.old.sub & pendingIn, waiting: s.old.waiting}
	if err := t.save(s, true); err != nil {
		return command.Outcome{}, err
	}
	if t.account(c.Jid) == 0 {
		return accept(), nil
	}
	peer, err := t.side(c.Jid, c.Account)
	if err != nil {
		return command.Outcome{}, err
	}
	if s.old.sub&(subTo|pendingOut) != 0 {
		if _, err := t.arrive(peer, command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE, "", nil); err != nil {
			return command.Outcome{}, err
		}
	}
	if s.old.sub&subFrom != 0 {
		if _, err := t.arrive(peer, command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED, "", nil); err != nil {
			return command.Outcome{}, err
		}
	}
	if err := t.save(peer, false); err != nil {
		return command.Outcome{}, err
	}
	return accept(), nil
}

// arrive lets a presence stanza from s.peer arrive at s.account. From a peer
// that is blocked nothing is shown or answered (XEP-0191 §block @1.3); only
// that a subscription has ended is noted, so that both sides agree.
func (t *txn) arrive(s *side, typ command.SubscriptionType, id string, payload []byte) (step, error) {
	blocked, err := t.blocks(s.account, s.peer)
	if err != nil {
		return step{}, err
	}
	if blocked {
		if typ == command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE || typ == command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED {
			s.step(typ, inbound)
		}
		return step{}, nil
	}
	st := s.step(typ, inbound)
	if !st.deliver {
		return st, nil
	}
	if typ == command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE {
		s.new.waiting = state.Subscription{ID: id, Payload: payload}
	}
	t.event(state.Event{
		Kind: state.EventSubscription, Account: s.account, Position: t.pos,
		Presence: state.Subscription{From: s.peer, To: s.account, Type: typ, ID: id, Payload: payload},
	})
	return st, nil
}

// subscription is RFC 6121 §3: the stanza leaves its sender's side and, if it
// is routed, arrives at the other; the answer that the recipient's server
// gives on its behalf comes back in the same command.
func (t *txn) subscription(c *command.Subscription) (command.Outcome, error) {
	if o := t.checkSubscription(c); o != nil {
		return *o, nil
	}
	if blocked, err := t.blocks(c.From, c.To); err != nil || blocked {
		return command.Outcome{Verdict: command.Refused, Err: stanza.Blocked()}, err
	}
	from, err := t.side(c.From, c.To)
	if err != nil {
		return command.Outcome{}, err
	}
	var to *side
	reply := command.SubscriptionType(-1)
	routed := from.step(c.Type, outbound).deliver
	if routed && t.account(c.To) == 0 {
		// RFC 6121 §3.1.3: nobody there to ask.
		if c.Type == command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE {
			reply = command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED
		}
		routed = false
	}
	if routed {
		if to, err = t.side(c.To, c.From); err != nil {
			return command.Outcome{}, err
		}
		probe := *to
		probe.step(c.Type, inbound)
		if o, err := t.full(&probe); err != nil || o != nil {
			return outcomeOr(o), err
		}
	}
	if o, err := t.full(from); err != nil || o != nil {
		return outcomeOr(o), err
	}
	// RFC 6121 §3.1.6: the stanza first, then the push that explains it.
	if to != nil {
		st, err := t.arrive(to, c.Type, c.Id, c.Payload)
		if err != nil {
			return command.Outcome{}, err
		}
		if st.reply {
			reply = command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED
		}
		if err := t.save(to, false); err != nil {
			return command.Outcome{}, err
		}
	}
	if reply >= 0 {
		if _, err := t.arrive(from, reply, "", nil); err != nil {
			return command.Outcome{}, err
		}
	}
	if err := t.save(from, false); err != nil {
		return command.Outcome{}, err
	}
	return accept(), nil
}

func (t *txn) checkSubscription(c *command.Subscription) *command.Outcome {
	var o command.Outcome
	_, domain := split(c.To)
	switch {
	case t.account(c.From) == 0:
		o = refuse(stanza.Auth, stanza.NotAuthorized, "the sender's account does not exist")
	case c.To == "" || len(c.To) > maxJID || bare(c.To) != c.To:
		o = refuse(stanza.Modify, stanza.JIDMalformed, "a subscription is between accounts")
	case c.From == c.To:
		o = refuse(stanza.Modify, stanza.NotAllowed, "an account is not its own contact")
	case domain != t.cell.domain:
		o = refuse(stanza.Cancel, stanza.RemoteServerNotFound, "this server does not exchange presence with other servers yet")
	case len(c.Payload) > maxPresence || len(c.Id) > maxName:
		o = refuse(stanza.Modify, stanza.PolicyViolation, "the presence stanza is too large")
	default:
		return nil
	}
	return &o
}

// befriend makes two accounts each other's contacts, with a subscription both
// ways, named as the accounts are. A full roster is passed over: both or none.
func (t *txn) befriend(a, b string) error {
	one, err := t.side(a, b)
	if err != nil {
		return err
	}
	other, err := t.side(b, a)
	if err != nil {
		return err
	}
	for _, s := range []*side{one, other} {
		if s.new.name == "" {
			rec, err := t.accountRecord(s.peer)
			if err != nil {
				return err
			}
			s.new.name = rec.name
		}
		s.new.item, s.new.sub, s.new.waiting = true, subTo|subFrom, state.Subscription{}
		if o, err := t.full(s); err != nil || o != nil {
			return err
		}
	}
	for _, s := range []*side{one, other} {
		if err := t.save(s, true); err != nil {
			return err
		}
	}
	return nil
}
