// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// SaysPhoto reports whether available presence says itself that its sender has
// no picture: what the server does not change (XEP-0398 §presence @1.0.0).
func SaysPhoto(p *xmlstream.Element) bool {
	photo := p.Child(stanza.NSVCardUpdate, "x").Child(stanza.NSVCardUpdate, "photo")
	return photo != nil && photo.Text() == ""
}

// WithPhoto gives available presence with the hash of the account's picture, as
// the server adds it on behalf of its users (XEP-0398 §presence @1.0.0). An
// account that had a picture and has none any more says so; one that never had
// any says nothing, unless the client began to. The presence itself is not
// changed.
func WithPhoto(p *xmlstream.Element, h state.AvatarHash) *xmlstream.Element {
	x := p.Child(stanza.NSVCardUpdate, "x")
	photo := x.Child(stanza.NSVCardUpdate, "photo")
	switch {
	case photo != nil && (photo.Text() == "" || h.Hash == "" || photo.Text() == h.Hash):
		return p
	case x == nil && !h.Known:
		return p
	}
	return Photographed(p, h.Hash)
}

// Photographed gives presence with this hash, "" for no picture, whatever it
// said before.
func Photographed(p *xmlstream.Element, hash string) *xmlstream.Element {
	c := *p
	c.Children = make([]xmlstream.Node, 0, len(p.Children)+1)
	for _, n := range p.Children {
		if !n.Element.Is(stanza.NSVCardUpdate, "x") {
			c.Children = append(c.Children, n)
		}
	}
	return c.Add(xmlstream.New(stanza.NSVCardUpdate, "x").Add(xmlstream.NewText(stanza.NSVCardUpdate, "photo", hash)))
}
