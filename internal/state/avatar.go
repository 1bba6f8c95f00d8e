// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// EventAvatar: Account has another picture than before, or none any more.
const EventAvatar EventKind = 50

// AvatarHash tells which picture an account has.
type AvatarHash struct {
	Known bool   // it has a picture, or had one
	Hash  string // SHA-1 in hexadecimal digits; "": it has none
	Open  bool   // everybody may see it, not only who may see the presence
}

// Avatar is an account's picture.
type Avatar struct {
	AvatarHash
	Type   string // content type
	Base64 string // the image, without white space
}

// Into gives a vCard, serialised or nil for none, with the picture as its PHOTO
// (XEP-0153 §bizrules-xml @1.1.1) instead of any that it has.
func (a *Avatar) Into(vcard []byte) []byte {
	if bytes.Contains(vcard, []byte("<PHOTO")) {
		if e, err := xmlstream.ParseElement(vcard, xmlstream.AfterAuth); err == nil {
			kept := e.Children[:0]
			for _, c := range e.Children {
				if !c.Element.Is(stanza.NSVCard, "PHOTO") {
					kept = append(kept, c)
				}
			}
			e.Children = kept
			vcard = xmlstream.AppendElement(nil, e, "")
		}
	}
	const empty, end = "/>", "</vCard>"
	out := make([]byte, 0, len(vcard)+len(a.Base64)+256)
	switch {
	case bytes.HasSuffix(vcard, []byte(end)):
		out = append(out, vcard[:len(vcard)-len(end)]...)
	case bytes.HasSuffix(vcard, []byte(empty)) && bytes.Count(vcard, []byte{'<'}) == 1:
		out = append(append(out, vcard[:len(vcard)-len(empty)]...), '>')
	default:
		out = append(out, "<vCard xmlns='"+stanza.NSVCard+"'>"...)
	}
	out = append(out, "<PHOTO><TYPE>"...)
	out = xmlstream.AppendEscaped(out, a.Type)
	out = append(out, "</TYPE><BINVAL>"...)
	out = xmlstream.AppendEscaped(out, a.Base64)
	return append(out, "</BINVAL></PHOTO>"+end...)
}

// ImageType tells the content type of an image by its first bytes, "" when it
// is none that may be a picture of a person. XEP-0153 §impl @1.1.1 has these
// count, and not what the image is said to be.
func ImageType(b []byte) string {
	for _, t := range [...]struct{ magic, typ string }{
		{"\x89PNG\r\n\x1a\n", "image/png"},
		{"\xff\xd8\xff", "image/jpeg"},
		{"GIF87a", "image/gif"},
		{"GIF89a", "image/gif"},
	} {
		if bytes.HasPrefix(b, []byte(t.magic)) {
			return t.typ
		}
	}
	switch {
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		return "image/webp"
	case len(b) >= 12 && string(b[4:8]) == "ftyp" && string(b[8:12]) == "avif":
		return "image/avif"
	}
	return ""
}
