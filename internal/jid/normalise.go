// SPDX-License-Identifier: Apache-2.0

package jid

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// notInLocal are the characters of the IdentifierClass that a localpart must
// not hold (RFC 7622 §3.3.1).
const notInLocal = "\"&'/:<>@"

// domainProfile maps as clients do before lookup and checks what IDNA2008
// demands of U-labels (RFC 7622 §3.2.1). It is immutable.
var domainProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
	idna.StrictDomainName(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.VerifyDNSLength(true))

// normaliseLocal enforces the profile UsernameCaseMapped of PRECIS on a
// localpart (RFC 7622 §3.3.1). "" stays "": there is none.
func normaliseLocal(s string) (string, error) {
	if len(s) > inputMax {
		return "", &Error{"localpart", tooLong}
	}
	upper := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return normaliseLocalSlow(s)
		case c <= ' ' || c == 0x7f || strings.IndexByte(notInLocal, c) >= 0:
			return "", &Error{"localpart", "holds a space, a control character or one of " + notInLocal}
		case 'A' <= c && c <= 'Z':
			upper = true
		}
	}
	if upper {
		s = strings.ToLower(s)
	}
	return bounded("localpart", s)
}

func normaliseLocalSlow(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", &Error{"localpart", notUTF8}
	}
	out, err := stable(precis.UsernameCaseMapped, s)
	if err != nil {
		return "", &Error{"localpart", err.Error()}
	}
	if len(out) > MaxPart {
		return "", &Error{"localpart", tooLong}
	}
	if !nodeprep.agrees(s, out) {
		return "", &Error{"localpart", notAgreed}
	}
	if strings.ContainsAny(out, notInLocal) {
		return "", &Error{"localpart", "holds one of " + notInLocal}
	}
	return out, nil
}

// normaliseResource enforces the profile OpaqueString of PRECIS on a
// resourcepart (RFC 7622 §3.4.1). "" stays "": there is none.
func normaliseResource(s string) (string, error) {
	if len(s) > inputMax {
		return "", &Error{"resourcepart", tooLong}
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return normaliseResourceSlow(s)
		case c < ' ' || c == 0x7f:
			return "", &Error{"resourcepart", "holds a control character"}
		}
	}
	return bounded("resourcepart", s)
}

func normaliseResourceSlow(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", &Error{"resourcepart", notUTF8}
	}
	out, err := stable(precis.OpaqueString, s)
	if err != nil {
		return "", &Error{"resourcepart", err.Error()}
	}
	if len(out) > MaxPart {
		return "", &Error{"resourcepart", tooLong}
	}
	if !resourceprep.agrees(s, out) {
		return "", &Error{"resourcepart", notAgreed}
	}
	return out, nil
}

// normaliseDomain brings a domainpart into U-labels or the canonical text of
// an IP address (RFC 7622 §3.2).
func normaliseDomain(s string) (string, error) {
	if len(s) > MaxPart {
		return "", &Error{"domainpart", tooLong}
	}
	if strings.HasPrefix(s, "[") {
		return normaliseIPv6(s)
	}
	// RFC 7622 §3.2: a final label separator is stripped first.
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", &Error{"domainpart", "empty"}
	}
	if !plainDomain(s) {
		return normaliseDomainSlow(s)
	}
	return bounded("domainpart", s)
}

// plainDomain tells whether s is made of lower-case LDH labels of at most 63
// bytes none of which looks like an A-label, so that nothing is to be done.
func plainDomain(s string) bool {
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			label := s[start:i]
			if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
				return false
			}
			if len(label) > 3 && label[2] == '-' && label[3] == '-' {
				return false
			}
			start = i + 1
			continue
		}
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) <= 253
}

func normaliseDomainSlow(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", &Error{"domainpart", notUTF8}
	}
	for label := range strings.FieldsFuncSeq(s, func(r rune) bool { return asciiDot(r) == '.' }) {
		// An A-label has a byte for each character at least. Encoding takes time in
		// the square of the length.
		if utf8.RuneCountInString(label) > 2*maxLabel {
			return "", &Error{"domainpart", "a label is too long"}
		}
	}
	ascii, err := domainProfile.ToASCII(s)
	if err != nil {
		return "", &Error{"domainpart", err.Error()}
	}
	out, err := domainProfile.ToUnicode(ascii)
	if err != nil {
		return "", &Error{"domainpart", err.Error()}
	}
	// Dots other than U+002E are mapped only now (RFC 3490 §3.1).
	out = strings.TrimSuffix(out, ".")
	if out == "" || out[len(out)-1] == '.' {
		return "", &Error{"domainpart", "empty label"}
	}
	if !agreeDomain(s, out) {
		return "", &Error{"domainpart", notAgreed}
	}
	return bounded("domainpart", out)
}

// agreeDomain compares labels as Nameprep prepares them (RFC 3490 §4), which
// leaves A-labels alone: for them it is enough that their U-label is prepared
// already.
func agreeDomain(in, out string) bool {
	in = strings.TrimSuffix(strings.Map(asciiDot, in), ".")
	labels := strings.Split(out, ".")
	i := 0
	for label := range strings.SplitSeq(in, ".") {
		if i == len(labels) {
			return false
		}
		if len(label) > 4 && strings.EqualFold(label[:4], "xn--") {
			label = labels[i]
		}
		if !nameprep.agrees(label, labels[i]) {
			return false
		}
		i++
	}
	return i == len(labels)
}

// asciiDot maps what separates labels to '.' (RFC 3490 §3.1).
func asciiDot(r rune) rune {
	switch r {
	case '\u3002', '\uff0e', '\uff61':
		return '.'
	}
	return r
}

func normaliseIPv6(s string) (string, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	a, err := netip.ParseAddr(inner)
	if !ok || err != nil || !a.Is6() || a.Zone() != "" {
		return "", &Error{"domainpart", "no IPv6 address in the brackets"}
	}
	return "[" + a.String() + "]", nil
}

// inputMax bounds the work on a part before normalisation, which can shorten
// it.
const inputMax = 2 * MaxPart

// maxLabel is the size limit of a label in bytes (RFC 1035 §2.3.4).
const maxLabel = 63

const (
	tooLong = "longer than 1023 bytes"
	notUTF8 = "not UTF-8"
)

func bounded(part, s string) (string, error) {
	if len(s) > MaxPart {
		return "", &Error{part, tooLong}
	}
	return s, nil
}

// stable applies the profile until nothing changes, which it must soon
// (RFC 8264 §7).
func stable(p *precis.Profile, s string) (string, error) {
	for range 4 {
		out, err := p.String(s)
		if err != nil || out == s {
			return out, err
		}
		s = out
	}
	return "", errors.New("its normal form is not stable")
}
