// SPDX-License-Identifier: Apache-2.0

package xmlstream

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// builder makes elements of tokens. It holds the elements that are open and the
// namespaces in scope.
type builder struct {
	rooted  bool // open[0] is the stream
	open    []frame
	nodes   []Node    // children of the open elements so far, outermost first
	binds   []binding // prefixes in scope, innermost last
	attrs   []attr    // of the tag at hand
	count   int       // nodes of the top-level element
	pending string    // text that no tag has followed yet
	more    []byte    // the same when it came in several pieces
	scratch []byte
	tag     string // the tag at hand, once a part of it is kept
	slab    slab

	// Where open, nodes and attrs begin: enough for a usual message.
	firstOpen  [keepFrames]frame
	firstNodes [keepNodes]Node
	firstAttrs [keepAttrs]attr
}

// frame is an element that is open.
type frame struct {
	el            *Element
	prefix, local string // as its end tag must have them
	def           string // default namespace in it
	declared      bool   // it declares def itself
	nodes         int    // where its children start in builder.nodes
	binds         int    // how many bindings there were outside it
}

// outlives has the frame hold on to nothing of the tag but copies.
func (f *frame) outlives() {
	f.el = nil
	f.prefix, f.local = strings.Clone(f.prefix), strings.Clone(f.local)
}

type binding struct{ prefix, space string }

// attr is an attribute whose prefix is not resolved yet.
type attr struct{ prefix, local, value string }

const (
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"

	// What a Reader keeps from one element to the next, in entries.
	keepFrames = 5
	keepNodes  = 10
	keepAttrs  = 6
	keepBytes  = 256
)

// atTop tells whether no element but the stream is open.
func (b *builder) atTop() bool { return len(b.open) == b.base() }

func (b *builder) base() int {
	if b.rooted {
		return 1
	}
	return 0
}

// reset prepares for the next top-level element. Memory beyond the usual is
// given back.
func (b *builder) reset() {
	b.count, b.tag, b.pending, b.slab = 0, "", "", slab{}
	n := copy(b.firstOpen[:], b.open) // at most the stream
	// What is unused is zero, and nothing used is: so little is cleared.
	for i := n; i < len(b.firstOpen) && b.firstOpen[i].el != nil; i++ {
		b.firstOpen[i] = frame{}
	}
	for i := 0; i < len(b.firstNodes) && b.firstNodes[i] != (Node{}); i++ {
		b.firstNodes[i] = Node{}
	}
	for i := 0; i < len(b.firstAttrs) && b.firstAttrs[i].local != ""; i++ {
		b.firstAttrs[i] = attr{}
	}
	b.open, b.nodes, b.attrs = b.firstOpen[:n], b.firstNodes[:0], b.firstAttrs[:0]
}

// abandon gives up what is open, and resets.
func (b *builder) abandon() {
	b.open, b.binds, b.more = nil, nil, nil
	b.reset()
}

// build adds a token to the tree. It returns the top-level element when the
// token completes it.
func (b *builder) build(kind tokenKind, tok []byte, lim Limits) (*Element, error) {
	switch kind {
	case startTag:
		if _, err := b.start(tok, false, lim); err != nil {
			return nil, err
		}
		if selfClosing(tok) {
			return b.end(), nil
		}
		return nil, nil
	case endTag:
		if err := b.matchEnd(tok); err != nil {
			return nil, err
		}
		b.flushText()
		return b.end(), nil
	default:
		return nil, b.text(kind, tok, lim)
	}
}

// emptied empties b, dropping it when it is large.
func emptied(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b[:0]
}

// spend counts nodes of the top-level element.
func (b *builder) spend(n int, lim Limits) error {
	if b.count += n; b.count > lim.MaxNodes {
		return tooMuch("too many elements, attributes and texts")
	}
	return nil
}

// text takes text or a CDATA section. Pieces that no tag separates are one
// text, which flushText makes a node of.
func (b *builder) text(kind tokenKind, tok []byte, lim Limits) error {
	if b.pending == "" && len(b.more) == 0 {
		if err := b.spend(1, lim); err != nil {
			return err
		}
	}
	var dirty bool
	var err error
	if kind == cdata {
		tok = tok[len(cdataStart) : len(tok)-len(cdataEnd)]
		dirty, err = checkCDATA(tok)
	} else {
		dirty, err = checkText(tok)
	}
	if err != nil {
		return err
	}
	if b.pending == "" && len(b.more) == 0 && !dirty {
		b.pending = string(tok)
		return nil
	}
	if b.pending != "" {
		b.more = append(b.more, b.pending...)
		b.pending = ""
	}
	b.more = slices.Grow(b.more, len(tok))
	switch {
	case !dirty:
		b.more = append(b.more, tok...)
	case kind == cdata:
		b.more = appendCDATA(b.more, tok)
	default:
		b.more, err = appendText(b.more, tok)
	}
	return err
}

func (b *builder) flushText() {
	if len(b.more) > 0 {
		b.pending = string(b.more)
		b.more = emptied(b.more)
	}
	if b.pending != "" {
		b.nodes = append(b.nodes, Node{Text: b.pending})
		b.pending = ""
	}
}

// start opens the element of a start tag; header says that it is the stream's.
func (b *builder) start(tok []byte, header bool, lim Limits) (*Element, error) {
	if len(b.open)-b.base() >= lim.MaxDepth {
		return nil, tooMuch("elements are nested too deeply")
	}
	b.flushText()
	if err := b.spend(1, lim); err != nil {
		return nil, err
	}
	body := tok[1 : len(tok)-1]
	if selfClosing(tok) {
		body = body[:len(body)-1]
	}
	b.tag, b.attrs = "", b.attrs[:0]
	end, colon, err := scanQName(body, 0, lim.MaxName)
	if err != nil {
		return nil, err
	}
	f := frame{nodes: len(b.nodes), binds: len(b.binds)}
	if len(b.open) > 0 {
		f.def = b.open[len(b.open)-1].def
	}
	f.prefix, f.local = b.names(body, 0, end, colon)
	if err := b.attributes(body, end, &f, lim); err != nil {
		return nil, err
	}
	space := f.def
	if f.prefix != "" {
		if space, err = b.resolve(f.prefix); err != nil {
			return nil, err
		}
	}
	f.el = b.slab.element(b.atTop() && (selfClosing(tok) || header))
	f.el.Name = Name{space, f.local}
	if err := b.resolveAttrs(f.el); err != nil {
		return nil, err
	}
	b.open = append(b.open, f)
	return f.el, nil
}

// attributes reads the attributes of a tag: declarations into b.binds and f,
// the others into b.attrs.
func (b *builder) attributes(body []byte, i int, f *frame, lim Limits) error {
	for n := 0; ; n++ {
		next := skipSpace(body, i)
		if next == len(body) {
			return nil
		}
		if next == i {
			return malformed("attributes without white space between them")
		}
		if n >= lim.MaxAttrs {
			return tooMuch("too many attributes")
		}
		if err := b.spend(1, lim); err != nil {
			return err
		}
		end, colon, err := scanQName(body, next, lim.MaxName)
		if err != nil {
			return err
		}
		prefix, local := b.names(body, next, end, colon)
		from, to, err := quoted(body, end)
		if err != nil {
			return err
		}
		if prefix == "" && local == "xmlns" || prefix == "xmlns" {
			err = b.declare(f, prefix, local, body, from, to, lim)
		} else {
			var value string
			value, err = b.value(body, from, to)
			b.attrs = append(b.attrs, attr{prefix, local, value})
		}
		if err != nil {
			return err
		}
		i = to + 1
	}
}

// quoted finds the value after an attribute's name: body[from:to].
func quoted(body []byte, i int) (from, to int, err error) {
	i = skipSpace(body, i)
	if i == len(body) || body[i] != '=' {
		return 0, 0, malformed("an attribute without value")
	}
	i = skipSpace(body, i+1)
	if i == len(body) || body[i] != '"' && body[i] != '\'' {
		return 0, 0, malformed("an attribute value without quotes")
	}
	quote := body[i]
	n := bytes.IndexByte(body[i+1:], quote)
	if n < 0 {
		return 0, 0, malformed("an attribute value without end")
	}
	return i + 1, i + 1 + n, nil
}

// value reads an attribute's value, body[from:to].
func (b *builder) value(body []byte, from, to int) (string, error) {
	dirty, err := checkValue(body[from:to])
	if err != nil {
		return "", err
	}
	if !dirty {
		return b.keep(body, from, to), nil
	}
	b.scratch, err = appendValue(slices.Grow(b.scratch, to-from), body[from:to])
	if err != nil {
		return "", err
	}
	value := string(b.scratch)
	b.scratch = emptied(b.scratch)
	return value, nil
}

// names gives the parts of a qualified name, body[from:to].
func (b *builder) names(body []byte, from, to, colon int) (prefix, local string) {
	if colon >= 0 {
		prefix = b.name(body, from, colon)
		from = colon + 1
	}
	return prefix, b.name(body, from, to)
}

// name is keep that knows the usual names.
func (b *builder) name(body []byte, from, to int) string {
	if s, ok := known.find(body[from:to]); ok {
		return s
	}
	return b.keep(body, from, to)
}

// keep gives body[from:to] as a string. The strings of a tag share one, unless
// the tag is so large that a part of it should not hold the rest in memory.
func (b *builder) keep(body []byte, from, to int) string {
	const shared = 512
	if from == to {
		return ""
	}
	if len(body) > shared {
		return string(body[from:to])
	}
	if b.tag == "" {
		b.tag = string(body)
	}
	return b.tag[from:to]
}

// declare takes a namespace declaration (Namespaces in XML 1.0 §3), whose value
// is body[from:to].
func (b *builder) declare(f *frame, prefix, local string, body []byte, from, to int, lim Limits) error {
	space, ok := known.find(body[from:to])
	if !ok {
		var err error
		if space, err = b.value(body, from, to); err != nil {
			return err
		}
		space = strings.Clone(space) // it may outlive the tag by far
	}
	if prefix == "" {
		if space == XMLNamespace || space == xmlnsNamespace {
			return malformed("a reserved namespace as default")
		}
		if f.declared {
			return errTwice()
		}
		f.declared, f.def = true, space
		return nil
	}
	switch {
	case local == "xmlns", local != "xml" && space == XMLNamespace, local == "xml" && space != XMLNamespace, space == xmlnsNamespace:
		return malformed("a reserved prefix or namespace is declared")
	case space == "":
		return malformed("a prefix is declared for no namespace")
	}
	for _, d := range b.binds[f.binds:] {
		if d.prefix == local {
			return errTwice()
		}
	}
	if len(b.binds) >= lim.MaxAttrs {
		return tooMuch("too many prefixes are declared") // finding one takes time with their number
	}
	b.binds = append(b.binds, binding{local, space})
	return nil
}

func errTwice() error { return malformed("an attribute is given twice") }

// resolve finds the namespace of a prefix.
func (b *builder) resolve(prefix string) (string, error) {
	for i := len(b.binds) - 1; i >= 0; i-- {
		if b.binds[i].prefix == prefix {
			return b.binds[i].space, nil
		}
	}
	if prefix == "xml" {
		return XMLNamespace, nil
	}
	return "", &SyntaxError{BadNamespacePrefix, "a prefix that is not declared"}
}

// resolveAttrs gives el its attributes, each expanded name once.
func (b *builder) resolveAttrs(el *Element) error {
	if len(b.attrs) == 0 {
		return nil
	}
	el.Attr = b.slab.attributes(len(b.attrs))
	for i, a := range b.attrs {
		name := Name{Local: a.local}
		if a.prefix != "" {
			var err error
			if name.Space, err = b.resolve(a.prefix); err != nil {
				return err
			}
		}
		for _, other := range el.Attr[:i] {
			if other.Name == name {
				return errTwice()
			}
		}
		el.Attr[i] = Attr{name, a.value}
	}
	return nil
}

// matchEnd verifies that an end tag is that of the innermost open element.
func (b *builder) matchEnd(tok []byte) error {
	if len(b.open) == 0 {
		return malformed("an end tag without start tag")
	}
	f := &b.open[len(b.open)-1]
	body := tok[2 : len(tok)-1]
	if n := len(f.prefix); n > 0 {
		if len(body) <= n || string(body[:n]) != f.prefix || body[n] != ':' {
			return errMismatch()
		}
		body = body[n+1:]
	}
	n := len(f.local)
	if len(body) < n || string(body[:n]) != f.local || skipSpace(body, n) != len(body) {
		return errMismatch()
	}
	return nil
}

func errMismatch() error { return malformed("an end tag that does not match") }

// end closes the innermost element. It returns it when it is a top-level one.
func (b *builder) end() *Element {
	f := b.open[len(b.open)-1]
	if children := b.nodes[f.nodes:]; len(children) > 0 {
		f.el.Children = b.slab.children(len(children))
		copy(f.el.Children, children)
		b.nodes = b.nodes[:f.nodes]
	}
	b.open = b.open[:len(b.open)-1]
	b.binds = b.binds[:f.binds]
	if b.atTop() {
		return f.el
	}
	b.nodes = append(b.nodes, Node{Element: f.el})
	return nil
}

// closeStream takes an end tag outside any stanza: the error is io.EOF when it
// is the stream's.
func (b *builder) closeStream(tok []byte) error {
	if err := b.matchEnd(tok); err != nil {
		return err
	}
	return io.EOF
}
