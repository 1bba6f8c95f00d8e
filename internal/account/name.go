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
	if mixed(j.Local()) {
		return notAcceptable("A name has letters of one script: mixed ones can look like somebody else's.")
	}
	return nil
}

// together are the scripts that are written together, as UTS #39 has it (highly
// restrictive). They are immutable.
var together = [...][]*unicode.RangeTable{
	{unicode.Latin},
	{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Latin},
	{unicode.Han, unicode.Hangul, unicode.Latin},
	{unicode.Han, unicode.Bopomofo, unicode.Latin},
}

// mixed reports whether a name has letters of scripts that nobody writes
// together, so that it could pass for another (RFC 8264 §12.5). A name that is
// all of one other script can still look like one.
func mixed(name string) bool {
	for _, t := range together {
		if within(name, t...) {
			return false
		}
	}
	for script, t := range unicode.Scripts {
		if script != "Common" && script != "Inherited" && within(name, t) {
			return false
		}
	}
	return true
}

// within reports whether all characters of a name are of these scripts, or of
// none, as digits are.
func within(name string, scripts ...*unicode.RangeTable) bool {
	for _, r := range name {
		if !unicode.In(r, unicode.Common, unicode.Inherited) && !unicode.In(r, scripts...) {
			return false
		}
	}
	return true
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
