// SPDX-License-Identifier: Apache-2.0

package state

import (
	"time"

	"bavard/internal/command"
)

// EventPubsub: a node of Account changed as Pubsub says; who may know is to be
// notified.
const EventPubsub EventKind = 40

// Limits of the nodes of an account.
const (
	// PubsubNodes that an account may have.
	PubsubNodes = 1000
	// PubsubItems that a node keeps at most, whatever its configuration says.
	PubsubItems = 1000
	// PubsubPayload bounds an item's payload, in bytes.
	PubsubPayload = 192 << 10
	// PubsubBytes bounds all items of an account, in bytes.
	PubsubBytes = 64 << 20
	// PubsubName bounds names of nodes and ids of items, in bytes.
	PubsubName = 1023
	// PubsubGroups bounds the roster groups that a node names.
	PubsubGroups = 32
	// PubsubRelations bounds who is affiliated with a node or subscribed to it.
	PubsubRelations = 1000
	// PubsubText bounds title, description and type of a node, in bytes each.
	PubsubText = 1023
)

// PubsubKind tells what happened to a node.
type PubsubKind uint8

// Kinds of changes.
const (
	PubsubPublished  PubsubKind = iota + 1 // Item
	PubsubRetracted                        // Item.ID
	PubsubPurged                           // all items are gone
	PubsubDeleted                          // the node is gone
	PubsubConfigured                       // Config is new
	PubsubRelated                          // Relations are new
)

// PubsubEvent is a change of a node, with the configuration that says who is
// told.
type PubsubEvent struct {
	Kind   PubsubKind
	Node   string
	Config *command.PubsubConfig // complete; shared, read-only
	Item   PubsubItem
	// Relations, as they are now, of PubsubRelated; as they were, of PubsubDeleted.
	Relations []PubsubRelation
	// By is the bare JID of who asked for it, of PubsubRelated.
	By string
	// Notify: the change asks for a notification, whatever the node's default.
	Notify bool
}

// PubsubItem is an item of a node.
type PubsubItem struct {
	ID        string
	Publisher string // full JID
	Payload   []byte // one element; shared, read-only
	Time      time.Time
}

// PubsubNode is a node as stored.
type PubsubNode struct {
	Name   string
	Config *command.PubsubConfig // complete
	Items  int
}

// PubsubRelation is what somebody is to a node, besides its owner.
type PubsubRelation struct {
	Node        string
	JID         string // of a subscription also a full JID
	Affiliation command.NodeAffiliation
	Subscribed  bool
	Since       command.Position // of the subscription
	Changed     bool             // in events: the subscription is new, or has ended
}

// PubsubLast is the newest item of a node.
type PubsubLast struct {
	Node PubsubNode
	Item PubsubItem
}

// PubsubQuery asks for items of a node, the newest first.
type PubsubQuery struct {
	IDs []string // only these; the rest is then ignored
	Max int      // ≤ 0: as many as one answer holds
	// After and Before are ids of items (XEP-0059): the page starts after one,
	// or ends before one; Backward without Before is the last page, with the
	// oldest items.
	After, Before string
	Backward      bool
}

// PubsubPage answers a query.
type PubsubPage struct {
	Node  PubsubNode
	Items []PubsubItem
	// Complete: no item follows in the direction of the query.
	Complete bool
}
