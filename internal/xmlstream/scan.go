// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"bytes"
)

type tokenKind uint8

const (
	text tokenKind = iota
	startTag
	endTag
	cdata
	declaration
)

const (
	cdataStart = "<![CDATA["
	cdataEnd   = "]]>"
)

// scan looks for the end of the token that b starts with, from where it stopped
// the last time. It returns the token's length, 0 when its end is not in b.
func (r *Reader) scan(b []byte, mayDeclare bool) (tokenKind, int, error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	if b[0] != '<' {
		i := bytes.IndexByte(b[r.scanned:], '<')
		if i < 0 {
			r.scanned = len(b)
			return text, 0, nil
		}
		return text, r.scanned + i, nil
	}
	if len(b) < 2 {
		return 0, 0, nil
	}
	switch b[1] {
	case '?':
		if !mayDeclare {
			return 0, 0, &SyntaxError{RestrictedXML, "a processing instruction"}
		}
		n, err := r.scanDeclaration(b)
		return declaration, n, err
	case '!':
		n, err := r.scanCDATA(b)
		return cdata, n, err
	case '/':
		n, err := r.scanTag(b)
		return endTag, n, err
	}
	n, err := r.scanTag(b)
	return startTag, n, err
}

// scanTag finds the '>' of a tag. A '<' in it ends the wait at once.
func (r *Reader) scanTag(b []byte) (int, error) {
	i := max(r.scanned, 1)
	for i < len(b) {
		if r.quote != 0 {
			value := b[i:]
			end := bytes.IndexByte(value, r.quote)
			if end >= 0 {
				value = value[:end]
			}
			if bytes.IndexByte(value, '<') >= 0 {
				return 0, errTag()
			}
			if i += len(value); end < 0 {
				break
			}
			i++
			r.quote = 0
			continue
		}
		switch c := b[i]; c {
		case '<':
			return 0, errTag()
		case '"', '\'':
			r.quote = c
		case '>':
			return i + 1, nil
		}
		i++
	}
	r.scanned = i
	return 0, nil
}

func errTag() error { return malformed("'<' in a tag") }

// scanCDATA finds the end of a CDATA section, and refuses everything else that
// begins with "<!" (RFC 6120 §11.1).
func (r *Reader) scanCDATA(b []byte) (int, error) {
	n := min(len(b), len(cdataStart))
	if string(b[:n]) != cdataStart[:n] {
		return 0, &SyntaxError{RestrictedXML, "a comment or a document type declaration"}
	}
	if n < len(cdataStart) {
		return 0, nil
	}
	if r.atTop() {
		return 0, &SyntaxError{BadFormat, "text between stanzas"}
	}
	from := max(r.scanned, n)
	if i := bytes.Index(b[from:], []byte(cdataEnd)); i >= 0 {
		return from + i + len(cdataEnd), nil
	}
	r.scanned = max(n, len(b)-len(cdataEnd)+1)
	return 0, nil
}

// scanDeclaration finds the end of the XML declaration. It is short, so that it
// is scanned anew each time.
func (r *Reader) scanDeclaration(b []byte) (int, error) {
	const start, longest = "<?xml", 128
	n := min(len(b), len(start))
	if string(b[:n]) != start[:n] || len(b) > n && !isSpace(b[n]) {
		return 0, &SyntaxError{RestrictedXML, "a processing instruction"}
	}
	if i := bytes.Index(b[:min(len(b), longest)], []byte("?>")); i >= 0 {
		return i + 2, nil
	}
	if len(b) >= longest {
		return 0, malformed("an XML declaration without end")
	}
	return 0, nil
}

// selfClosing tells whether a start tag is an empty-element tag.
func selfClosing(tok []byte) bool { return len(tok) > 2 && tok[len(tok)-2] == '/' }
