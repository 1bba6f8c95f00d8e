// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func enlist(account string, listed bool, name string) *command.Command {
	return &command.Command{Request: &command.Command_DirectorySet{DirectorySet: &command.DirectorySet{Account: at(account), Listed: listed, Name: name}}}
}

func TestDirectory(t *testing.T) {
	c := newCell(t, "ann", "bob", "bea")
	found := func(text, after string, most int) string {
		people, more, err := c.v.Directory(text, after, most)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, p := range people {
			s += p.JID[:3] + " "
		}
		return s + fmt.Sprint(more)
	}
	c.accept(enlist("ann", true, "Ann-Marie d’Été"))
	c.accept(enlist("bob", true, ""))
	c.accept(enlist("bea", true, "Béa Marin"))
	for text, want := range map[string]string{
		"MAR": "ann bea false", "été ann": "ann false", "ete": "ann false", "bea\u0301": "bea false", "ma\u0301r": "ann bea false", "b": "bea bob false", "BOB@example.org": "bob false", "bob@": "bob false", "nn": "false", "@": "false", "-": "false",
	} {
		if got := found(text, "", 10); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := found("", "", 1) + found("", at("ann"), 1); got != "ann truebea true" {
		t.Error(got)
	}
	c.accept(enlist("bob", false, ""))
	if _, err := c.v.Listed(at("bob")); !errors.Is(err, state.ErrNotFound) {
		t.Error(err)
	}
	if name, err := c.v.Listed(at("bea")); err != nil || name != "Béa Marin" {
		t.Error(name, err)
	}
	c.accept(remove("bea"))
	if got := found("b", "", 10); got != "false" {
		t.Error(got)
	}
	c.refused(enlist("nobody", true, ""), stanza.NotAuthorized)
	c.refused(enlist("ann", true, strings.Repeat("x", state.DirectoryName+1)), stanza.NotAcceptable)
}
