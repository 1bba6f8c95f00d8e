// SPDX-License-Identifier: Apache-2.0

package xmlstream

// slab hands out the parts of one top-level element from a few allocations,
// sized for a usual message. Slices are handed out without spare capacity, so
// that appending to one does not write into the next.
type slab struct {
	elements []Element
	attrs    []Attr
	nodes    []Node
}

// first is what a usual message needs, in one allocation of 1 KiB.
type first struct {
	elements [6]Element
	attrs    [6]Attr
	nodes    [9]Node
}

// element gives an element; alone says that the tree has no other.
func (s *slab) element(alone bool) *Element {
	if alone {
		return new(Element)
	}
	if len(s.elements) == 0 {
		s.more()
	}
	e := &s.elements[0]
	s.elements = s.elements[1:]
	return e
}

func (s *slab) more() {
	if s.attrs != nil || s.nodes != nil {
		s.elements = make([]Element, 8)
		return
	}
	f := new(first)
	s.elements, s.attrs, s.nodes = f.elements[:], f.attrs[:], f.nodes[:]
}

func (s *slab) attributes(n int) []Attr { return carve(&s.attrs, n) }

func (s *slab) children(n int) []Node { return carve(&s.nodes, n) }

// carve takes n entries from rest, which it replaces by a new piece when they
// do not fit; what needs a piece of its own gets one.
func carve[T any](rest *[]T, n int) []T {
	const piece = 8
	if n > len(*rest) {
		if n >= piece {
			return make([]T, n)
		}
		if *rest != nil {
			*rest = make([]T, piece)
		} else {
			return make([]T, n)
		}
	}
	out := (*rest)[:n:n]
	*rest = (*rest)[n:]
	return out
}
