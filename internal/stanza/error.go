// SPDX-License-Identifier: Apache-2.0

package stanza

import "bavard/internal/xmlstream"

// ErrorType is the type of a stanza error (RFC 6120 §8.3.2).
type ErrorType string

// Stanza error types.
const (
	Auth     ErrorType = "auth"
	Cancel   ErrorType = "cancel"
	Continue ErrorType = "continue"
	Modify   ErrorType = "modify"
	Wait     ErrorType = "wait"
)

// Condition is a defined condition (RFC 6120 §8.3.3).
type Condition string

// Stanza error conditions.
const (
	BadRequest            Condition = "bad-request"
	Conflict              Condition = "conflict"
	FeatureNotImplemented Condition = "feature-not-implemented"
	Forbidden             Condition = "forbidden"
	Gone                  Condition = "gone"
	InternalServerError   Condition = "internal-server-error"
	ItemNotFound          Condition = "item-not-found"
	JIDMalformed          Condition = "jid-malformed"
	NotAcceptable         Condition = "not-acceptable"
	NotAllowed            Condition = "not-allowed"
	NotAuthorized         Condition = "not-authorized"
	PolicyViolation       Condition = "policy-violation"
	RecipientUnavailable  Condition = "recipient-unavailable"
	RegistrationRequired  Condition = "registration-required"
	RemoteServerNotFound  Condition = "remote-server-not-found"
	RemoteServerTimeout   Condition = "remote-server-timeout"
	ResourceConstraint    Condition = "resource-constraint"
	ServiceUnavailable    Condition = "service-unavailable"
	SubscriptionRequired  Condition = "subscription-required"
	UndefinedCondition    Condition = "undefined-condition"
	UnexpectedRequest     Condition = "unexpected-request"
)

// Error is a stanza error (RFC 6120 §8.3): a value that carries the protocol's
// answer and a hint for who reads it.
type Error struct {
	Type      ErrorType
	Condition Condition
	Text      string             // English, what to do about it; may be ""
	By        string             // who reports it; "" leaves it out
	Code      string             // for clients that go by legacy codes (XEP-0086 @1.0); "" leaves it out
	App       *xmlstream.Element // application-specific condition; may be nil
}

// Err makes an Error.
func Err(t ErrorType, c Condition, text string) *Error {
	return &Error{Type: t, Condition: c, Text: text}
}

func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Text
}

// Blocked answers who writes to an address on the own blocklist
// (XEP-0191 §block @1.3).
func Blocked() *Error {
	e := Err(Cancel, NotAcceptable, "this address is on your blocklist: take it off first")
	e.App = xmlstream.New(NSBlockError, "blocked")
	return e
}

// Element gives <error/> in the namespace jabber:client.
func (e *Error) Element() *xmlstream.Element {
	el := xmlstream.New(NSClient, "error", "type", string(e.Type), "by", e.By, "code", e.Code)
	el.Add(xmlstream.New(NSStanzaError, string(e.Condition)))
	if e.Text != "" {
		text := xmlstream.NewText(NSStanzaError, "text", e.Text)
		text.Attr = append(text.Attr, xmlstream.Attr{Name: xmlstream.Name{Space: xmlstream.XMLNamespace, Local: "lang"}, Value: "en"})
		el.Add(text)
	}
	return el.Add(e.App)
}

// Reply makes the error reply to a stanza: addresses swapped, same name, id
// and type error. The payload is not echoed.
func (e *Error) Reply(to *xmlstream.Element) *xmlstream.Element {
	r := xmlstream.New(NSClient, to.Name.Local)
	r.Set("type", "error").Set("id", to.Get("id")).Set("from", to.Get("to")).Set("to", to.Get("from"))
	return r.Add(e.Element())
}

// Result makes the result reply to an IQ, addresses swapped.
func Result(iq *xmlstream.Element, payload ...*xmlstream.Element) *xmlstream.Element {
	r := xmlstream.New(NSClient, "iq", "type", "result")
	r.Set("id", iq.Get("id")).Set("from", iq.Get("to")).Set("to", iq.Get("from"))
	return r.Add(payload...)
}
