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

	"bavard/internal/route"
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
	s, ok := route.CapsString(info)
	if !ok {
		return false
	}
	h.Write([]byte(s))
	return base64.StdEncoding.EncodeToString(h.Sum(nil)) == c.ver
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
