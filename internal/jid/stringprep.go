// SPDX-License-Identifier: Apache-2.0

package jid

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// Clients still normalise addresses as RFC 6122 said, with the profiles
// Nodeprep, Nameprep and Resourceprep of stringprep (RFC 3454), and not as
// RFC 7622 says. Where the two give different addresses, one client would see
// two people where another sees one. So a part is accepted only when both give
// the same. That refuses, besides what RFC 7622 refuses itself:
//
//   - letters whose case folding is not their lower case: "ß" (folds to "ss"),
//     final "ς" (to "σ"); in localparts and domainparts
//   - letters that have got a lower case only after Unicode 3.2: Georgian
//     Asomtavruli, Cherokee, the palochka "Ӏ"
//   - compatibility characters, which stringprep replaces and PRECIS keeps:
//     "…", "™", "½", "①", "ﬁ", "²"; in resourceparts
//   - characters that stringprep maps to nothing or prohibits: joiners,
//     "\ufffc", "\ufffd", ideographic description characters
//   - text that mixes directions, or that runs from right to left and does not
//     both begin and end with such a letter (RFC 3454 §6)
//   - in localparts, characters newer than Unicode 3.2, which stringprep
//     refuses in stored strings (RFC 3454 §7). In domainparts and resourceparts
//     they are let through as in its query strings, so that a nickname can
//     hold an emoji, if they take no part in normalisation.
const notAgreed = "holds a character, or mixes directions, so that old and new clients would see different addresses"

// prepProfile is a profile of stringprep, as far as it matters for strings that
// PRECIS or IDNA accept as well.
type prepProfile struct {
	fold  bool // map by table B.2; else normalise only
	query bool // let unassigned code points through
}

// The three profiles of RFC 6122 (§A, §2.2, §B). They are immutable.
var (
	nodeprep     = prepProfile{fold: true}
	nameprep     = prepProfile{fold: true, query: true}
	resourceprep = prepProfile{query: true}
)

// agrees tells whether the profile makes of in, which is UTF-8, the same string
// as PRECIS or IDNA: out.
func (p prepProfile) agrees(in, out string) bool {
	if !norm.NFKC.IsNormalString(out) {
		return false // as prepared strings are; some would grow eighteenfold
	}
	got, ok := p.prepare(in)
	return ok && got == out
}

// prepare applies the profile (RFC 3454 §2), or tells that it refuses s.
func (p prepProfile) prepare(s string) (string, bool) {
	unassigned := 0
	for _, r := range s {
		if unicode.Is(unassigned32, r) {
			unassigned++
			if !p.query || !inert(r) || p.fold && unicode.SimpleFold(r) != r {
				return "", false
			}
		}
		if corrected(r) {
			return "", false
		}
	}
	s = strings.Map(dropIgnored, s)
	if p.fold {
		s = cases.Fold().String(s)
	}
	s = norm.NFKC.String(s)
	if p.fold {
		// Table B.2 also folds what the normal form of a character brings to light.
		s = norm.NFKC.String(cases.Fold().String(s))
	}
	return s, !strings.ContainsFunc(s, prohibited) && countUnassigned(s) == unassigned && composesAlike(s) && bidiAlike(s)
}

// inert tells whether a character that Unicode 3.2 did not know takes no part
// in normalisation today, as it took none then.
func inert(r rune) bool {
	c := string(r)
	p := norm.NFKC.PropertiesString(c)
	return p.BoundaryBefore() && p.BoundaryAfter() && norm.NFKC.IsNormalString(c)
}

// countUnassigned counts the characters that Unicode 3.2 did not know. There
// are more after folding than before when a letter has got a lower case since.
func countUnassigned(s string) (n int) {
	for _, r := range s {
		if unicode.Is(unassigned32, r) {
			n++
		}
	}
	return n
}

// corrected tells whether the normal form of r was corrected after Unicode 3.2
// (Unicode Corrigendum 4).
func corrected(r rune) bool {
	switch r {
	case 0x2f868, 0x2f874, 0x2f91f, 0x2f95f, 0x2f9bf:
		return true
	}
	return false
}

// dropIgnored drops what is mapped to nothing (RFC 3454 §B.1).
func dropIgnored(r rune) rune {
	switch {
	case r == 0xad, r == 0x34f, r == 0x1806, r >= 0x180b && r <= 0x180d, r >= 0x200b && r <= 0x200d,
		r == 0x2060, r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff:
		return -1
	}
	return r
}

// prohibited tells whether r is prohibited (RFC 3454 §5). It knows those that
// RFC 7622 lets through: of table C.1.2 after NFKC, and of tables C.6 and C.7.
func prohibited(r rune) bool {
	return r == 0x1680 || r == 0xfffc || r == 0xfffd || r >= 0x2ff0 && r <= 0x2ffb
}

// composesAlike tells whether s, in normal form, has the same one in
// Unicode 3.2, whose algorithm composed a starter with what follows a
// combining mark (Unicode Corrigendum 5).
func composesAlike(s string) bool {
	mark := false
	for i := 0; i < len(s); {
		p := norm.NFKC.PropertiesString(s[i:])
		if p.CCC() != 0 {
			mark = true
		} else {
			if mark && !p.BoundaryBefore() {
				return false
			}
			mark = false
		}
		i += max(p.Size(), 1)
	}
	return true
}

// bidiAlike tells whether s has no letter that runs from right to left, or is
// as RFC 3454 §6 demands then.
func bidiAlike(s string) bool {
	var right, left, first, last bool
	for i := 0; i < len(s); {
		p, size := bidi.LookupString(s[i:])
		r, n := utf8.DecodeRuneInString(s[i:])
		last = false
		if !unicode.Is(unassigned32, r) {
			switch p.Class() {
			case bidi.R, bidi.AL:
				right, last = true, true
				first = first || i == 0
			case bidi.L:
				left = true
			}
			left = left || leftThen(r)
		}
		i += max(size, n)
	}
	return !right || first && last && !left
}

// leftThen tells whether r ran from left to right in Unicode 3.2 (RFC 3454
// §D.2) and has no direction now.
func leftThen(r rune) bool {
	return r == 0x17b4 || r == 0x17b5 || r == 0x1885 || r == 0x1886
}
