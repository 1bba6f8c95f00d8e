// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func vcardSet(account string, vcard []byte) *command.Command {
	return &command.Command{Request: &command.Command_VcardSet{VcardSet: &command.VCardSet{Account: at(account), Vcard: vcard}}}
}

func left(account string) *command.Command {
	return &command.Command{Request: &command.Command_Left{Left: &command.Left{Account: at(account)}}}
}

func TestVCard(t *testing.T) {
	c := newCell(t, "ann")
	if _, err := c.v.VCard(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
	c.accept(vcardSet("ann", []byte("<vCard/>")))
	if b, err := c.v.VCard(at("ann")); err != nil || string(b) != "<vCard/>" {
		t.Fatalf("%q, %v", b, err)
	}
	c.accept(vcardSet("ann", make([]byte, maxVCard)))
	c.refused(vcardSet("ann", make([]byte, maxVCard+1)), stanza.PolicyViolation)
	c.refused(vcardSet("nobody", nil), stanza.NotAuthorized)
	c.accept(vcardSet("ann", nil))
	if _, err := c.v.VCard(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestLeft(t *testing.T) {
	c := newCell(t, "ann")
	if _, err := c.v.Left(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
	for range 2 {
		c.now = c.now.Add(time.Hour)
		c.accept(left("ann"))
		if at, err := c.v.Left(at("ann")); err != nil || !at.Equal(c.now) {
			t.Fatal(at, err)
		}
	}
	c.refused(left("nobody"), stanza.NotAuthorized)
	if err := c.v.Scrub(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
