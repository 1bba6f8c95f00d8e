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

// relate changes relations; by is who asks for it.
func relate(account, node, by string, relations ...*command.PubsubRelation) *command.Command {
	return &command.Command{Request: &command.Command_PubsubRelate{PubsubRelate: &command.PubsubRelate{
		Account: at(account), Node: node, By: at(by), Relations: relations,
	}}}
}

func affiliated(who string, a command.NodeAffiliation) *command.PubsubRelation {
	return &command.PubsubRelation{Jid: at(who), Affiliation: a.Enum()}
}

func joined(who string) *command.PubsubRelation {
	return affiliated(who, command.NodeAffiliation_NODE_AFFILIATION_MEMBER)
}

func banned(who string) *command.PubsubRelation {
	return affiliated(who, command.NodeAffiliation_NODE_AFFILIATION_OUTCAST)
}

func nobody(who string) *command.PubsubRelation {
	return affiliated(who, command.NodeAffiliation_NODE_AFFILIATION_NONE)
}

func subscribed(who string, on bool) *command.PubsubRelation {
	return &command.PubsubRelation{Jid: at(who), Subscribed: &on}
}

// subscribes has somebody subscribe themselves, or end it.
func subscribes(account, node, who string, on bool) *command.Command {
	return relate(account, node, bare(who), subscribed(who, on))
}

func (c *cellOf) relations(account, node string) string {
	c.t.Helper()
	list, err := c.v.PubsubRelations(at(account), node)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, r := range list {
		s := strings.ReplaceAll(r.JID, "@"+domain, "")
		if r.Affiliation != 0 {
			s += ":" + strings.ToLower(strings.TrimPrefix(r.Affiliation.String(), "NODE_AFFILIATION_"))
		}
		if r.Subscribed {
			s += "+"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func access(m command.AccessModel) *command.PubsubConfig {
	return &command.PubsubConfig{AccessModel: m.Enum()}
}

// refusedWith wants a condition of XEP-0060.
func (c *cellOf) refusedWith(cmd *command.Command, cond stanza.Condition, app string) {
	c.t.Helper()
	err := c.apply(cmd).Outcomes[0].Err
	if err == nil || err.Condition != cond || app != "" && !err.App.Is(stanza.NSPubsubErrors, app) {
		c.t.Errorf("error %v, want %s and %s", err, cond, app)
	}
}

func TestSubscribing(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(createNode("ann", "open", access(command.AccessModel_ACCESS_MODEL_OPEN)))
	c.accept(createNode("ann", "contacts", nil))
	c.accept(createNode("ann", "closed", access(command.AccessModel_ACCESS_MODEL_WHITELIST)))
	events := c.accept(subscribes("ann", "open", "bob/x", true))
	if len(events) != 1 || events[0].Pubsub.Kind != state.PubsubRelated || len(events[0].Pubsub.Relations) != 1 || !events[0].Pubsub.Relations[0].Changed || events[0].Pubsub.By != at("bob") {
		t.Fatalf("events %+v", events)
	}
	c.accept(subscribes("ann", "open", "bob", true))
	if events := c.accept(subscribes("ann", "open", "bob", true)); len(events) != 0 {
		t.Errorf("twice: events %v", kinds(events))
	}
	if got := c.relations("ann", "open"); got != "bob+ bob/x+" {
		t.Error(got)
	}
	if list, err := c.v.PubsubRelationsOf(at("ann"), at("bob")); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	c.accept(subscribes("ann", "open", "bob/x", false))
	c.refusedWith(subscribes("ann", "open", "bob/x", false), stanza.UnexpectedRequest, "not-subscribed")
	c.refusedWith(subscribes("ann", "contacts", "bob", true), stanza.NotAuthorized, "presence-subscription-required")
	c.refusedWith(subscribes("ann", "closed", "bob", true), stanza.NotAllowed, "closed-node")
	c.refusedWith(subscribes("ann", "none", "bob", true), stanza.ItemNotFound, "")
	c.refusedWith(relate("ann", "open", "bob", subscribed("eve", true)), stanza.BadRequest, "invalid-jid")
	c.refusedWith(relate("ann", "open", "bob", joined("bob")), stanza.Forbidden, "")
	c.accept(subscribing("bob", "ann", subscribeType))
	c.accept(subscribing("ann", "bob", subscribedType))
	c.accept(subscribes("ann", "contacts", "bob", true))
	c.accept(block("ann", at("eve")))
	c.refusedWith(subscribes("ann", "open", "eve", true), stanza.ServiceUnavailable, "")
	c.accept(deleteNode("ann", "open"))
	c.accept(createNode("ann", "open", nil))
	if got := c.relations("ann", "open"); got != "" {
		t.Errorf("a new node has subscribers of an old one: %s", got)
	}
	if _, err := c.v.PubsubRelations(at("nobody"), "open"); !errors.Is(err, state.ErrNotFound) {
		t.Error(err)
	}
	c.scrub()
}

func TestAffiliations(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.accept(createNode("ann", "n", access(command.AccessModel_ACCESS_MODEL_WHITELIST)))
	if events := c.accept(relate("ann", "n", "ann", joined("bob"), joined("eve"))); len(events) != 1 || len(events[0].Pubsub.Relations) != 2 || events[0].Pubsub.Relations[0].Changed {
		t.Errorf("events %+v", events)
	}
	c.accept(subscribes("ann", "n", "bob/x", true))
	c.accept(subscribes("ann", "n", "eve", true))
	// Who is no member any more is no subscriber either.
	events := c.accept(relate("ann", "n", "ann", nobody("bob")))
	if got := c.relations("ann", "n"); got != "eve:member+" || len(events) != 1 || len(events[0].Pubsub.Relations) != 2 || !events[0].Pubsub.Relations[1].Changed {
		t.Errorf("%s, events %+v", got, events)
	}
	c.accept(relate("ann", "n", "ann", banned("eve")))
	if got := c.relations("ann", "n"); got != "eve:outcast" {
		t.Error(got)
	}
	c.accept(configure("ann", "n", access(command.AccessModel_ACCESS_MODEL_OPEN)))
	c.refusedWith(subscribes("ann", "n", "eve", true), stanza.Forbidden, "")
	c.accept(relate("ann", "n", "ann", subscribed("bob", true))) // the owner may
	if got := c.relations("ann", "n"); got != "bob+ eve:outcast" {
		t.Error(got)
	}
	c.refusedWith(relate("ann", "n", "ann", banned("ann")), stanza.NotAcceptable, "")
	c.refusedWith(relate("ann", "n", "ann", joined("bob/x")), stanza.NotAcceptable, "")
	c.refusedWith(relate("ann", "n", "ann", affiliated("bob", 9)), stanza.NotAcceptable, "")
	c.refusedWith(relate("ann", "n", "ann", &command.PubsubRelation{Subscribed: proto.Bool(true)}), stanza.BadRequest, "invalid-jid")
	c.apply(relate("ann", "n", "ann", subscribed("bob/y", true)), remove("bob"), create("bob"))
	if got := c.relations("ann", "n"); got != "eve:outcast" {
		t.Errorf("who has the name of a removed account is taken for it: %s", got)
	}
	c.accept(remove("ann"))
	c.accept(create("ann"))
	c.accept(createNode("ann", "n", nil))
	if got := c.relations("ann", "n"); got != "" {
		t.Error(got)
	}
}

func TestRelationsAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(createNode("ann", "n", access(command.AccessModel_ACCESS_MODEL_OPEN)))
	var all []*command.PubsubRelation
	for i := range state.PubsubRelations {
		all = append(all, joined(fmt.Sprint("m", i)))
	}
	c.accept(relate("ann", "n", "ann", all...))
	c.refusedWith(subscribes("ann", "n", "bob", true), stanza.PolicyViolation, "too-many-subscriptions")
	c.refused(relate("ann", "n", "ann", append(slices.Clone(all), nobody("m0"))...), stanza.PolicyViolation)
	c.accept(relate("ann", "n", "ann", nobody("m0")))
	c.accept(subscribes("ann", "n", "bob", true))
}

func randomRelation(r *rapid.T, account, node string) *command.Command {
	who := rapid.SampledFrom([]string{"bob", "eve", "eve/x"}).Draw(r, "who")
	switch rapid.IntRange(0, 3).Draw(r, "relation") {
	case 0:
		return relate(account, node, account, affiliated(bare(who), command.NodeAffiliation(rapid.IntRange(0, 2).Draw(r, "affiliation"))))
	case 1:
		return relate(account, node, account, subscribed(who, rapid.Bool().Draw(r, "on")))
	}
	return subscribes(account, node, who, rapid.Bool().Draw(r, "on"))
}

func relationsOf(e *state.PubsubEvent) string {
	if e == nil {
		return ""
	}
	var out []any
	for _, r := range e.Relations {
		r.Since = command.Position{} // depends on the batches
		out = append(out, r)
	}
	return fmt.Sprint(out, e.By)
}
