// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/text/unicode/norm"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func directoryKey(jid string) []byte { return append([]byte{tableDirectory}, jid...) }

// directorySet lists an account in the directory, or takes it out. It is gone
// from there with the account.
func (t *txn) directorySet(c *command.DirectorySet) (command.Outcome, error) {
	if t.account(c.Account) == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "there is no such account"), nil
	}
	if len(c.Name) > state.DirectoryName {
		return refuse(stanza.Modify, stanza.NotAcceptable, "the name is too long"), nil
	}
	if c.Listed {
		t.put(directoryKey(c.Account), appendString([]byte{recordVersion}, c.Name))
	} else {
		t.delete(directoryKey(c.Account))
	}
	return accept(), nil
}

func parseListed(b []byte) (string, error) {
	r := read(b)
	name := r.string()
	if len(name) > state.DirectoryName {
		r.fail("name of %d bytes", len(name))
	}
	return name, r.end()
}

// Listed gives the name under which an account is in the directory;
// state.ErrNotFound when it is not.
func (v *View) Listed(account string) (string, error) {
	if err := v.enter(); err != nil {
		return "", err
	}
	defer v.leave()
	b, err := v.get(v.db, directoryKey(account))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", state.ErrNotFound
	}
	if err != nil {
		return "", v.damaged(err)
	}
	name, err := parseListed(b)
	return name, v.damaged(err)
}

// directoryLooks bounds the entries that one search looks at.
const directoryLooks = 200_000

// Directory searches the directory: each word of text begins a word of somebody's
// name or of their address's first part, whatever marks their letters have, or text
// begins their address; "" finds everybody. It gives at most most of them, by address, of those after a given
// one, "" for the first; more says that there are others.
func (v *View) Directory(text, after string, most int) (found []state.Person, more bool, err error) {
	if err := v.enter(); err != nil {
		return nil, false, err
	}
	defer v.leave()
	var from []byte
	if after != "" {
		from = append(directoryKey(after), 0)
	}
	text = strings.ToLower(text)
	words, looks := wordsOf(text), 0
	err = v.rangeOver([]byte{tableDirectory}, from, func(key, value []byte) (bool, error) {
		looks++
		jid := string(key[1:])
		name, err := parseListed(value)
		if err != nil {
			return false, err
		}
		local, _ := split(jid)
		if strings.HasPrefix(jid, text) || !strings.Contains(text, "@") && len(words) > 0 && begin(words, wordsOf(name+" "+local)) {
			if more = len(found) == most; more {
				return false, nil
			}
			found = append(found, state.Person{JID: jid, Name: name})
		}
		return looks < directoryLooks, nil
	})
	return found, more, err
}

// wordsOf a name, folded.
func wordsOf(s string) []string {
	return strings.FieldsFunc(fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// fold gives a text in lower case and without the marks of its letters, as the app's own search does: people write
// "muller" for "Müller" where their keyboard has no ü.
func fold(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		s = strings.Map(func(r rune) rune {
			if unicode.IsMark(r) {
				return -1
			}
			return r
		}, norm.NFKD.String(s))
	}
	return strings.ToLower(s)
}

// begin reports whether each of some words begins one of others.
func begin(words, others []string) bool {
	for _, w := range words {
		found := false
		for _, o := range others {
			found = found || strings.HasPrefix(o, w)
		}
		if !found {
			return false
		}
	}
	return true
}
