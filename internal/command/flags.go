// SPDX-License-Identifier: Apache-2.0

package command

// Bits of Message.flags and RoomMessage.flags. Persisted: never renumber.
const (
	// FlagNoCopy: the message must not be carbon-copied (XEP-0280 private,
	// XEP-0334 no-copy).
	FlagNoCopy uint32 = 1 << iota
	// FlagBody: it has a body that is more than a fallback, or content that is
	// encrypted, and corrects nothing: a person would call it a message.
	FlagBody
	// FlagSubject: it sets the room's subject (XEP-0045 §subject-mod @1.35.5).
	FlagSubject
	// FlagNoStore: the room does not archive it (XEP-0334 no-store).
	FlagNoStore

	// FlagDisplayed: it says how far its sender has read what the recipient
	// wrote (XEP-0333).
	FlagDisplayed uint32 = 1 << 16
)
