// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// configured gives base with what change sets; base is not changed.
func configured(base, change *command.PubsubConfig) *command.PubsubConfig {
	out := proto.CloneOf(base)
	if g := change.GetRosterGroups(); g != nil {
		out.RosterGroups.Groups = nil // lists replace, and are not appended to
	}
	proto.Merge(out, change)
	return out
}

// checkConfig refuses what a node cannot be configured as.
func checkConfig(c *command.PubsubConfig) *command.Outcome {
	no := func(text string) *command.Outcome {
		o := refuse(stanza.Modify, stanza.NotAcceptable, text)
		return &o
	}
	if c == nil {
		return nil
	}
	if _, ok := command.AccessModel_name[int32(c.GetAccessModel())]; !ok {
		return no("no such access model")
	}
	if _, ok := command.SendLast_name[int32(c.GetSendLast())]; !ok {
		return no("the last item is sent never, on_sub or on_sub_and_presence")
	}
	if c.GetMaxItems() > state.PubsubItems {
		return no("a node keeps fewer items")
	}
	for _, s := range []string{c.GetTitle(), c.GetDescription(), c.GetType()} {
		if len(s) > state.PubsubText {
			return no("title, description and type are shorter")
		}
	}
	groups := c.GetRosterGroups().GetGroups()
	if len(groups) > state.PubsubGroups {
		return no("too many roster groups")
	}
	for _, g := range groups {
		if len(g) > maxName {
			return no("the name of a roster group is too long")
		}
	}
	return nil
}

// meets reports whether a node is configured as the options of a publication
// say (XEP-0060 §publisher-publish-options @1.30.0).
func meets(config, options *command.PubsubConfig) bool {
	if options == nil {
		return true
	}
	want := configured(config, options)
	return proto.Equal(want, config)
}

// pubsub loads what a pubsub command works on, or refuses it. The node is nil
// when there is none.
func (t *txn) pubsub(account, name string) (owned, *node, *command.Outcome, error) {
	id := t.account(account)
	if id == 0 {
		o := refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account")
		return owned{}, nil, &o, nil
	}
	if name == "" || len(name) > state.PubsubName {
		o := refuse(stanza.Modify, stanza.NotAcceptable, "the name of the node is missing or too long")
		return owned{}, nil, &o, nil
	}
	of, err := t.pubsubOf(id)
	if err != nil {
		return owned{}, nil, nil, err
	}
	n, err := t.node(id, name)
	return of, n, nil, err
}

// existing is pubsub for commands that need a node.
func (t *txn) existing(account, name string) (owned, *node, *command.Outcome, error) {
	of, n, refused, err := t.pubsub(account, name)
	if err == nil && refused == nil && n == nil {
		o := refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such node")
		refused = &o
	}
	return of, n, refused, err
}

func (t *txn) pubsubOf(id uint64) (owned, error) {
	of := owned{account: id}
	b, err := t.get(idKey(tablePubsubOf, id))
	if err != nil || b == nil {
		return of, err
	}
	rec, err := parseOwned(b)
	rec.account = id
	return rec, t.a.v.damaged(err)
}

func (t *txn) node(id uint64, name string) (*node, error) {
	b, err := t.get(nodeKey(id, name))
	if err != nil || b == nil {
		return nil, err
	}
	n, err := parseNode(b)
	if err != nil {
		return nil, t.a.v.damaged(err)
	}
	n.account, n.name = id, name
	return &n, nil
}

// newNode adds a node, if there is room.
func (t *txn) newNode(of *owned, name string, config *command.PubsubConfig) (*node, *command.Outcome) {
	if of.nodes >= state.PubsubNodes {
		o := refuse(stanza.Wait, stanza.ResourceConstraint, "the account has too many nodes")
		return nil, &o
	}
	n := &node{account: of.account, name: name, number: of.next, config: configured(command.DefaultPubsub(), config)}
	of.nodes++
	of.next++
	return n, nil
}

func (t *txn) putNode(of *owned, n *node) {
	t.put(idKey(tablePubsubOf, of.account), of.append(nil))
	t.put(nodeKey(n.account, n.name), n.append(nil))
}

// changed ends a command that has changed a node.
func (t *txn) changed(account string, n *node, e state.PubsubEvent) (command.Outcome, error) {
	t.tell(account, n, e)
	switch n.name {
	case stanza.NSAvatarData, stanza.NSAvatarMetadata:
		return accept(), t.avatar(account, n, e.Kind)
	case stanza.NSPrivacy:
		return accept(), t.hides(account, n)
	}
	return accept(), nil
}

func (t *txn) tell(account string, n *node, e state.PubsubEvent) {
	e.Node, e.Config = n.name, n.config
	t.event(state.Event{Kind: state.EventPubsub, Account: account, Position: t.pos, Pubsub: &e})
}

// pubsubPublish is XEP-0060 §publisher-publish @1.30.0. An item with the id of
// another takes its place as the newest; a full node loses its oldest item.
func (t *txn) pubsubPublish(c *command.PubsubPublish) (command.Outcome, error) {
	of, n, refused, err := t.pubsub(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if o := checkPublish(c); o != nil {
		return *o, nil
	}
	switch {
	case n == nil:
		if n, refused = t.newNode(&of, c.Node, configured(configured(command.DefaultPubsub(), c.Made), c.Options)); refused != nil {
			return *refused, nil
		}
	case !meets(n.config, c.Options):
		return command.Outcome{Verdict: command.Refused, Err: stanza.PubsubErr(stanza.Cancel, stanza.Conflict,
			"precondition-not-met", "the node is configured otherwise")}, nil
	}
	item := itemRecord{position: t.pos, time: t.meta.time, publisher: c.Publisher, payload: c.Payload}
	if n.config.GetPersistItems() {
		if refused, err = t.keep(&of, n, c.Item, &item); err != nil || refused != nil {
			return outcomeOr(refused), err
		}
	}
	t.putNode(&of, n)
	if err := t.hasDisplayed(&of, c); err != nil {
		return command.Outcome{}, err
	}
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubPublished, Item: state.PubsubItem{
		ID: c.Item, Publisher: c.Publisher, Payload: c.Payload, Time: t.time(),
	}})
}

func checkPublish(c *command.PubsubPublish) *command.Outcome {
	var o command.Outcome
	switch {
	case c.Item == "" || len(c.Item) > state.PubsubName:
		o = refuse(stanza.Modify, stanza.NotAcceptable, "the id of the item is missing or too long")
	case len(c.Payload) > state.PubsubPayload || len(c.Publisher) > maxJID:
		o = command.Outcome{Verdict: command.Refused, Err: stanza.PubsubErr(stanza.Modify, stanza.NotAcceptable,
			"payload-too-big", "the item is too large")}
	default:
		if bad := checkConfig(c.Made); bad != nil {
			return bad
		}
		return checkConfig(c.Options)
	}
	return &o
}

// keep stores an item as the newest of its node, and drops what it replaces or
// pushes out.
func (t *txn) keep(of *owned, n *node, id string, item *itemRecord) (*command.Outcome, error) {
	old, err := t.item(n, id)
	if err != nil {
		return nil, err
	}
	total := of.bytes + item.size(id)
	var out *stored
	if old != nil {
		total -= min(total, old.size(id))
	} else if n.items >= n.limit() {
		if out, err = t.oldest(n); err != nil {
			return nil, err
		}
		if out != nil {
			total -= min(total, out.size(out.id))
		}
	}
	if total > state.PubsubBytes {
		o := refuse(stanza.Wait, stanza.ResourceConstraint, "the items of the account take too much room")
		return &o, nil
	}
	if old != nil {
		t.delete(orderKey(n.account, n.number, old.position))
		n.items--
	}
	if out != nil {
		t.dropItem(n, out)
		n.since = out.position
	}
	of.bytes = total
	n.items++
	t.put(itemKey(n.account, n.number, id), item.append(nil))
	t.put(orderKey(n.account, n.number, item.position), appendOrder(nil, id))
	return nil, nil
}

// stored is an item with its id.
type stored struct {
	id string
	itemRecord
}

func (t *txn) item(n *node, id string) (*itemRecord, error) {
	b, err := t.get(itemKey(n.account, n.number, id))
	if err != nil || b == nil {
		return nil, err
	}
	i, err := parseItem(b)
	if err != nil {
		return nil, t.a.v.damaged(err)
	}
	return &i, nil
}

// dropItem deletes the records of an item; the account's bytes are the caller's.
func (t *txn) dropItem(n *node, i *stored) {
	t.delete(itemKey(n.account, n.number, i.id))
	t.delete(orderKey(n.account, n.number, i.position))
	n.items--
}

// oldest finds the oldest item of a node, nil when there is none: first among
// those of earlier batches, then in this one.
func (t *txn) oldest(n *node) (*stored, error) {
	id, err := t.oldestID(n)
	if err != nil || id == "" {
		return nil, err
	}
	i, err := t.item(n, id)
	if err != nil {
		return nil, err
	}
	if i == nil {
		return nil, t.a.v.damaged(corruptf("node %q has no item %q", n.name, id))
	}
	return &stored{id, *i}, nil
}

// newest reads the newest item of a node, nil when there is none: first of
// this batch, then of earlier ones.
func (t *txn) newest(n *node) (*stored, error) {
	id, err := t.newestID(n)
	if err != nil || id == "" {
		return nil, err
	}
	i, err := t.item(n, id)
	if err != nil {
		return nil, err
	}
	if i == nil {
		return nil, t.a.v.damaged(corruptf("node %q has no item %q", n.name, id))
	}
	return &stored{id, *i}, nil
}

func (t *txn) newestID(n *node) (id string, err error) {
	p := t.pos
	key := orderKey(n.account, n.number, p)
	for ; ; p.Index-- {
		key = p.AppendTo(key[:len(key)-command.PositionSize])
		if value := t.overlay[string(key)]; value != nil {
			id, err := parseOrder(value)
			return id, t.a.v.damaged(err)
		}
		if p.Index == 0 {
			break
		}
	}
	prefix := orderPrefix(n.account, n.number)
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return "", t.a.v.damaged(err)
	}
	defer func() { err = errors.Join(err, t.a.v.damaged(it.Close())) }()
	for ok := it.Last(); ok; ok = it.Prev() {
		if !t.touched(it.Key()) {
			id, err := parseOrder(it.Value())
			return id, t.a.v.damaged(err)
		}
	}
	return "", t.a.v.damaged(it.Error())
}

func (t *txn) oldestID(n *node) (string, error) {
	it, err := t.a.v.db.NewIter(&pebble.IterOptions{
		LowerBound: orderKey(n.account, n.number, n.since),
		UpperBound: prefixEnd(orderPrefix(n.account, n.number)),
	})
	if err != nil {
		return "", t.a.v.damaged(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value := it.Value()
		if t.touched(it.Key()) {
			if value = t.overlay[string(it.Key())]; value == nil {
				continue
			}
		}
		value = bytes.Clone(value)
		if err := it.Close(); err != nil {
			return "", t.a.v.damaged(err)
		}
		id, err := parseOrder(value)
		return id, t.a.v.damaged(err)
	}
	if err := it.Error(); err != nil {
		_ = it.Close()
		return "", t.a.v.damaged(err)
	}
	if err := it.Close(); err != nil {
		return "", t.a.v.damaged(err)
	}
	p := command.Position{Epoch: t.pos.Epoch, Revision: t.pos.Revision}
	if n.since.Epoch == p.Epoch && n.since.Revision == p.Revision {
		p.Index = n.since.Index
	}
	key := orderKey(n.account, n.number, p)
	for ; p.Index <= t.pos.Index; p.Index++ {
		key = p.AppendTo(key[:len(key)-command.PositionSize])
		if value := t.overlay[string(key)]; value != nil {
			id, err := parseOrder(value)
			return id, t.a.v.damaged(err)
		}
	}
	return "", nil
}

// pubsubRetract is XEP-0060 §publisher-delete @1.30.0.
func (t *txn) pubsubRetract(c *command.PubsubRetract) (command.Outcome, error) {
	of, n, refused, err := t.existing(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if c.Item == "" || len(c.Item) > state.PubsubName {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the node has no such item"), nil
	}
	i, err := t.item(n, c.Item)
	if err != nil {
		return command.Outcome{}, err
	}
	if i == nil {
		return refuse(stanza.Cancel, stanza.ItemNotFound, "the node has no such item"), nil
	}
	of.bytes -= min(of.bytes, i.size(c.Item))
	t.dropItem(n, &stored{c.Item, *i})
	t.putNode(&of, n)
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubRetracted, Item: state.PubsubItem{ID: c.Item}, Notify: c.Notify})
}

// pubsubCreate is XEP-0060 §owner-create @1.30.0.
func (t *txn) pubsubCreate(c *command.PubsubCreate) (command.Outcome, error) {
	of, n, refused, err := t.pubsub(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if n != nil {
		return refuse(stanza.Cancel, stanza.Conflict, "there is such a node already"), nil
	}
	if o := checkConfig(c.Config); o != nil {
		return *o, nil
	}
	if n, refused = t.newNode(&of, c.Node, c.Config); refused != nil {
		return *refused, nil
	}
	t.putNode(&of, n)
	return accept(), nil
}

// pubsubConfigure is XEP-0060 §owner-configure @1.30.0. A node that is to keep
// fewer items loses the oldest.
func (t *txn) pubsubConfigure(c *command.PubsubConfigure) (command.Outcome, error) {
	of, n, refused, err := t.existing(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if o := checkConfig(c.Config); o != nil {
		return *o, nil
	}
	n.config = configured(n.config, c.Config)
	for n.items > n.limit() {
		out, err := t.oldest(n)
		if err != nil {
			return command.Outcome{}, err
		}
		if out == nil {
			break
		}
		of.bytes -= min(of.bytes, out.size(out.id))
		t.dropItem(n, out)
		n.since = out.position
	}
	t.putNode(&of, n)
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubConfigured})
}

// pubsubDelete is XEP-0060 §owner-delete @1.30.0.
func (t *txn) pubsubDelete(c *command.PubsubDelete) (command.Outcome, error) {
	of, n, refused, err := t.existing(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if err := t.empty(&of, n); err != nil {
		return command.Outcome{}, err
	}
	of.nodes--
	t.delete(nodeKey(n.account, n.name))
	t.put(idKey(tablePubsubOf, of.account), of.append(nil))
	relations, err := t.unrelate(n)
	if err != nil {
		return command.Outcome{}, err
	}
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubDeleted, Relations: relations})
}

// pubsubPurge is XEP-0060 §owner-purge @1.30.0.
func (t *txn) pubsubPurge(c *command.PubsubPurge) (command.Outcome, error) {
	of, n, refused, err := t.existing(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if !n.config.GetPersistItems() {
		o := stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "the node keeps no items")
		return command.Outcome{Verdict: command.Refused, Err: o}, nil
	}
	if err := t.empty(&of, n); err != nil {
		return command.Outcome{}, err
	}
	t.putNode(&of, n)
	return t.changed(c.Account, n, state.PubsubEvent{Kind: state.PubsubPurged})
}

// empty drops all items of a node, oldest first.
func (t *txn) empty(of *owned, n *node) error {
	for n.items > 0 {
		out, err := t.oldest(n)
		if err != nil {
			return err
		}
		if out == nil {
			return t.a.v.damaged(corruptf("node %q is said to have %d items more", n.name, n.items))
		}
		of.bytes -= min(of.bytes, out.size(out.id))
		t.dropItem(n, out)
		n.since = out.position
	}
	return nil
}
