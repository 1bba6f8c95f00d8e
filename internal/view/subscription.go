// SPDX-License-Identifier: Apache-2.0

package view

import "bavard/internal/command"

// subscription is one account's side of a subscription: the nine states of
// RFC 6121 Appendix A.1 and pre-approval (§3.4), as bits. Persisted.
type subscription uint8

const (
	subTo      subscription = 1 << iota // the account sees the peer's presence
	subFrom                             // the peer sees the account's presence
	pendingOut                          // the account has asked
	pendingIn                           // the peer has asked
	approved                            // the account has approved in advance

	allSubscription = subTo | subFrom | pendingOut | pendingIn | approved
	// visible to the account's clients as part of the roster item
	visibleSubscription = allSubscription &^ pendingIn
)

// name as RFC 6121 §2.1.2.5 has it.
func (s subscription) name() string {
	switch s & (subTo | subFrom) {
	case subTo:
		return "to"
	case subFrom:
		return "from"
	case subTo | subFrom:
		return "both"
	}
	return "none"
}

// direction of a presence stanza, seen from the account whose side it is.
type direction uint8

const (
	outbound direction = iota + 1 // sent by the account
	inbound                       // sent to the account
)

// step is what a stanza does to one side.
type step struct {
	next subscription
	// deliver: outbound, route it to the peer; inbound, show it to the account.
	deliver bool
	// reply: answer an inbound subscribe with subscribed on the account's
	// behalf.
	reply bool
}

// subscribe is RFC 6121 Appendix A.2 and A.3 as a function.
func subscribe(s subscription, t command.SubscriptionType, d direction) step {
	if d == outbound {
		return sent(s, t)
	}
	return received(s, t)
}

// sent is RFC 6121 Appendix A.2.
func sent(s subscription, t command.SubscriptionType) step {
	switch t {
	case command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE: // A.2.1
		if s&subTo == 0 {
			s |= pendingOut
		}
		return step{next: s, deliver: true}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE: // A.2.2
		return step{next: s &^ (subTo | pendingOut), deliver: true}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED: // A.2.3
		switch {
		case s&pendingIn != 0:
			return step{next: s&^(pendingIn|approved) | subFrom, deliver: true}
		case s&subFrom == 0: // RFC 6121 §3.4.2: pre-approval, not routed
			return step{next: s | approved}
		}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED: // A.2.4
		return step{
			next:    s &^ (subFrom | pendingIn | approved),
			deliver: s&(subFrom|pendingIn) != 0,
		}
	}
	return step{next: s}
}

// received is RFC 6121 Appendix A.3.
func received(s subscription, t command.SubscriptionType) step {
	switch t {
	case command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE: // A.3.1
		switch {
		case s&subFrom != 0: // §3.1.3: subscribed already
			return step{next: s, reply: true}
		case s&approved != 0: // §3.4.2
			return step{next: s&^(approved|pendingIn) | subFrom, reply: true}
		case s&pendingIn == 0:
			return step{next: s | pendingIn, deliver: true}
		}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE: // A.3.2
		return step{next: s &^ (subFrom | pendingIn), deliver: s&(subFrom|pendingIn) != 0}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED: // A.3.3
		if s&pendingOut != 0 {
			return step{next: s&^pendingOut | subTo, deliver: true}
		}
	case command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED: // A.3.4
		return step{next: s &^ (subTo | pendingOut), deliver: s&(subTo|pendingOut) != 0}
	}
	return step{next: s}
}
