// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"strconv"
	"unicode/utf8"
)

// streamNamespace is what the prefix stream is bound to (RFC 6120 §4.8.1).
const streamNamespace = "http://etherx.jabber.org/streams"

// AppendElement appends e as XML that reads back as the same tree where
// defaultNS is the default namespace: xmlns is written where it changes.
//
// Elements of http://etherx.jabber.org/streams get the prefix stream. It is
// taken as declared around e, as it is in every stream header over TCP, unless
// defaultNS is "": then it is declared as well, as a WebSocket message needs it
// (RFC 7395 §3.3.3).
//
// Names are written as they are. In text and values, bytes that are not UTF-8
// and characters that XML excludes become U+FFFD.
func AppendElement(dst []byte, e *Element, defaultNS string) []byte {
	return appendElement(dst, e, defaultNS, defaultNS != "")
}

// AppendChildren appends the children of e as AppendElement does.
func AppendChildren(dst []byte, e *Element, defaultNS string) []byte {
	return appendChildren(dst, e, defaultNS, defaultNS != "")
}

func appendElement(dst []byte, e *Element, def string, stream bool) []byte {
	prefix, declare := "", false
	switch space := e.Name.Space; {
	case space == def:
	case space == XMLNamespace:
		prefix = "xml:"
	case space == streamNamespace:
		prefix, declare, stream = "stream:", !stream, true
	default:
		def, declare = space, true
	}
	dst = append(dst, '<')
	dst = append(dst, prefix...)
	dst = append(dst, e.Name.Local...)
	switch {
	case declare && prefix != "":
		dst = AppendAttr(dst, "xmlns:stream", streamNamespace)
	case declare:
		dst = AppendAttr(dst, "xmlns", def)
	}
	dst = appendAttrs(dst, e.Attr)
	if len(e.Children) == 0 {
		return append(dst, '/', '>')
	}
	dst = append(dst, '>')
	dst = appendChildren(dst, e, def, stream)
	dst = append(dst, '<', '/')
	dst = append(dst, prefix...)
	dst = append(dst, e.Name.Local...)
	return append(dst, '>')
}

func appendChildren(dst []byte, e *Element, def string, stream bool) []byte {
	for i := range e.Children {
		if c := e.Children[i].Element; c != nil {
			dst = appendElement(dst, c, def, stream)
		} else {
			dst = AppendEscaped(dst, e.Children[i].Text)
		}
	}
	return dst
}

// appendAttrs appends attributes. Those in a namespace get a prefix that is
// declared beside them.
func appendAttrs(dst []byte, attrs []Attr) []byte {
	for i := range attrs {
		a := &attrs[i]
		switch a.Name.Space {
		case "":
			dst = AppendAttr(dst, a.Name.Local, a.Value)
			continue
		case xmlnsNamespace: // declarations are made, not copied
			continue
		case XMLNamespace:
			dst = append(dst, " xml:"...)
		default:
			dst = append(dst, " xmlns:ns"...)
			dst = strconv.AppendInt(dst, int64(i), 10)
			dst = appendQuoted(dst, a.Name.Space)
			dst = append(dst, " ns"...)
			dst = strconv.AppendInt(dst, int64(i), 10)
			dst = append(dst, ':')
		}
		dst = append(dst, a.Name.Local...)
		dst = appendQuoted(dst, a.Value)
	}
	return dst
}

// AppendAttr appends a space and an attribute, its value escaped.
func AppendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	return appendQuoted(dst, value)
}

// appendQuoted appends ='value', escaped so that it reads back the same.
func appendQuoted(dst []byte, value string) []byte {
	dst = append(dst, '=', '\'')
	from := 0
	for i := 0; i < len(value); {
		c := value[i]
		if classes[c]&plainQuoted != 0 {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var ok bool
			if size, ok = charSize(value[i:]); ok {
				i += size
				continue
			}
		}
		dst = append(dst, value[from:i]...)
		dst = append(dst, escape(c)...)
		i += size
		from = i
	}
	dst = append(dst, value[from:]...)
	return append(dst, '\'')
}

// AppendEscaped appends s as text between tags.
func AppendEscaped(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if classes[c]&plainText != 0 {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var ok bool
			if size, ok = charSize(s[i:]); ok {
				i += size
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		dst = append(dst, escape(c)...)
		i += size
		from = i
	}
	return append(dst, s[from:]...)
}

// charSize returns the size of the character that s, which is not ASCII,
// starts with, and whether XML allows it.
func charSize(s string) (int, bool) {
	r, size := utf8.DecodeRuneInString(s)
	return size, isChar(r) && (r != utf8.RuneError || size > 1)
}

// escape gives what stands for a byte that cannot stand for itself.
func escape(c byte) string {
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '\'':
		return "&apos;"
	case '\t':
		return "&#x9;"
	case '\n':
		return "&#xA;"
	case '\r':
		return "&#xD;"
	}
	return "\ufffd"
}
