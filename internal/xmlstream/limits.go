// SPDX-License-Identifier: Apache-2.0

package xmlstream

// Limits bound what one top-level element (a stanza, a nonza or a stream
// header) may cost. A field that is zero takes its value from AfterAuth;
// MaxMemory, what the others allow.
type Limits struct {
	MaxBytes int // bytes from its '<' to its '>'
	MaxDepth int // levels of elements; a stanza without children has one
	MaxAttrs int // attributes and declarations of one element; also prefixes in scope
	MaxNodes int // elements, attributes, declarations and texts together
	MaxName  int // bytes of an element's or attribute's name with its prefix

	// MaxMemory bounds what an element that is not complete holds in memory:
	// its bytes, and nodeCost for each node.
	MaxMemory int
}

// nodeCost is about what a node takes in the tree and while it is built, in
// bytes, its strings apart.
const nodeCost = 144

// BeforeAuth is for peers that have not authenticated. It takes the 10,000
// bytes that every server must (RFC 6120 §13.12) in an element of some twenty
// nodes, and keeps what a Reader holds, all in all, within 16 KiB. It is immutable.
var BeforeAuth = Limits{MaxBytes: 10000, MaxDepth: 8, MaxAttrs: 32, MaxNodes: 64, MaxName: 128, MaxMemory: 12800}

// AfterAuth is for authenticated devices. It is immutable.
var AfterAuth = Limits{MaxBytes: 256 << 10, MaxDepth: 64, MaxAttrs: 64, MaxNodes: 4096, MaxName: 256}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.MaxBytes, AfterAuth.MaxBytes},
		{&l.MaxDepth, AfterAuth.MaxDepth},
		{&l.MaxAttrs, AfterAuth.MaxAttrs},
		{&l.MaxNodes, AfterAuth.MaxNodes},
		{&l.MaxName, AfterAuth.MaxName},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if l.MaxMemory <= 0 {
		l.MaxMemory = l.MaxBytes + l.MaxNodes*nodeCost
	}
	return l
}

// Stream error conditions of a SyntaxError (RFC 6120 §4.9.3).
const (
	BadFormat           = "bad-format"
	BadNamespacePrefix  = "bad-namespace-prefix"
	NotWellFormed       = "not-well-formed"
	PolicyViolation     = "policy-violation"
	RestrictedXML       = "restricted-xml"
	UnsupportedEncoding = "unsupported-encoding"
)

// SyntaxError says what is wrong with the input. The stream cannot go on:
// answer with the stream error Condition and close it (RFC 6120 §4.9.1.1).
type SyntaxError struct {
	Condition string // a condition of RFC 6120 §4.9.3
	Reason    string // English; holds nothing of the input
}

func (e *SyntaxError) Error() string { return e.Condition + ": " + e.Reason }

func malformed(reason string) error { return &SyntaxError{NotWellFormed, reason} }

func tooMuch(reason string) error { return &SyntaxError{PolicyViolation, reason} }
