// SPDX-License-Identifier: Apache-2.0

package stanza

import "bavard/internal/xmlstream"

// StreamCondition is a stream error condition (RFC 6120 §4.9.3).
type StreamCondition string

// Stream error conditions.
const (
	StreamBadFormat           StreamCondition = "bad-format"
	StreamConflict            StreamCondition = "conflict"
	StreamConnectionTimeout   StreamCondition = "connection-timeout"
	StreamHostUnknown         StreamCondition = "host-unknown"
	StreamInternalServerError StreamCondition = "internal-server-error"
	StreamInvalidNamespace    StreamCondition = "invalid-namespace"
	StreamInvalidXML          StreamCondition = "invalid-xml"
	StreamNotAuthorized       StreamCondition = "not-authorized"
	StreamNotWellFormed       StreamCondition = "not-well-formed"
	StreamPolicyViolation     StreamCondition = "policy-violation"
	StreamReset               StreamCondition = "reset"
	StreamResourceConstraint  StreamCondition = "resource-constraint"
	StreamRestrictedXML       StreamCondition = "restricted-xml"
	StreamSystemShutdown      StreamCondition = "system-shutdown"
	StreamUndefinedCondition  StreamCondition = "undefined-condition"
	StreamUnsupportedEncoding StreamCondition = "unsupported-encoding"
	StreamUnsupportedStanza   StreamCondition = "unsupported-stanza-type"
	StreamUnsupportedVersion  StreamCondition = "unsupported-version"
	StreamImproperAddressing  StreamCondition = "improper-addressing"
	StreamInvalidFrom         StreamCondition = "invalid-from"
)

// StreamError ends a stream (RFC 6120 §4.9).
type StreamError struct {
	Condition StreamCondition
	Text      string             // English hint; may be ""
	App       *xmlstream.Element // application-specific condition; may be nil
}

// StreamErr makes a StreamError.
func StreamErr(c StreamCondition, text string) *StreamError {
	return &StreamError{Condition: c, Text: text}
}

func (e *StreamError) Error() string {
	if e.Text == "" {
		return "stream error: " + string(e.Condition)
	}
	return "stream error: " + string(e.Condition) + ": " + e.Text
}

// Element gives <stream:error/>.
func (e *StreamError) Element() *xmlstream.Element {
	el := xmlstream.New(NSStream, "error").Add(xmlstream.New(NSStreamError, string(e.Condition)))
	if e.Text != "" {
		el.Add(xmlstream.NewText(NSStreamError, "text", e.Text))
	}
	return el.Add(e.App)
}
