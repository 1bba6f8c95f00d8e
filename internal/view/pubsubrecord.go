// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// owned counts what an account has in nodes.
type owned struct {
	account uint64
	next    uint32 // number of the next node
	nodes   uint32
	bytes   uint64 // of all items
}

// node of an account.
type node struct {
	account uint64
	name    string
	number  uint32
	items   uint32
	since   command.Position // no item is older; where to look for the oldest
	config  *command.PubsubConfig
}

// limit is how many items the node keeps.
func (n *node) limit() uint32 {
	if !n.config.GetPersistItems() {
		return 0
	}
	if m := n.config.GetMaxItems(); m > 0 && m < state.PubsubItems {
		return m
	}
	return state.PubsubItems
}

// state gives what readers get.
func (n *node) state() state.PubsubNode {
	return state.PubsubNode{Name: n.name, Config: n.config, Items: int(n.items)}
}

// itemRecord is an item; its id is in the key.
type itemRecord struct {
	position  command.Position
	time      int64
	publisher string
	payload   []byte
}

// size is what an item counts against its account's bytes.
func (i *itemRecord) size(id string) uint64 {
	return uint64(len(id) + len(i.publisher) + len(i.payload))
}

func (i *itemRecord) state(id string) state.PubsubItem {
	return state.PubsubItem{ID: id, Publisher: i.publisher, Payload: slices.Clone(i.payload), Time: time.UnixMilli(i.time).UTC()}
}

func nodeKey(account uint64, name string) []byte { return append(idKey(tableNode, account), name...) }

func itemKey(account uint64, number uint32, id string) []byte {
	return append(binary.BigEndian.AppendUint32(idKey(tableItem, account), number), id...)
}

func orderPrefix(account uint64, number uint32) []byte {
	return binary.BigEndian.AppendUint32(idKey(tableOrder, account), number)
}

func orderKey(account uint64, number uint32, p command.Position) []byte {
	return p.AppendTo(orderPrefix(account, number))
}

func (o *owned) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, recordVersion), o.next)
	dst = binary.BigEndian.AppendUint32(dst, o.nodes)
	return binary.BigEndian.AppendUint64(dst, o.bytes)
}

func parseOwned(b []byte) (owned, error) {
	r := read(b)
	o := owned{next: r.uint32(), nodes: r.uint32(), bytes: r.uint64()}
	return o, r.end()
}

func (n *node) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, recordVersion), n.number)
	dst = binary.BigEndian.AppendUint32(dst, n.items)
	dst = n.since.AppendTo(dst)
	config, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.config)
	if err != nil {
		config = nil // strings of a decoded command are valid
	}
	return appendString(dst, config)
}

func parseNode(b []byte) (node, error) {
	r := read(b)
	n := node{number: r.uint32(), items: r.uint32(), since: r.position()}
	config := r.bytes()
	if err := r.end(); err != nil {
		return node{}, err
	}
	stored := &command.PubsubConfig{}
	if err := proto.Unmarshal(config, stored); err != nil {
		return node{}, corruptf("configuration of a node: %v", err)
	}
	n.config = configured(command.DefaultPubsub(), stored)
	return n, nil
}

func (i *itemRecord) append(dst []byte) []byte {
	dst = i.position.AppendTo(append(dst, recordVersion))
	dst = binary.BigEndian.AppendUint64(dst, uint64(i.time))
	return appendString(appendString(dst, i.publisher), i.payload)
}

func parseItem(b []byte) (itemRecord, error) {
	r := read(b)
	i := itemRecord{position: r.position(), time: int64(r.uint64()), publisher: r.string(), payload: r.bytes()}
	return i, r.end()
}

func appendOrder(dst []byte, id string) []byte {
	return appendString(append(dst, recordVersion), id)
}

func parseOrder(b []byte) (string, error) {
	r := read(b)
	id := r.string()
	if len(id) > state.PubsubName {
		r.fail("item id of %d bytes", len(id))
	}
	return id, r.end()
}
