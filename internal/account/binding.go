// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/base64"
	"slices"
	"strings"
)

// Binding is data that names the secure channel under a stream, the same at
// both of its ends and for no other channel (RFC 5056 §2).
type Binding struct {
	Type string // as registered, like "tls-exporter"
	Data []byte
}

// Offer is how a client may log in on one stream, and what it was told of
// that: a client that says it was told something else is a sign of somebody in
// between. SASL2's offer is another than SASL's.
type Offer struct {
	// Mechanisms, the preferred one first.
	Mechanisms []string
	// Bindings of the channel; none where it ends elsewhere, at a proxy.
	Bindings []Binding
}

// NewOffer gives what to offer. PLAIN is for streams that nobody else can read.
func NewOffer(plain bool, bindings []Binding) Offer {
	o := Offer{Bindings: bindings}
	if len(bindings) > 0 {
		o.Mechanisms = append(o.Mechanisms, scramSHA256.name+plusSuffix, scramSHA1.name+plusSuffix)
	}
	o.Mechanisms = append(o.Mechanisms, scramSHA256.name, scramSHA1.name)
	if plain {
		o.Mechanisms = append(o.Mechanisms, "PLAIN")
	}
	return o
}

// Types names the channel bindings, in order.
func (o Offer) Types() []string {
	types := make([]string, 0, len(o.Bindings))
	for _, b := range o.Bindings {
		types = append(types, b.Type)
	}
	return types
}

// binding finds the data of a type.
func (o Offer) binding(typ string) ([]byte, bool) {
	for _, b := range o.Bindings {
		if b.Type == typ {
			return b.Data, true
		}
	}
	return nil, false
}

// plus reports whether a mechanism with channel binding is offered.
func (o Offer) plus() bool {
	return slices.ContainsFunc(o.Mechanisms, func(m string) bool { return strings.HasSuffix(m, plusSuffix) })
}

// digest is the attribute h of the server's first message, a hash of what was
// offered that the client's proof covers: nobody in between can shorten the
// offer unseen (XEP-0474 §hash @0.5.0).
func (o Offer) digest(m mechanism) string {
	s := strings.Join(slices.Sorted(slices.Values(o.Mechanisms)), "\x1e")
	if len(o.Bindings) > 0 {
		s += "\x1f" + strings.Join(slices.Sorted(slices.Values(o.Types())), "\x1e")
	}
	return base64.StdEncoding.EncodeToString(m.sum([]byte(s)))
}
