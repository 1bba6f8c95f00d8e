// SPDX-License-Identifier: Apache-2.0

package state

import (
	"slices"

	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Limits of private XML (XEP-0049).
const (
	// PrivateEntries that an account may have.
	PrivateEntries = 128
	// PrivateXML bounds what is stored under one name, in bytes.
	PrivateXML = 192 << 10
	// PrivateBytes bounds all of an account, in bytes.
	PrivateBytes = 1 << 20
	// PrivateName bounds namespace and name together, in bytes.
	PrivateName = 1023
)

// Bookmarks have two formats: in the old one (XEP-0048) all are children of one
// element; in the new one (XEP-0402) each is an item with the room's address as
// id. What only the new one has is in its extensions, and what clients put into
// the old one besides becomes one.

// IsBookmark reports whether an item of the node is a bookmark that the old
// format can have.
func IsBookmark(id string, payload []byte) bool {
	if _, err := jid.Parse(id); err != nil {
		return false
	}
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	return err == nil && e.Is(stanza.NSBookmarks, "conference")
}

// NewBookmark turns a conference of the old format into one of the new one, and
// its address; ok is false when it has no valid one.
func NewBookmark(old *xmlstream.Element) (address string, conference *xmlstream.Element, ok bool) {
	j, err := jid.Parse(old.Get("jid"))
	if err != nil || !old.Is(stanza.NSStorage, "conference") {
		return "", nil, false
	}
	e := recast(old, stanza.NSStorage, stanza.NSBookmarks)
	e.Set("jid", "")
	return j.String(), e, true
}

// OldBookmark turns an item into a conference of the old format; ok is false
// when it is no bookmark.
func OldBookmark(id string, payload []byte) (*xmlstream.Element, bool) {
	e, err := xmlstream.ParseElement(payload, xmlstream.AfterAuth)
	if _, bad := jid.Parse(id); bad != nil || err != nil || !e.Is(stanza.NSBookmarks, "conference") {
		return nil, false
	}
	extensions := e.Child(stanza.NSBookmarks, "extensions")
	e.Children = slices.DeleteFunc(e.Children, func(n xmlstream.Node) bool { return n.Element == nil || n.Element.Is(stanza.NSBookmarks, "extensions") })
	out := recast(e, stanza.NSBookmarks, stanza.NSStorage)
	out.Attr = append([]xmlstream.Attr{{Name: xmlstream.Name{Local: "jid"}, Value: id}}, out.Set("jid", "").Attr...)
	for _, x := range extensions.Elements() {
		if x.Name.Space != stanza.NSBookmarks {
			out.Add(x)
		}
	}
	return out, true
}

// MergeBookmark changes a bookmark of the new format as one that came in the
// old format says (XEP-0402 §publishing-legacy @1.2.0): name, autojoin, nick and
// password are what that says, and all else stays, be it known or not.
func MergeBookmark(was, set *xmlstream.Element) *xmlstream.Element {
	for _, name := range []string{"name", "autojoin"} {
		value := set.Get(name)
		if name == "autojoin" && truth(value) == truth(was.Get(name)) {
			continue
		}
		was.Set(name, value)
	}
	for _, name := range []string{"nick", "password"} {
		if set.Child(stanza.NSBookmarks, name) == nil {
			was.Children = slices.DeleteFunc(was.Children, func(n xmlstream.Node) bool { return n.Element.Is(stanza.NSBookmarks, name) })
		}
	}
	for _, c := range set.Elements() {
		switch {
		case c.Is(stanza.NSBookmarks, "extensions"):
			for _, x := range c.Elements() {
				extend(was, x)
			}
		case c.Name.Space == stanza.NSBookmarks:
			replace(was, c)
		default:
			extend(was, c)
		}
	}
	return was
}

// extend puts an element into the extensions of a bookmark.
func extend(bookmark, x *xmlstream.Element) {
	extensions := bookmark.Child(stanza.NSBookmarks, "extensions")
	if extensions == nil {
		extensions = xmlstream.New(stanza.NSBookmarks, "extensions")
		bookmark.Add(extensions)
	}
	replace(extensions, x)
}

// replace puts a child in the place of the first of its name, or last.
func replace(parent, child *xmlstream.Element) {
	for i := range parent.Children {
		if e := parent.Children[i].Element; e != nil && e.Name == child.Name {
			parent.Children[i].Element = child
			return
		}
	}
	parent.Add(child)
}

// truth of an xs:boolean.
func truth(s string) bool { return s == "1" || s == "true" }

// recast copies an element with all in one namespace put into another.
func recast(e *xmlstream.Element, from, to string) *xmlstream.Element {
	c := &xmlstream.Element{Name: e.Name, Attr: slices.Clone(e.Attr)}
	if c.Name.Space == from {
		c.Name.Space = to
	}
	for _, n := range e.Children {
		if n.Element != nil {
			n.Element = recast(n.Element, from, to)
		}
		c.Children = append(c.Children, n)
	}
	return c
}
