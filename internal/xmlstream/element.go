// SPDX-License-Identifier: Apache-2.0

// Package xmlstream frames XML as XMPP uses it: the restricted profile of
// RFC 6120 §11 over TCP (§4) and one element per frame over WebSocket
// (RFC 7395). Everything it reads is bounded before it is built. It is a
// package of words: it imports nothing of ours.
package xmlstream

// Name is an expanded XML name.
type Name struct{ Space, Local string }

// Attr is an attribute. Space is "" for an attribute without prefix; xml:lang
// has the namespace XMLNamespace.
type Attr struct {
	Name  Name
	Value string
}

// XMLNamespace is what the prefix xml is bound to.
const XMLNamespace = "http://www.w3.org/XML/1998/namespace"

// Element is an XML element with its subtree. Namespace declarations are not
// attributes: they are resolved when it is read and written anew when it is
// serialised.
type Element struct {
	Name     Name
	Attr     []Attr
	Children []Node
}

// Node is a child: an element, or text when Element is nil.
type Node struct {
	Element *Element
	Text    string
}

// New makes an element; attrs are pairs of local name and value, of which
// those with an empty value are left out.
func New(space, local string, attrs ...string) *Element {
	e := &Element{Name: Name{space, local}}
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			e.Attr = append(e.Attr, Attr{Name{Local: attrs[i]}, attrs[i+1]})
		}
	}
	return e
}

// NewText makes an element that holds text.
func NewText(space, local, text string, attrs ...string) *Element {
	e := New(space, local, attrs...)
	if text != "" {
		e.Children = []Node{{Text: text}}
	}
	return e
}

// Add appends child elements, skipping nil ones, and returns e.
func (e *Element) Add(children ...*Element) *Element {
	for _, c := range children {
		if c != nil {
			e.Children = append(e.Children, Node{Element: c})
		}
	}
	return e
}

// Is reports whether e has this expanded name; a nil e has none.
func (e *Element) Is(space, local string) bool {
	return e != nil && e.Name.Local == local && e.Name.Space == space
}

// Get returns the value of the attribute without namespace, "" when absent.
func (e *Element) Get(local string) string {
	if e == nil {
		return ""
	}
	v, _ := e.Lookup(local)
	return v
}

// Lookup is Get that tells an absent attribute from an empty one.
func (e *Element) Lookup(local string) (string, bool) {
	for i := range e.Attr {
		if e.Attr[i].Name.Local == local && e.Attr[i].Name.Space == "" {
			return e.Attr[i].Value, true
		}
	}
	return "", false
}

// Set sets the attribute without namespace and returns e; an empty value
// removes it.
func (e *Element) Set(local, value string) *Element {
	for i := range e.Attr {
		if e.Attr[i].Name.Local == local && e.Attr[i].Name.Space == "" {
			if value == "" {
				e.Attr = append(e.Attr[:i], e.Attr[i+1:]...)
			} else {
				e.Attr[i].Value = value
			}
			return e
		}
	}
	if value != "" {
		e.Attr = append(e.Attr, Attr{Name{Local: local}, value})
	}
	return e
}

// Lang returns xml:lang, "" when absent.
func (e *Element) Lang() string {
	for i := range e.Attr {
		if e.Attr[i].Name.Local == "lang" && e.Attr[i].Name.Space == XMLNamespace {
			return e.Attr[i].Value
		}
	}
	return ""
}

// Child returns the first child element of this name, nil when there is none.
// An empty local matches any name of the namespace.
func (e *Element) Child(space, local string) *Element {
	if e == nil {
		return nil
	}
	for i := range e.Children {
		if c := e.Children[i].Element; c != nil && c.Name.Space == space && (local == "" || c.Name.Local == local) {
			return c
		}
	}
	return nil
}

// First returns the first child element, nil when there is none.
func (e *Element) First() *Element {
	if e == nil {
		return nil
	}
	for i := range e.Children {
		if c := e.Children[i].Element; c != nil {
			return c
		}
	}
	return nil
}

// Elements returns the child elements.
func (e *Element) Elements() []*Element {
	if e == nil {
		return nil
	}
	out := make([]*Element, 0, len(e.Children))
	for i := range e.Children {
		if c := e.Children[i].Element; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// Text returns the concatenated text that stands directly in e.
func (e *Element) Text() string {
	if e == nil {
		return ""
	}
	switch len(e.Children) {
	case 0:
		return ""
	case 1:
		return e.Children[0].Text
	}
	var s string
	for i := range e.Children {
		if e.Children[i].Element == nil {
			s += e.Children[i].Text
		}
	}
	return s
}

// Clone copies e deeply.
func (e *Element) Clone() *Element {
	if e == nil {
		return nil
	}
	c := &Element{Name: e.Name}
	c.Attr = append(c.Attr, e.Attr...)
	for _, n := range e.Children {
		c.Children = append(c.Children, Node{Element: n.Element.Clone(), Text: n.Text})
	}
	return c
}
