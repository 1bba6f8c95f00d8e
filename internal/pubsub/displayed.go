// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// displayed takes out of a message what is for the sender's own devices, how
// far they have read, and publishes it for them
// (XEP-0490 §interaction @1.0.1, §rules-server). The recipient never sees it. A
// node that others may read is not published to.
func (f *pubsub) displayed(r *route.Request) []route.Effect {
	var found *xmlstream.Element
	kept := r.Stanza.Children[:0]
	for _, n := range r.Stanza.Children {
		if n.Element != nil && n.Element.Is(stanza.NSDisplayed, "displayed") {
			found = n.Element
			continue
		}
		kept = append(kept, n)
	}
	if found == nil {
		return nil
	}
	r.Stanza.Children = kept
	// The address as it was written is the item's id (§server-assist).
	item, payload := r.Stanza.Get("to"), xmlstream.AppendElement(nil, found, "")
	if item == "" || len(item) > state.PubsubName || len(payload) > state.PubsubPayload {
		return nil
	}
	return []route.Effect{route.Displayed{Publish: &command.PubsubPublish{
		Account: r.From.Bare().String(), Node: stanza.NSDisplayed, Item: item, Publisher: r.From.String(), Payload: payload,
		Options: &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum()},
		Made:    made(stanza.NSDisplayed),
		Read:    f.readUpTo(stanza.NSDisplayed, payload),
	}}}
}

// readUpTo gives the encoded position up to which an item says that a chat was read,
// nil when it does not: then the timers of messages start (XEP-0466 §rules @0.1.0),
// whichever of the account's devices shows them.
func (f *pubsub) readUpTo(node string, payload []byte) []byte {
	if node != stanza.NSDisplayed {
		return nil
	}
	p, ok := f.archive.Position(state.ParseDisplayed(payload))
	if !ok {
		return nil
	}
	return p.AppendTo(nil)
}

// made is what else the nodes are made with that keep something for the account
// alone, such as an item for each chat: a client that names no options must not lose all
// but the last, nor show them to contacts (XEP-0490 §security @1.0.1). nil for others.
func made(node string) *command.PubsubConfig {
	switch node {
	default:
		return nil
	case stanza.NSDisplayed, stanza.NSChats, stanza.NSPrivacy:
	}
	return &command.PubsubConfig{
		AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum(), PersistItems: proto.Bool(true), MaxItems: proto.Uint32(0),
		SendLast: command.SendLast_SEND_LAST_NEVER.Enum(),
	}
}
