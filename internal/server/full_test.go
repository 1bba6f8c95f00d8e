// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Where nothing new can be stored, whoever asks for it is told why, whatever it
// is: a message, a room, an account, a password. Logging in goes on.
func TestFullJournalIsToldAsSuch(t *testing.T) {
	s := startServer(t)
	s.account("alice")
	s.stop()
	s.cfg.Journal.MinFreeMiB = 1 << 20 // more than there is
	s.cfg.Registration.Open = true
	s.start()
	d := &device{t: t, user: "alice", resource: "phone", dial: s.dial(false)}
	d.login()
	d.bind()
	for _, st := range []string{
		"<message to='alice@localhost' type='chat' id='x'><body>Hi</body></message>",
		"<presence to='den@rooms.localhost/Alice' id='x'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
		"<iq type='set' id='x'><query xmlns='jabber:iq:register'><username>alice</username><password>correct horse</password></query></iq>",
		"<iq type='set' id='x'><vCard xmlns='vcard-temp'><FN>Alice</FN></vCard></iq>",
	} {
		d.send(st)
		constrained(t, d.must())
	}
	stranger := &device{t: t, user: "new", resource: "phone", dial: s.dial(false)}
	var err error
	if stranger.pipe, err = stranger.dial(); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.pipe.open("localhost"); err != nil {
		t.Fatal(err)
	}
	stranger.send("<iq type='set' id='x'><query xmlns='jabber:iq:register'><username>new</username><password>correct horse</password></query></iq>")
	constrained(t, stranger.must())
}

func constrained(t *testing.T, got *xmlstream.Element) {
	t.Helper()
	e := got.Child(stanza.NSClient, "error")
	if e.Get("type") != "wait" || e.Child(stanza.NSStanzaError, "resource-constraint") == nil {
		t.Errorf("the answer is %s", text(got))
	}
}
