// SPDX-License-Identifier: Apache-2.0

package route

import (
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Command is an ad-hoc command of the domain (XEP-0050).
type Command struct {
	Node, Name string
	// Allowed says which accounts, by bare JID, may see and execute it; nil for
	// all.
	Allowed func(jid.JID) bool
	// Execute handles each request of the command but cancelling it.
	Execute Handler
}

func (c *Command) allows(r *Request) bool { return c.Allowed == nil || c.Allowed(r.From.Bare()) }

// adhoc is the feature that dispatches the commands that the others brought.
func (t *Table) adhoc() (Feature, bool) {
	f := Feature{
		Name:   "ad-hoc commands",
		Domain: []string{stanza.NSCommands},
		Entries: []Entry{{
			Key: Key{"iq", "set", xmlstream.Name{Space: stanza.NSCommands, Local: "command"}}, Targets: ToServer, Handle: t.command,
		}},
		Nodes: map[string]Discovery{
			stanza.NSCommands: {Identities: []Identity{{Category: "automation", Type: "command-list", Name: "Commands"}}},
		},
	}
	some := false
	for _, other := range t.features {
		some = some || len(other.Commands) > 0
	}
	return f, some
}

// find gives the command of a node, nil when there is none.
func (t *Table) find(node string) *Command {
	for i := range t.features {
		for j := range t.features[i].Commands {
			if c := &t.features[i].Commands[j]; c.Node == node {
				return c
			}
		}
	}
	return nil
}

// command executes a command (XEP-0050 §execute @1.3.0).
func (t *Table) command(r *Request) []Effect {
	node := r.Payload.Get("node")
	c := t.find(node)
	switch {
	case c == nil:
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such command")
	case !c.allows(r):
		return r.Err(stanza.Auth, stanza.Forbidden, "this command is for who runs the server")
	case r.Payload.Get("action") == "cancel":
		return r.Result(xmlstream.New(stanza.NSCommands, "command", "node", node, "sessionid", r.Payload.Get("sessionid"), "status", "canceled"))
	}
	return c.Execute(r)
}

// commandInfo describes a command to who may execute it.
func (t *Table) commandInfo(r *Request, node string) (Discovery, bool) {
	c := t.find(node)
	if c == nil || !c.allows(r) {
		return Discovery{}, false
	}
	return Discovery{
		Identities: []Identity{{Category: "automation", Type: "command-node", Name: c.Name}},
		Features:   []string{stanza.NSCommands, stanza.NSData},
	}, true
}

// addCommands lists the commands that the sender may execute.
func (t *Table) addCommands(r *Request, list *xmlstream.Element) {
	for i := range t.features {
		for j := range t.features[i].Commands {
			if c := &t.features[i].Commands[j]; c.allows(r) {
				list.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", t.domain, "node", c.Node, "name", c.Name))
			}
		}
	}
}
