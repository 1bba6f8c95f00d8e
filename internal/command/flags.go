// SPDX-License-Identifier: Apache-2.0

package command

// Bits of Message.flags. Persisted: never renumber.
const (
	// FlagNoCopy: the message must not be carbon-copied (XEP-0280 private,
	// XEP-0334 no-copy).
	FlagNoCopy uint32 = 1 << iota
	// FlagBody: it has a body, so a person would call it a message.
	FlagBody
)
