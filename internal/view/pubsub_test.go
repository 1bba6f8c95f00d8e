// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func publish(account, node, item, payload string, options *command.PubsubConfig) *command.Command {
	return &command.Command{Request: &command.Command_PubsubPublish{PubsubPublish: &command.PubsubPublish{
		Account: at(account), Node: node, Item: item, Publisher: at(account) + "/x", Payload: []byte(payload), Options: options,
	}}}
}

func retract(account, node, item string) *command.Command {
	return &command.Command{Request: &command.Command_PubsubRetract{
		PubsubRetract: &command.PubsubRetract{Account: at(account), Node: node, Item: item},
	}}
}

func createNode(account, node string, c *command.PubsubConfig) *command.Command {
	return &command.Command{Request: &command.Command_PubsubCreate{
		PubsubCreate: &command.PubsubCreate{Account: at(account), Node: node, Config: c},
	}}
}

func configure(account, node string, c *command.PubsubConfig) *command.Command {
	return &command.Command{Request: &command.Command_PubsubConfigure{
		PubsubConfigure: &command.PubsubConfigure{Account: at(account), Node: node, Config: c},
	}}
}

func deleteNode(account, node string) *command.Command {
	return &command.Command{Request: &command.Command_PubsubDelete{
		PubsubDelete: &command.PubsubDelete{Account: at(account), Node: node},
	}}
}

func purge(account, node string) *command.Command {
	return &command.Command{Request: &command.Command_PubsubPurge{
		PubsubPurge: &command.PubsubPurge{Account: at(account), Node: node},
	}}
}

func keeps(n uint32) *command.PubsubConfig { return &command.PubsubConfig{MaxItems: proto.Uint32(n)} }

// randomPubsub draws commands about few nodes and items, so that they meet.
func randomPubsub(r *rapid.T, account string) *command.Command {
	some := func(label string, n int) string { return label + fmt.Sprint(rapid.IntRange(0, n).Draw(r, label)) }
	node, item := some("node", 2), some("item", 4)
	options := rapid.SampledFrom([]*command.PubsubConfig{
		nil, nil, keeps(0), keeps(1), keeps(2), keeps(3), keeps(2000),
		{AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum()},
		{PersistItems: proto.Bool(false)},
		{PersistItems: proto.Bool(true), MaxItems: proto.Uint32(3)},
		{RosterGroups: &command.PubsubGroups{Groups: []string{"a"}}},
		{RosterGroups: &command.PubsubGroups{}},
	}).Draw(r, "options")
	switch rapid.IntRange(0, 11).Draw(r, "pubsub") {
	case 10, 11:
		return randomRelation(r, account, node)
	case 0:
		return createNode(account, node, options)
	case 1:
		return configure(account, node, options)
	case 2:
		return deleteNode(account, node)
	case 3:
		return purge(account, node)
	case 4:
		return retract(account, node, item)
	case 5:
		return publish(account, node, item, some("payload", 100), options)
	}
	return publish(account, node, item, some("payload", 100), nil)
}

// settings writes a configuration in one way only.
func settings(c *command.PubsubConfig) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	return fmt.Sprintf("%x %v", b, err)
}

func published(e *state.PubsubEvent) string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%d %s %s %s %s %v", e.Kind, e.Node, settings(e.Config), e.Item.ID, e.Item.Payload, e.Notify)
}

// checkNodes: the counts of nodes, items and bytes are those of the records,
// no node has more items than it keeps, and each item is listed once.
func checkNodes(t rapid.TB, v *View) {
	for _, p := range people {
		nodes, err := v.PubsubNodes(at(p))
		if err != nil {
			continue
		}
		id, err := v.accountID(v.db, at(p))
		if err != nil {
			t.Fatal(err)
		}
		var of owned
		if b, err := v.get(v.db, idKey(tablePubsubOf, id)); err == nil {
			if of, err = parseOwned(b); err != nil {
				t.Fatal(err)
			}
		}
		var bytes uint64
		for _, n := range nodes {
			page, err := v.PubsubItems(at(p), n.Name, state.PubsubQuery{})
			if err != nil || !page.Complete || len(page.Items) != n.Items {
				t.Fatalf("%s %s: %d items of %d, %v", p, n.Name, len(page.Items), n.Items, err)
			}
			if limit := n.Config.GetMaxItems(); limit > 0 && n.Items > int(limit) || n.Items > 0 && !n.Config.GetPersistItems() {
				t.Fatalf("%s %s keeps %d items", p, n.Name, n.Items)
			}
			for _, i := range page.Items {
				bytes += uint64(len(i.ID) + len(i.Publisher) + len(i.Payload))
			}
		}
		if int(of.nodes) != len(nodes) || of.bytes != bytes {
			t.Fatalf("%s: counts %+v, records: %d nodes, %d bytes", p, of, len(nodes), bytes)
		}
	}
}

func (c *cellOf) items(account, node string, q state.PubsubQuery) string {
	c.t.Helper()
	p, err := c.v.PubsubItems(at(account), node, q)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, i := range p.Items {
		out = append(out, i.ID+"="+string(i.Payload))
	}
	if !p.Complete {
		out = append(out, "…")
	}
	return strings.Join(out, " ")
}

func TestPublishing(t *testing.T) {
	c := newCell(t, "ann")
	events := c.accept(publish("ann", "n", "a", "1", keeps(3)))
	if len(events) != 1 || events[0].Kind != state.EventPubsub || events[0].Account != at("ann") {
		t.Fatalf("events %+v", events)
	}
	e := events[0].Pubsub
	if e.Kind != state.PubsubPublished || e.Node != "n" || e.Item.ID != "a" || string(e.Item.Payload) != "1" || e.Config.GetMaxItems() != 3 {
		t.Fatalf("event %+v", e)
	}
	c.accept(publish("ann", "n", "b", "2", nil))
	c.accept(publish("ann", "n", "c", "3", keeps(3)))
	c.accept(publish("ann", "n", "a", "4", nil)) // is the newest now
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "a=4 c=3 b=2" {
		t.Fatal(got)
	}
	c.accept(publish("ann", "n", "d", "5", nil)) // pushes b out
	for q, want := range map[*state.PubsubQuery]string{
		{}:                             "d=5 a=4 c=3",
		{Max: 2}:                       "d=5 a=4 …",
		{After: "a"}:                   "c=3",
		{After: "d", Max: 1}:           "a=4 …",
		{Backward: true, Max: 1}:       "c=3 …",
		{Backward: true, Before: "c"}:  "d=5 a=4",
		{IDs: []string{"c", "x", "d"}}: "c=3 d=5",
		{After: "b"}:                   "not found",
	} {
		if got := c.items("ann", "n", *q); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
	c.accept(retract("ann", "n", "a"))
	c.refused(retract("ann", "n", "a"), stanza.ItemNotFound)
	c.accept(configure("ann", "n", keeps(1)))
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "d=5" {
		t.Fatal(got)
	}
	c.accept(purge("ann", "n"))
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "" {
		t.Fatal(got)
	}
	c.accept(publish("ann", "n", "e", "6", nil))
	c.accept(deleteNode("ann", "n"))
	c.refused(deleteNode("ann", "n"), stanza.ItemNotFound)
	c.accept(createNode("ann", "n", nil))
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "" {
		t.Fatalf("a new node has items of an old one: %s", got)
	}
	checkNodes(t, c.v)
}

// In one batch the same comes out.
func TestPublishingInOneBatch(t *testing.T) {
	c := newCell(t, "ann")
	var cmds []*command.Command
	for i := range 50 {
		cmds = append(cmds, publish("ann", "n", fmt.Sprint(i), "p", keeps(2)))
	}
	cmds = append(cmds, retract("ann", "n", "49"), publish("ann", "n", "last", "p", nil), configure("ann", "n", keeps(1)), publish("ann", "n", "really", "p", nil))
	for _, o := range c.apply(cmds...).Outcomes {
		if o.Verdict != command.Accepted {
			t.Fatalf("outcome %+v", o)
		}
	}
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "really=p" {
		t.Fatal(got)
	}
	checkNodes(t, c.v)
}

func TestPublishOptionsAreConditions(t *testing.T) {
	c := newCell(t, "ann")
	open := &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_OPEN.Enum(), MaxItems: proto.Uint32(1)}
	c.accept(publish("ann", "n", "a", "1", open))
	c.accept(publish("ann", "n", "a", "2", open))
	r := c.apply(publish("ann", "n", "a", "3", &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum()}))
	err := r.Outcomes[0].Err
	if err == nil || err.Condition != stanza.Conflict || !err.App.Is(stanza.NSPubsubErrors, "precondition-not-met") {
		t.Fatalf("error %v", err)
	}
	n, nerr := c.v.PubsubNode(at("ann"), "n")
	if nerr != nil || n.Config.GetAccessModel() != command.AccessModel_ACCESS_MODEL_OPEN || !n.Config.GetPersistItems() || n.Items != 1 {
		t.Fatalf("%+v, %v", n, nerr)
	}
}

func TestNodeThatKeepsNothing(t *testing.T) {
	c := newCell(t, "ann")
	if e := c.accept(publish("ann", "n", "a", "1", &command.PubsubConfig{PersistItems: proto.Bool(false)})); len(e) != 1 {
		t.Fatalf("events %v", e)
	}
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "" {
		t.Fatal(got)
	}
	c.refused(purge("ann", "n"), stanza.FeatureNotImplemented)
	c.accept(configure("ann", "n", &command.PubsubConfig{PersistItems: proto.Bool(true)}))
	c.accept(publish("ann", "n", "a", "2", nil))
	c.accept(configure("ann", "n", &command.PubsubConfig{PersistItems: proto.Bool(false)}))
	if got := c.items("ann", "n", state.PubsubQuery{}); got != "" {
		t.Fatal(got)
	}
	checkNodes(t, c.v)
}

func TestPubsubRefusals(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(createNode("ann", "n", nil))
	for cond, cmds := range map[stanza.Condition][]*command.Command{
		stanza.NotAuthorized: {publish("nobody", "n", "a", "1", nil), createNode("nobody", "n", nil)},
		stanza.Conflict:      {createNode("ann", "n", nil)},
		stanza.ItemNotFound:  {retract("ann", "x", "a"), retract("ann", "n", ""), configure("ann", "x", nil), purge("ann", "x")},
		stanza.NotAcceptable: {
			publish("ann", "", "a", "1", nil), publish("ann", "n", "", "1", nil),
			publish("ann", strings.Repeat("n", state.PubsubName+1), "a", "1", nil),
			publish("ann", "n", strings.Repeat("i", state.PubsubName+1), "1", nil),
			publish("ann", "n", "a", strings.Repeat("1", state.PubsubPayload+1), nil),
			createNode("ann", "m", keeps(state.PubsubItems+1)),
			createNode("ann", "m", &command.PubsubConfig{AccessModel: command.AccessModel(9).Enum()}),
			configure("ann", "n", &command.PubsubConfig{SendLast: command.SendLast(9).Enum()}),
			configure("ann", "n", &command.PubsubConfig{Title: proto.String(strings.Repeat("t", state.PubsubText+1))}),
			configure("ann", "n", &command.PubsubConfig{RosterGroups: &command.PubsubGroups{Groups: make([]string, state.PubsubGroups+1)}}),
		},
	} {
		for _, cmd := range cmds {
			c.refused(cmd, cond)
		}
	}
}

func TestNodesAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	var cmds []*command.Command
	for i := range state.PubsubNodes {
		cmds = append(cmds, createNode("ann", fmt.Sprint(i), nil))
	}
	c.apply(cmds...)
	c.refused(createNode("ann", "more", nil), stanza.ResourceConstraint)
	c.refused(publish("ann", "more", "a", "1", nil), stanza.ResourceConstraint)
	c.accept(deleteNode("ann", "7"))
	c.accept(publish("ann", "more", "a", "1", nil))

	cmds = nil
	for i := range state.PubsubItems + 1 {
		cmds = append(cmds, publish("bob", "many", fmt.Sprint(i), "1", keeps(0)))
	}
	c.apply(cmds...)
	p, err := c.v.PubsubItems(at("bob"), "many", state.PubsubQuery{})
	if err != nil || len(p.Items) != state.PubsubItems || p.Items[0].ID != fmt.Sprint(state.PubsubItems) || p.Items[len(p.Items)-1].ID != "1" {
		t.Fatalf("%d items, %v", len(p.Items), err)
	}
}

func TestItemsTakeBoundedRoom(t *testing.T) {
	c := newCell(t, "ann")
	big := strings.Repeat("x", state.PubsubPayload)
	n := 0
	for ; ; n++ {
		if o := c.apply(publish("ann", "n", fmt.Sprint(n), big, keeps(0))).Outcomes[0]; o.Err != nil {
			if o.Err.Condition != stanza.ResourceConstraint {
				t.Fatal(o.Err)
			}
			break
		}
	}
	if n != state.PubsubBytes/state.PubsubPayload {
		t.Fatalf("%d items of the largest size are kept", n)
	}
	c.accept(publish("ann", "n", "0", big, nil))
	p, err := c.v.PubsubItems(at("ann"), "n", state.PubsubQuery{})
	if err != nil || p.Complete || len(p.Items)*state.PubsubPayload > pageBytes+state.PubsubPayload {
		t.Fatalf("a page of %d items, complete %v, %v", len(p.Items), p.Complete, err)
	}
	c.accept(purge("ann", "n"))
	c.accept(publish("ann", "n", "a", big, nil))
}

func TestLastItems(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(publish("ann", "n", "a", "1", keeps(0)))
	c.accept(publish("ann", "n", "b", "2", nil))
	c.accept(publish("ann", "m", "c", "3", nil))
	c.accept(createNode("ann", "empty", nil))
	last, err := c.v.PubsubLast(at("ann"), []string{"empty", "m", "n", "none"})
	var got []string
	for _, l := range last {
		got = append(got, l.Node.Name+":"+l.Item.ID)
	}
	if err != nil || !slices.Equal(got, []string{"m:c", "n:b"}) {
		t.Fatal(got, err)
	}
	if last, err := c.v.PubsubLast(at("bob"), []string{"n"}); err != nil || last != nil {
		t.Fatal(last, err)
	}
	if _, err := c.v.PubsubLast(at("nobody"), []string{"n"}); !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := c.v.PubsubNode(at("ann"), "none"); !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
}
