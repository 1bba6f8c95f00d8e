// SPDX-License-Identifier: Apache-2.0

// Package jid holds XMPP addresses (RFC 7622). An address is normalised once,
// when it is made; two addresses are the same exactly when their values are
// equal. It is a package of words: it imports nothing of ours.
package jid

import "strings"

// MaxPart is the size limit of a localpart, domainpart or resourcepart, in
// bytes of UTF-8 after normalisation (RFC 7622 §3.1).
const MaxPart = 1023

// JID is an address: localpart@domainpart/resourcepart, of which only the
// domainpart is required. The zero JID is no address. JIDs are comparable and
// can be map keys.
type JID struct {
	s     string
	at    uint16 // length of the localpart, 0 when there is none
	slash uint16 // length of the bare JID
}

// Error says why a string is no address. Answer it with the stanza error
// jid-malformed (RFC 6120 §8.3.3.8).
type Error struct {
	Part   string // "localpart", "domainpart", "resourcepart" or "address"
	Reason string
}

func (e *Error) Error() string { return "malformed " + e.Part + ": " + e.Reason }

// Parse splits s as RFC 7622 §3.1 says (at the first '/', then at the first
// '@' before it) and normalises its parts.
func Parse(s string) (JID, error) {
	bare, resource, hasResource := strings.Cut(s, "/")
	if hasResource && resource == "" {
		return JID{}, &Error{"resourcepart", "empty; leave out the '/'"}
	}
	local, domain, hasLocal := strings.Cut(bare, "@")
	if !hasLocal {
		local, domain = "", bare
	} else if local == "" {
		return JID{}, &Error{"localpart", "empty; leave out the '@'"}
	}
	return build(s, local, domain, resource)
}

// ParseBare is Parse that refuses an address with a resourcepart.
func ParseBare(s string) (JID, error) {
	j, err := Parse(s)
	if err == nil && !j.IsBare() {
		return JID{}, &Error{"address", "a bare address is expected, without '/' and what follows"}
	}
	return j, err
}

// Make builds an address of its parts, normalising them; local and resource
// may be "".
func Make(local, domain, resource string) (JID, error) {
	return build("", local, domain, resource)
}

// build normalises the parts; whole is the string that they were cut from,
// kept without a copy when nothing changes, or "".
func build(whole, local, domain, resource string) (JID, error) {
	var err error
	if local, err = normaliseLocal(local); err != nil {
		return JID{}, err
	}
	if domain, err = normaliseDomain(domain); err != nil {
		return JID{}, err
	}
	if resource, err = normaliseResource(resource); err != nil {
		return JID{}, err
	}
	return join(whole, local, domain, resource), nil
}

// join puts normalised parts together.
func join(whole, local, domain, resource string) JID {
	n := len(domain)
	if local != "" {
		n += len(local) + 1
	}
	j := JID{at: uint16(len(local)), slash: uint16(n)}
	if resource != "" {
		n += 1 + len(resource)
	}
	if sameParts(whole, n, local, domain, resource) {
		j.s = whole
		return j
	}
	b := make([]byte, 0, n)
	if local != "" {
		b = append(append(b, local...), '@')
	}
	b = append(b, domain...)
	if resource != "" {
		b = append(append(b, '/'), resource...)
	}
	j.s = string(b)
	return j
}

// sameParts tells whether whole is already the join of the parts. Its '@' and
// '/' are where the parts end, since whole is what the parts were cut from.
func sameParts(whole string, n int, local, domain, resource string) bool {
	if len(whole) != n || !strings.HasPrefix(whole, local) || !strings.HasSuffix(whole, resource) {
		return false
	}
	i := 0
	if local != "" {
		i = len(local) + 1
	}
	return whole[i:i+len(domain)] == domain
}

// Local returns the localpart, "" when there is none.
func (j JID) Local() string { return j.s[:j.at] }

// Domain returns the domainpart.
func (j JID) Domain() string {
	if j.at == 0 {
		return j.s[:j.slash]
	}
	return j.s[j.at+1 : j.slash]
}

// Resource returns the resourcepart, "" when there is none.
func (j JID) Resource() string {
	if j.IsBare() {
		return ""
	}
	return j.s[j.slash+1:]
}

// Bare returns the address without its resourcepart.
func (j JID) Bare() JID { return JID{j.s[:j.slash], j.at, j.slash} }

// DomainJID returns the address of the domain alone.
func (j JID) DomainJID() JID {
	d := j.Domain()
	return JID{s: d, slash: uint16(len(d))}
}

// IsBare reports whether there is no resourcepart; the zero JID has none.
func (j JID) IsBare() bool { return int(j.slash) == len(j.s) }

// IsZero reports whether j is the zero JID, which is no address.
func (j JID) IsZero() bool { return j.s == "" }

// WithResource returns the address with another resourcepart, normalised; ""
// gives the bare address.
func (j JID) WithResource(resource string) (JID, error) {
	if j.IsZero() {
		return JID{}, &Error{"address", "empty"}
	}
	r, err := normaliseResource(resource)
	if err != nil {
		return JID{}, err
	}
	if r == "" {
		return j.Bare(), nil
	}
	return JID{j.s[:j.slash] + "/" + r, j.at, j.slash}, nil
}

// String returns the normalised address, "" for the zero JID.
func (j JID) String() string { return j.s }
