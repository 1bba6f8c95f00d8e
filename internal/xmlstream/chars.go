// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"unicode/utf8"
)

// Classes of ASCII bytes. A byte ≥ 0x80 has none.
const (
	nameStart   = 1 << iota // starts a name
	nameByte                // continues a name
	plainText               // stands for itself in text
	plainValue              // stands for itself in an attribute value
	plainQuoted             // is written as itself between single quotes
	spaceByte
)

// classes is immutable.
var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] |= plainText | plainValue | plainQuoted
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= nameStart | nameByte
		t[c-'a'+'A'] |= nameStart | nameByte
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= nameByte
	}
	t['_'] |= nameStart | nameByte
	t['-'] |= nameByte
	t['.'] |= nameByte
	for _, c := range []byte(" \t\n\r") {
		t[c] |= spaceByte
	}
	t['\t'] |= plainText
	t['\n'] |= plainText
	for _, c := range []byte("&<") {
		t[c] &^= plainText | plainValue | plainQuoted
	}
	t['>'] &^= plainText | plainQuoted // it may end "]]>"
	t['\''] &^= plainQuoted
	return t
}

// isChar is the production Char of XML 1.0 §2.2.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xd7ff || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= utf8.MaxRune
}

// isNameStart is the production NameStartChar of XML 1.0 §2.3 without ':'.
func isNameStart(r rune) bool {
	if r < utf8.RuneSelf {
		return classes[r]&nameStart != 0
	}
	return r >= 0xc0 && r <= 0x2ff && r != 0xd7 && r != 0xf7 ||
		r >= 0x370 && r <= 0x1fff && r != 0x37e ||
		r == 0x200c || r == 0x200d || r >= 0x2070 && r <= 0x218f || r >= 0x2c00 && r <= 0x2fef ||
		r >= 0x3001 && r <= 0xd7ff || r >= 0xf900 && r <= 0xfdcf || r >= 0xfdf0 && r <= 0xfffd ||
		r >= 0x10000 && r <= 0xeffff
}

// isNameChar is the production NameChar of XML 1.0 §2.3 without ':'.
func isNameChar(r rune) bool {
	if r < utf8.RuneSelf {
		return classes[r]&nameByte != 0
	}
	return isNameStart(r) || r == 0xb7 || r >= 0x300 && r <= 0x36f || r == 0x203f || r == 0x2040
}

func isSpace(c byte) bool { return classes[c]&spaceByte != 0 }

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// scanQName reads a qualified name (Namespaces in XML 1.0 §4) at b[i:]. It
// returns its end and the index of its colon, -1 when it has no prefix.
func scanQName(b []byte, i, maxName int) (end, colon int, err error) {
	start, colon, part := i, -1, i
	for i < len(b) {
		c := b[i]
		switch {
		case classes[c]&nameByte != 0:
			if i == part && classes[c]&nameStart == 0 {
				return 0, 0, malformed("a name starts with a character that cannot start one")
			}
			i++
		case c == ':':
			if colon >= 0 || i == part {
				return 0, 0, malformed("a name with a misplaced colon")
			}
			colon, part = i, i+1
			i++
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size <= 1 {
				return 0, 0, errUTF8()
			}
			if !isNameChar(r) || i == part && !isNameStart(r) {
				return 0, 0, malformed("a character that a name cannot hold")
			}
			i += size
		default:
			return endOfName(start, i, part, colon, maxName)
		}
	}
	return endOfName(start, i, part, colon, maxName)
}

func endOfName(start, end, part, colon, maxName int) (int, int, error) {
	if end == part {
		return 0, 0, malformed("a name is missing")
	}
	if end-start > maxName {
		return 0, 0, tooMuch("a name is too long")
	}
	return end, colon, nil
}

func errUTF8() error { return &SyntaxError{UnsupportedEncoding, "not UTF-8"} }

// checkText verifies that b is text as it may stand between tags, and tells
// whether it reads as itself or has references or line ends to replace.
func checkText(b []byte) (dirty bool, err error) {
	for i := 0; i < len(b); {
		c := b[i]
		if classes[c]&plainText != 0 {
			i++
			continue
		}
		switch {
		case c == '&' || c == '\r':
			dirty = true
			i++
		case c == '>':
			if i >= 2 && b[i-1] == ']' && b[i-2] == ']' {
				return false, malformed("']]>' in text")
			}
			i++
		default:
			if i, err = checkRune(b, i); err != nil {
				return false, err
			}
		}
	}
	return dirty, nil
}

// checkCDATA is checkText for the inside of a CDATA section.
func checkCDATA(b []byte) (dirty bool, err error) {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '\r':
			dirty = true
			i++
		case classes[c]&plainText != 0 || c == '&' || c == '<' || c == '>':
			i++
		default:
			if i, err = checkRune(b, i); err != nil {
				return false, err
			}
		}
	}
	return dirty, nil
}

// checkValue is checkText for the inside of the quotes of an attribute, where
// white space of all kinds reads as spaces (XML 1.0 §3.3.3).
func checkValue(b []byte) (dirty bool, err error) {
	for i := 0; i < len(b); {
		c := b[i]
		if classes[c]&plainValue != 0 {
			i++
			continue
		}
		switch c {
		case '&', '\t', '\n', '\r':
			dirty = true
			i++
		default:
			if i, err = checkRune(b, i); err != nil {
				return false, err
			}
		}
	}
	return dirty, nil
}

// checkRune verifies the character at b[i] and returns the index after it.
func checkRune(b []byte, i int) (int, error) {
	r, size := utf8.DecodeRune(b[i:])
	if r == utf8.RuneError && size <= 1 {
		return 0, errUTF8()
	}
	if r == '<' {
		return 0, malformed("'<' in an attribute value")
	}
	if !isChar(r) {
		return 0, malformed("a character that XML excludes")
	}
	return i + size, nil
}

// appendText appends the text that b, verified by checkText, reads as.
func appendText(dst, b []byte) ([]byte, error) {
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case '&':
			r, n, err := reference(b[i:])
			if err != nil {
				return dst, err
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case '\r':
			dst, i = appendLineEnd(dst, b, i)
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, nil
}

// appendCDATA is appendText for the inside of a CDATA section.
func appendCDATA(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		if b[i] == '\r' {
			dst, i = appendLineEnd(dst, b, i)
			continue
		}
		dst = append(dst, b[i])
		i++
	}
	return dst
}

// appendLineEnd reads "\r\n" or "\r" as "\n" (XML 1.0 §2.11).
func appendLineEnd(dst, b []byte, i int) ([]byte, int) {
	i++
	if i < len(b) && b[i] == '\n' {
		i++
	}
	return append(dst, '\n'), i
}

// appendValue appends the value that b, verified by checkValue, reads as.
func appendValue(dst, b []byte) ([]byte, error) {
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case '&':
			r, n, err := reference(b[i:])
			if err != nil {
				return dst, err
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case '\r':
			dst, i = appendLineEnd(dst, b, i)
			dst[len(dst)-1] = ' '
		case '\t', '\n':
			dst = append(dst, ' ')
			i++
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, nil
}
