// SPDX-License-Identifier: Apache-2.0

package stanza

import "bavard/internal/xmlstream"

// Message is a message with the children that were kept of it; nil when they do
// not parse. payload is not kept.
func Message(payload []byte) *xmlstream.Element {
	b := make([]byte, 0, len(payload)+64)
	b = append(b, "<message xmlns='"+NSClient+"'>"...)
	b = append(append(b, payload...), "</message>"...)
	m, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
	if err != nil {
		return nil
	}
	return m
}
