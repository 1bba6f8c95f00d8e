// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"bytes"
)

// maxReference bounds a reference in bytes: it is more than any that is allowed
// needs, leading zeros apart.
const maxReference = 16

// reference reads the reference that b starts with: one of the five predefined
// entities or a character reference (RFC 6120 §11.1). It returns its character
// and its length in bytes.
func reference(b []byte) (rune, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxReference)], ';')
	if end < 2 {
		if len(b) >= maxReference && classes[b[1]]&nameStart != 0 {
			return 0, 0, errEntity()
		}
		return 0, 0, malformed("an '&' that starts no reference")
	}
	name := b[1:end]
	if name[0] == '#' {
		r, err := charReference(name[1:])
		return r, end + 1, err
	}
	switch string(name) {
	case "lt":
		return '<', end + 1, nil
	case "gt":
		return '>', end + 1, nil
	case "amp":
		return '&', end + 1, nil
	case "apos":
		return '\'', end + 1, nil
	case "quot":
		return '"', end + 1, nil
	}
	return 0, 0, errEntity()
}

func errEntity() error {
	return &SyntaxError{RestrictedXML, "an entity other than lt, gt, amp, apos and quot"}
}

// charReference reads what stands between "&#" and ";".
func charReference(digits []byte) (rune, error) {
	base := rune(10)
	if len(digits) > 0 && digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	if len(digits) == 0 {
		return 0, malformed("a character reference without a number")
	}
	var r rune
	for _, c := range digits {
		d := digit(c)
		if d >= base {
			return 0, malformed("a character reference that is no number")
		}
		// At most 0x10ffff*16+15: no overflow.
		if r = r*base + d; r > 0x10ffff {
			return 0, malformed("a reference to no character")
		}
	}
	if !isChar(r) {
		return 0, malformed("a reference to a character that XML excludes")
	}
	return r, nil
}

// digit returns the value of a hexadecimal digit, 16 when c is none.
func digit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return 16
}
