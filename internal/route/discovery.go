// SPDX-License-Identifier: Apache-2.0

package route

import (
	"crypto/sha1" //nolint:gosec // XEP-0115 names it; nothing secret rests on it
	"encoding/base64"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// capsNode identifies the software in entity capabilities.
const capsNode = "urn:bavard:caps"

// discovery is the feature that answers XEP-0030 for the domain and for
// accounts, from what all features registered.
func (t *Table) discovery() Feature {
	return Feature{
		Name: "discovery",
		Entries: []Entry{
			{Key{"iq", "get", xmlstream.Name{Space: stanza.NSDiscoInfo, Local: "query"}}, ToServer | ToSelf | ToAccount, t.info},
			{Key{"iq", "get", xmlstream.Name{Space: stanza.NSDiscoItems, Local: "query"}}, ToServer | ToSelf | ToAccount, t.items},
		},
		Domain:          []string{stanza.NSDiscoInfo, stanza.NSDiscoItems, stanza.NSCaps},
		Shared:          []string{stanza.NSDiscoInfo, stanza.NSDiscoItems},
		Identities:      []Identity{{"server", "im", "bavard"}},
		AccountIdentity: []Identity{{"account", "registered", ""}},
	}
}

func (t *Table) info(r *Request) []Effect {
	node := r.Payload.Get("node")
	if r.Target == ToAccount || r.Target == ToSelf && node != "" {
		return t.accountNodes(r)
	}
	d := t.domainD
	if r.Target == ToSelf {
		d = t.accountD
	}
	if node != "" && !(r.Target == ToServer && node == capsNode+"#"+t.ver) {
		var known bool
		if d, known = t.node(node); !known {
			d, known = t.commandInfo(r, node)
		}
		if !known {
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
		}
	}
	return r.Result(d.Info(node))
}

// Form makes a form for an answer to disco#info (XEP-0128 §recommendations
// @1.0.1). Fields without values are
// left out.
func Form(formType string, fields ...FormField) *xmlstream.Element {
	field := func(typ, name string, values ...string) *xmlstream.Element {
		f := xmlstream.New(stanza.NSData, "field", "type", typ, "var", name)
		for _, v := range values {
			f.Add(xmlstream.NewText(stanza.NSData, "value", v))
		}
		return f
	}
	x := xmlstream.New(stanza.NSData, "x", "type", "result").Add(field("hidden", "FORM_TYPE", formType))
	for _, f := range fields {
		if len(f.Values) > 0 {
			x.Add(field("list-multi", f.Name, f.Values...))
		}
	}
	return x
}

// FormField is a field that has any number of values.
type FormField struct {
	Name   string
	Values []string
}

// Info is the answer to disco#info (XEP-0030 §info @2.5.0); node may be "".
func (d *Discovery) Info(node string) *xmlstream.Element {
	q := xmlstream.New(stanza.NSDiscoInfo, "query", "node", node)
	for _, i := range d.Identities {
		q.Add(xmlstream.New(stanza.NSDiscoInfo, "identity", "category", i.Category, "type", i.Type, "name", i.Name))
	}
	for _, f := range d.Features {
		q.Add(xmlstream.New(stanza.NSDiscoInfo, "feature", "var", f))
	}
	return q.Add(d.Forms...)
}

// accountNodes hands on what concerns nodes of accounts, and other accounts.
func (t *Table) accountNodes(r *Request) []Effect {
	for i := range t.features {
		if answer := t.features[i].AccountNodes; answer != nil {
			if r.Target == ToAccount {
				return answer(r, t.contactD)
			}
			return answer(r, t.accountD)
		}
	}
	if r.Target == ToAccount {
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
	}
	return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
}

func (t *Table) node(node string) (Discovery, bool) {
	for _, f := range t.features {
		if d, ok := f.Nodes[node]; ok {
			return d, true
		}
	}
	return Discovery{}, false
}

func (t *Table) items(r *Request) []Effect {
	if r.Target != ToServer {
		return t.accountNodes(r)
	}
	node := r.Payload.Get("node")
	q := xmlstream.New(stanza.NSDiscoItems, "query", "node", node)
	known := node == "" || node == stanza.NSCommands
	for _, f := range t.features {
		items, has := f.Items[node]
		known = known || has
		for _, i := range items {
			q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", i.JID, "node", i.Node, "name", i.Name))
		}
	}
	if node == "" {
		for _, f := range t.features {
			if c := f.Component; c != nil {
				q.Add(xmlstream.New(stanza.NSDiscoItems, "item", "jid", c.Domain, "name", c.Name))
			}
		}
	}
	if !known { // XEP-0030 §errors @2.5.0
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
	}
	if node == stanza.NSCommands {
		t.addCommands(r, q)
	}
	return r.Result(q)
}

// verification is the hash of XEP-0115 §ver-gen @1.6.0 over the domain's
// answer to disco#info.
func verification(d *Discovery) string {
	s, _ := CapsString(d.Info(""))
	sum := sha1.Sum([]byte(s)) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (t *Table) caps() *xmlstream.Element {
	return xmlstream.New(stanza.NSCaps, "c", "hash", "sha-1", "node", capsNode, "ver", t.ver)
}
