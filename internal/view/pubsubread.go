// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/state"
)

// pageBytes bounds the payloads of one page of items; a page has one item at
// least.
const pageBytes = 1 << 20

// PubsubNode reads a node of an account; state.ErrNotFound when there is none.
func (v *View) PubsubNode(account, name string) (state.PubsubNode, error) {
	if err := v.enter(); err != nil {
		return state.PubsubNode{}, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return state.PubsubNode{}, v.readError(err)
	}
	n, err := v.node(v.db, id, name)
	if err != nil {
		return state.PubsubNode{}, v.readError(err)
	}
	return n.state(), nil
}

func (v *View) node(r pebble.Reader, account uint64, name string) (node, error) {
	b, err := v.get(r, nodeKey(account, name))
	if errors.Is(err, pebble.ErrNotFound) {
		return node{}, state.ErrNotFound
	}
	if err != nil {
		return node{}, err
	}
	n, err := parseNode(b)
	n.account, n.name = account, name
	return n, err
}

// PubsubNodes lists the nodes of an account by name.
func (v *View) PubsubNodes(account string) (_ []state.PubsubNode, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	prefix := idKey(tableNode, id)
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	var out []state.PubsubNode
	for ok := it.First(); ok; ok = it.Next() {
		n, err := parseNode(it.Value())
		if err != nil {
			return nil, v.damaged(err)
		}
		n.name = string(it.Key()[len(prefix):])
		out = append(out, n.state())
	}
	return out, v.damaged(it.Error())
}

// PubsubItems answers a query of a node: a page, the newest item first.
// state.ErrNotFound: there is no such account or node, or no such item to
// start from.
func (v *View) PubsubItems(account, name string, q state.PubsubQuery) (_ state.PubsubPage, err error) {
	if err := v.enter(); err != nil {
		return state.PubsubPage{}, err
	}
	defer v.leave()
	snap := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, v.damaged(snap.Close())) }()
	id, err := v.accountID(snap, account)
	if err != nil {
		return state.PubsubPage{}, v.readError(err)
	}
	n, err := v.node(snap, id, name)
	if err != nil {
		return state.PubsubPage{}, v.readError(err)
	}
	p := pubsubPage{v: v, r: snap, n: &n, max: state.PubsubItems}
	if q.Max > 0 {
		p.max = min(p.max, q.Max)
	}
	if len(q.IDs) > 0 {
		err = p.named(q.IDs)
	} else {
		err = p.scan(&q)
	}
	if err != nil {
		return state.PubsubPage{}, v.readError(err)
	}
	return state.PubsubPage{Node: n.state(), Items: p.items, Complete: !p.more}, nil
}

// pubsubPage is a page being read.
type pubsubPage struct {
	v     *View
	r     pebble.Reader
	n     *node
	max   int
	items []state.PubsubItem
	bytes int
	more  bool
}

// full reports whether the page is, noting that there is more.
func (p *pubsubPage) full() bool {
	p.more = p.more || len(p.items) >= p.max || p.bytes >= pageBytes
	return p.more
}

// add reads an item; one that is not there is left out.
func (p *pubsubPage) add(id string) (bool, error) {
	b, err := p.v.get(p.r, itemKey(p.n.account, p.n.number, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	i, err := parseItem(b)
	if err != nil {
		return false, err
	}
	p.items = append(p.items, i.state(id))
	p.bytes += len(i.payload)
	return true, nil
}

func (p *pubsubPage) named(ids []string) error {
	for _, id := range ids[:min(len(ids), state.PubsubItems)] {
		if p.full() {
			break
		}
		if _, err := p.add(id); err != nil {
			return err
		}
	}
	return nil
}

func (p *pubsubPage) scan(q *state.PubsubQuery) (err error) {
	prefix := orderPrefix(p.n.account, p.n.number)
	lower, upper := prefix, prefixEnd(prefix)
	start := q.After
	if q.Backward {
		start = q.Before
	}
	if start != "" {
		b, err := p.v.get(p.r, itemKey(p.n.account, p.n.number, start))
		if errors.Is(err, pebble.ErrNotFound) {
			return state.ErrNotFound
		}
		if err != nil {
			return err
		}
		i, err := parseItem(b)
		if err != nil {
			return err
		}
		if key := orderKey(p.n.account, p.n.number, i.position); q.Backward {
			lower = append(key, 0)
		} else {
			upper = key
		}
	}
	it, err := p.r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first, next := it.Last, it.Prev
	if q.Backward {
		first, next = it.First, it.Next
	}
	for ok := first(); ok && !p.full(); ok = next() {
		id, err := parseOrder(it.Value())
		if err != nil {
			return err
		}
		there, err := p.add(id)
		if err != nil {
			return err
		}
		if !there {
			return corruptf("node %q has no item %q", p.n.name, id)
		}
	}
	if q.Backward {
		for i, j := 0, len(p.items)-1; i < j; i, j = i+1, j-1 {
			p.items[i], p.items[j] = p.items[j], p.items[i]
		}
	}
	return it.Error()
}

// PubsubLast gives the newest item of those of the named nodes that there are
// and that have one. An account without nodes costs one read.
func (v *View) PubsubLast(account string, names []string) (_ []state.PubsubLast, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	snap := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, v.damaged(snap.Close())) }()
	id, err := v.accountID(snap, account)
	if err != nil {
		return nil, v.readError(err)
	}
	switch _, err := v.get(snap, idKey(tablePubsubOf, id)); {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, v.damaged(err)
	}
	var out []state.PubsubLast
	for _, name := range names {
		n, err := v.node(snap, id, name)
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, v.damaged(err)
		}
		p := pubsubPage{v: v, r: snap, n: &n, max: 1}
		if err := p.scan(&state.PubsubQuery{}); err != nil {
			return nil, v.damaged(err)
		}
		if len(p.items) == 1 {
			out = append(out, state.PubsubLast{Node: n.state(), Item: p.items[0]})
		}
	}
	return out, nil
}
