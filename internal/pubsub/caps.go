// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"crypto/sha1" //nolint:gosec // XEP-0115 names it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"slices"
	"strings"

	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Bounds of what is remembered of clients' capabilities.
const (
	// capsMost bounds each of two generations of known capabilities.
	capsMost = 2048
	// interestMost and interestBytes bound the nodes that a client is interested
	// in, and their names together.
	interestMost  = 128
	interestBytes = 16 << 10
	// capsText bounds node and ver of a client's presence, in bytes.
	capsText = 512
)

// caps are entity capabilities, as presence has them
// (XEP-0115 §protocol @1.6.0).
type caps struct{ hash, node, ver string }

// capsOf reads presence; false when it has none that are usable.
func capsOf(presence *xmlstream.Element) (caps, bool) {
	c := presence.Child(stanza.NSCaps, "c")
	if c == nil {
		return caps{}, false
	}
	id := caps{c.Get("hash"), c.Get("node"), c.Get("ver")}
	return id, id.node != "" && id.ver != "" && len(id.hash)+len(id.node)+len(id.ver) <= capsText
}

// queryID of the request for capabilities; the answer has it, too.
func (c caps) queryID() string { return "caps-" + c.ver }

// query asks a device what the software is that has these capabilities
// (XEP-0115 §discover @1.6.0).
func (c caps) query() *xmlstream.Element {
	return xmlstream.New(stanza.NSDiscoInfo, "query", "node", c.node+"#"+c.ver)
}

// interests are the nodes whose changes a client wants to be notified of, from
// its answer to disco#info (XEP-0060 §filtered-notifications @1.30.0), sorted.
func interests(info *xmlstream.Element) []string {
	var out []string
	size := 0
	for _, f := range info.Elements() {
		if !f.Is(stanza.NSDiscoInfo, "feature") {
			continue
		}
		node, ok := strings.CutSuffix(f.Get("var"), "+notify")
		if !ok || node == "" || len(node) > state.PubsubName {
			continue
		}
		if size += len(node); size > interestBytes || len(out) == interestMost {
			break
		}
		out = append(out, strings.Clone(node))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// verified reports whether an answer to disco#info hashes to what presence
// said, so that it holds for all who say the same (XEP-0115 §ver-proc @1.6.0).
func (c caps) verified(info *xmlstream.Element) bool {
	var h hash.Hash
	switch c.hash {
	case "sha-1":
		h = sha1.New() //nolint:gosec // see the import
	case "sha-224":
		h = sha256.New224()
	case "sha-256":
		h = sha256.New()
	case "sha-384":
		h = sha512.New384()
	case "sha-512":
		h = sha512.New()
	default:
		return false
	}
	s, ok := verification(info)
	if !ok {
		return false
	}
	h.Write([]byte(s))
	return base64.StdEncoding.EncodeToString(h.Sum(nil)) == c.ver
}

// verification is the string that is hashed (XEP-0115 §ver-gen @1.6.0); false
// for an answer that is ill-formed.
func verification(info *xmlstream.Element) (string, bool) {
	var identities, features, forms []string
	for _, e := range info.Elements() {
		switch {
		case e.Is(stanza.NSDiscoInfo, "identity"):
			identities = append(identities, strings.Join([]string{e.Get("category"), e.Get("type"), e.Lang(), e.Get("name")}, slash))
		case e.Is(stanza.NSDiscoInfo, "feature"):
			features = append(features, e.Get("var"))
		case e.Is(stanza.NSData, "x"):
			s, counts, ok := verifyForm(e)
			if !ok {
				return "", false
			}
			if counts {
				forms = append(forms, s)
			}
		}
	}
	var b strings.Builder
	for _, list := range [][]string{identities, features} {
		slices.Sort(list)
		for i, s := range list {
			if i > 0 && s == list[i-1] || strings.Contains(s, "<") {
				return "", false
			}
			b.WriteString(s + less)
		}
	}
	slices.Sort(forms)
	for i, s := range forms {
		if name, _, _ := strings.Cut(s, less); i > 0 && strings.HasPrefix(forms[i-1], name+less) {
			return "", false
		}
		b.WriteString(s)
	}
	return strings.NewReplacer(less, "<", slash, "/").Replace(b.String()), true
}

// What stands for "<" and "/" until all is sorted: no XML text holds them, and
// they sort before everything that it does.
const less, slash = "\x00", "\x01"

// verifyForm is verification for a form (XEP-0128); one without FORM_TYPE does
// not count.
func verifyForm(x *xmlstream.Element) (s string, counts, ok bool) {
	var formType string
	var fields []string
	for _, f := range x.Elements() {
		if !f.Is(stanza.NSData, "field") {
			continue
		}
		var values []string
		for _, v := range f.Elements() {
			if v.Is(stanza.NSData, "value") {
				if strings.Contains(v.Text(), "<") {
					return "", false, false
				}
				values = append(values, v.Text()+less)
			}
		}
		slices.Sort(values)
		name := f.Get("var")
		if name != "FORM_TYPE" {
			fields = append(fields, name+less+strings.Join(values, ""))
			continue
		}
		if values = slices.Compact(values); len(values) != 1 || formType != "" {
			return "", false, false
		}
		if f.Get("type") == "hidden" {
			formType = values[0]
		}
	}
	if formType == "" {
		return "", false, true
	}
	slices.Sort(fields)
	return formType + strings.Join(fields, ""), true, true
}

// known are verified capabilities, in two generations: what is asked for again
// moves into the younger; when that is full, the elder is forgotten.
type known struct{ young, old map[caps][]string }

func (k *known) get(c caps) ([]string, bool) {
	if names, ok := k.young[c]; ok {
		return names, true
	}
	names, ok := k.old[c]
	if ok {
		k.put(c, names)
	}
	return names, ok
}

func (k *known) put(c caps, names []string) {
	if k.young == nil || len(k.young) >= capsMost {
		k.young, k.old = map[caps][]string{}, k.young
	}
	k.young[c] = names
}
