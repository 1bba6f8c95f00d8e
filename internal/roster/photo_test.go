// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"testing"

	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

func TestWithPhoto(t *testing.T) {
	const (
		none  = "<presence xmlns='jabber:client'/>"
		empty = "<presence xmlns='jabber:client'><x xmlns='vcard-temp:x:update'/></presence>"
		no    = "<presence xmlns='jabber:client'><x xmlns='vcard-temp:x:update'><photo/></x></presence>"
		wrong = "<presence xmlns='jabber:client'><x xmlns='vcard-temp:x:update'><photo>00</photo></x></presence>"
		right = "<presence xmlns='jabber:client'><x xmlns='vcard-temp:x:update'><photo>ab</photo></x></presence>"
	)
	never, has, had := state.AvatarHash{}, state.AvatarHash{Known: true, Hash: "ab"}, state.AvatarHash{Known: true}
	for _, c := range []struct {
		sent string
		hash state.AvatarHash
		want string
	}{
		{none, never, none},
		{empty, never, no},
		{no, never, no},
		{wrong, never, wrong},
		{none, has, right},
		{empty, has, right},
		{no, has, no},
		{wrong, has, right},
		{right, has, right},
		{none, had, no},
		{empty, had, no},
		{no, had, no},
		{wrong, had, wrong},
	} {
		p, err := xmlstream.ParseElement([]byte(c.sent), xmlstream.AfterAuth)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(xmlstream.AppendElement(nil, WithPhoto(p, c.hash), "")); got != c.want {
			t.Errorf("%s with %+v:\ngot  %s\nwant %s", c.sent, c.hash, got, c.want)
		}
		if after := string(xmlstream.AppendElement(nil, p, "")); after != c.sent {
			t.Errorf("the presence of the client was changed: %s", after)
		}
		if SaysPhoto(p) != (c.sent == no) {
			t.Errorf("%s: says that there is none: %v", c.sent, SaysPhoto(p))
		}
	}
	if SaysPhoto(xmlstream.New(stanza.NSClient, "presence")) {
		t.Error("presence that says nothing says that there is no picture")
	}
}
