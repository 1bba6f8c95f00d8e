// SPDX-License-Identifier: Apache-2.0

package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"bavard/internal/jid"
	"bavard/internal/stanza"
)

// Bounds of what people choose, in characters.
const (
	maxLocal = 64
	maxName  = 80
)

// reserved are names that would let their owner pass for the service: those of
// RFC 2142 and what people take for an operator. Only the operator gives them.
const reserved = " abuse admin administrator administration bavard billing contact ftp help helpdesk hostmaster " +
	"info invite moderator moderators news noc nobody noreply no-reply official operator ops postmaster privacy " +
	"register registration root sales security server service staff status support system usenet uucp webmaster www xmpp "

// parseLocal normalises the local part of a new account. The error is a
// *stanza.Error.
func (s *Service) parseLocal(local string) (jid.JID, error) {
	if local == "" {
		return jid.JID{}, notAcceptable("An account needs a name.")
	}
	j, err := jid.Make(local, s.domain, "")
	if err != nil || j.Local() == "" {
		return jid.JID{}, notAcceptable("This name cannot be used in an address; try letters and digits.")
	}
	if utf8.RuneCountInString(j.Local()) > maxLocal {
		return jid.JID{}, notAcceptable("The name is too long: at most 64 characters.")
	}
	return j, nil
}

// mayRegister refuses names that are not for who comes with an invite.
func mayRegister(j jid.JID) error {
	if strings.Contains(reserved, " "+j.Local()+" ") {
		return stanza.Err(stanza.Cancel, stanza.Conflict, "This name is reserved; choose another.")
	}
	return nil
}

// cleanName trims the name that people see and refuses one that could not be
// shown on one line.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if utf8.RuneCountInString(name) > maxName {
		return "", notAcceptable("The name is too long: at most 80 characters.")
	}
	if strings.ContainsFunc(name, unprintable) {
		return "", notAcceptable("The name has characters that cannot be shown.")
	}
	return name, nil
}

// unprintable: control characters, line separators, and the marks that turn
// the direction of what follows.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		'\u202A' <= r && r <= '\u202E' || '\u2066' <= r && r <= '\u2069'
}
