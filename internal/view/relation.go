// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// relation is what somebody is to a node: a record for each bare JID that has an
// affiliation, and for each JID that is subscribed.
type relation struct {
	affiliation command.NodeAffiliation
	subscribed  bool
	since       command.Position // of the subscription; zero when there is none
}

func (r *relation) append(dst []byte) []byte {
	var subscribed byte
	if r.subscribed {
		subscribed = 1
	}
	return r.since.AppendTo(append(append(dst, recordVersion), byte(r.affiliation), subscribed))
}

func parseRelation(b []byte) (relation, error) {
	r := read(b)
	rel := relation{affiliation: command.NodeAffiliation(r.byte()), subscribed: r.byte() == 1, since: r.position()}
	if _, ok := command.NodeAffiliation_name[int32(rel.affiliation)]; !ok {
		r.fail("affiliation %d", rel.affiliation)
	}
	return rel, r.end()
}

func relationPrefix(account uint64, number uint32) []byte {
	return binary.BigEndian.AppendUint32(idKey(tableRelation, account), number)
}

func relationKey(account uint64, number uint32, jid string) []byte {
	return append(relationPrefix(account, number), jid...)
}

// relation reads one; the zero value when there is none.
func (t *txn) relation(n *node, jid string) (relation, error) {
	b, err := t.get(relationKey(n.account, n.number, jid))
	if err != nil || b == nil {
		return relation{}, err
	}
	r, err := parseRelation(b)
	return r, t.a.v.damaged(err)
}

func (t *txn) setRelation(n *node, jid string, r relation) {
	key := relationKey(n.account, n.number, jid)
	if r == (relation{}) {
		t.delete(key)
	} else {
		t.put(key, r.append(nil))
	}
}

// relations lists all of a node.
func (t *txn) relations(n *node) ([]state.PubsubRelation, error) {
	prefix := relationPrefix(n.account, n.number)
	keys, err := t.under(prefix)
	if err != nil {
		return nil, err
	}
	var out []state.PubsubRelation
	for _, key := range keys {
		jid := key[len(prefix):]
		r, err := t.relation(n, jid)
		if err != nil {
			return nil, err
		}
		out = append(out, state.PubsubRelation{Node: n.name, JID: jid, Affiliation: r.affiliation, Subscribed: r.subscribed, Since: r.since})
	}
	return out, nil
}

// unrelate removes all of a node that goes, and gives what there was.
func (t *txn) unrelate(n *node) ([]state.PubsubRelation, error) {
	out, err := t.relations(n)
	for i := range out {
		t.delete(relationKey(n.account, n.number, out[i].JID))
	}
	return out, err
}

// pubsubRelate is XEP-0060 §owner-affiliations-modify @1.30.0,
// §owner-subscriptions-modify and, by others than the owner,
// §subscriber-subscribe and §subscriber-unsubscribe.
func (t *txn) pubsubRelate(c *command.PubsubRelate) (command.Outcome, error) {
	_, n, refused, err := t.existing(c.Account, c.Node)
	if err != nil || refused != nil {
		return outcomeOr(refused), err
	}
	if o, err := t.mayRelate(c, n); o != nil || err != nil {
		return outcomeOr(o), err
	}
	before, err := t.relations(n)
	if err != nil {
		return command.Outcome{}, err
	}
	e := state.PubsubEvent{Kind: state.PubsubRelated, By: c.By}
	count := len(before)
	for _, r := range c.Relations {
		was, err := t.relation(n, r.Jid)
		if err != nil {
			return command.Outcome{}, err
		}
		now := was
		if r.Affiliation != nil {
			now.affiliation = r.GetAffiliation()
		}
		if r.Subscribed != nil {
			now.subscribed = r.GetSubscribed()
		}
		if now == was {
			continue
		}
		if now.since = was.since; !now.subscribed {
			now.since = command.Position{}
		} else if !was.subscribed {
			now.since = t.pos
		}
		if was == (relation{}) {
			count++
		}
		e.Relations = append(e.Relations, state.PubsubRelation{Node: n.name, JID: r.Jid, Affiliation: now.affiliation, Subscribed: now.subscribed, Since: now.since, Changed: now.subscribed != was.subscribed})
	}
	if count > state.PubsubRelations {
		return command.Outcome{Verdict: command.Refused, Err: stanza.PubsubErr(stanza.Wait, stanza.PolicyViolation, "too-many-subscriptions", "")}, nil
	}
	for i := range e.Relations {
		r := &e.Relations[i]
		t.setRelation(n, r.JID, relation{r.Affiliation, r.Subscribed, r.Since})
	}
	if err := t.endSubscriptions(n, &e, before); err != nil {
		return command.Outcome{}, err
	}
	if len(e.Relations) > 0 {
		t.tell(c.Account, n, e)
	}
	return accept(), nil
}

// endSubscriptions ends those of whom the change takes access
// (XEP-0163 §impl-subscriptions @1.2.2).
func (t *txn) endSubscriptions(n *node, e *state.PubsubEvent, before []state.PubsubRelation) error {
	closed := n.config.GetAccessModel() == command.AccessModel_ACCESS_MODEL_WHITELIST
	for _, b := range before {
		if !b.Subscribed {
			continue
		}
		of, err := t.relation(n, bare(b.JID))
		if err != nil {
			return err
		}
		if of.affiliation != command.NodeAffiliation_NODE_AFFILIATION_OUTCAST && (!closed || of.affiliation == command.NodeAffiliation_NODE_AFFILIATION_MEMBER) {
			continue
		}
		now, err := t.relation(n, b.JID)
		if err != nil {
			return err
		}
		if now.subscribed {
			now.subscribed, now.since = false, command.Position{}
			t.setRelation(n, b.JID, now)
			e.Relations = append(e.Relations, state.PubsubRelation{Node: n.name, JID: b.JID, Affiliation: now.affiliation, Changed: true})
		}
	}
	return nil
}

// mayRelate refuses what may not be asked for; nil when all may.
func (t *txn) mayRelate(c *command.PubsubRelate, n *node) (*command.Outcome, error) {
	no := func(typ stanza.ErrorType, cond stanza.Condition, app, text string) *command.Outcome {
		e := stanza.Err(typ, cond, text)
		if app != "" {
			e = stanza.PubsubErr(typ, cond, app, text)
		}
		return &command.Outcome{Verdict: command.Refused, Err: e}
	}
	if len(c.Relations) > state.PubsubRelations {
		return no(stanza.Modify, stanza.PolicyViolation, "", "change fewer at a time"), nil
	}
	for _, r := range c.Relations {
		_, known := command.NodeAffiliation_name[int32(r.GetAffiliation())]
		switch {
		case r.Jid == "" || len(r.Jid) > maxJID:
			return no(stanza.Modify, stanza.BadRequest, "invalid-jid", ""), nil
		case r.Affiliation != nil && (!known || bare(r.Jid) != r.Jid || r.Jid == c.Account):
			return no(stanza.Modify, stanza.NotAcceptable, "", "the account owns its nodes; others are members, outcasts or none, by their bare address"), nil
		case c.By == c.Account:
			continue
		case bare(r.Jid) != c.By:
			return no(stanza.Modify, stanza.BadRequest, "invalid-jid", ""), nil
		case r.Affiliation != nil:
			return no(stanza.Auth, stanza.Forbidden, "", "only the owner can do that"), nil
		}
		if barred, err := t.barred(c.By, c.Account); barred != nil || err != nil {
			return barred, err
		}
		was, err := t.relation(n, r.Jid)
		if err != nil {
			return nil, err
		}
		if r.GetSubscribed() {
			if o, err := t.mayRead(c.Account, c.By, n); o != nil || err != nil {
				return o, err
			}
		} else if !was.subscribed {
			return no(stanza.Cancel, stanza.UnexpectedRequest, "not-subscribed", ""), nil
		}
	}
	return nil, nil
}

// mayRead refuses who may not read a node (XEP-0060 §accessmodels @1.30.0).
func (t *txn) mayRead(owner, reader string, n *node) (*command.Outcome, error) {
	own, err := t.relation(n, reader)
	if err != nil {
		return nil, err
	}
	var item *state.RosterItem
	if b, err := t.get(rosterKey(n.account, reader)); err != nil {
		return nil, err
	} else if b != nil {
		c, err := parseContact(b)
		if err != nil {
			return nil, t.a.v.damaged(err)
		}
		i := c.rosterItem(owner, reader)
		item = &i
	}
	if e := state.MayRead(n.config, own.affiliation, item); e != nil {
		return &command.Outcome{Verdict: command.Refused, Err: e}, nil
	}
	return nil, nil
}

// PubsubRelation reads what somebody, by their bare or full JID, is to a node;
// state.ErrNotFound when there is no such account or node.
func (v *View) PubsubRelation(account, name, jid string) (state.PubsubRelation, error) {
	out := state.PubsubRelation{Node: name, JID: jid}
	if err := v.enter(); err != nil {
		return out, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return out, v.readError(err)
	}
	n, err := v.node(v.db, id, name)
	if err != nil {
		return out, v.readError(err)
	}
	b, err := v.get(v.db, relationKey(id, n.number, jid))
	if errors.Is(err, pebble.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return out, v.damaged(err)
	}
	r, err := parseRelation(b)
	out.Affiliation, out.Subscribed, out.Since = r.affiliation, r.subscribed, r.since
	return out, v.damaged(err)
}

// PubsubRelations lists who is what to a node, but for the owner.
// state.ErrNotFound: there is no such account or node.
func (v *View) PubsubRelations(account, name string) ([]state.PubsubRelation, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	n, err := v.node(v.db, id, name)
	if err != nil {
		return nil, v.readError(err)
	}
	out, err := v.readRelations(relationPrefix(id, n.number), name, "")
	return out, v.damaged(err)
}

// PubsubRelationsOf lists what somebody, by their bare JID, is to the nodes of an
// account, subscriptions of their devices included.
func (v *View) PubsubRelationsOf(account, who string) ([]state.PubsubRelation, error) {
	nodes, err := v.PubsubNodes(account)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	var out []state.PubsubRelation
	for i := range nodes {
		n, err := v.node(v.db, id, nodes[i].Name)
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, v.damaged(err)
		}
		found, err := v.readRelations(relationPrefix(id, n.number), n.name, who)
		if err != nil {
			return nil, v.damaged(err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// readRelations reads those of a node, of one bare JID if who is not "".
func (v *View) readRelations(prefix []byte, node, who string) (out []state.PubsubRelation, err error) {
	start := append(append([]byte(nil), prefix...), who...)
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: prefixEnd(start)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		jid := string(it.Key()[len(prefix):])
		if who != "" && bare(jid) != who {
			continue
		}
		r, err := parseRelation(it.Value())
		if err != nil {
			return nil, err
		}
		out = append(out, state.PubsubRelation{Node: node, JID: jid, Affiliation: r.affiliation, Subscribed: r.subscribed, Since: r.since})
	}
	return out, it.Error()
}
