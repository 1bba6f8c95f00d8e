// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func TestContacts(t *testing.T) {
	if f := Contacts(Contact{}); len(f.Forms) != 0 {
		t.Errorf("nothing is configured, and there are %d forms", len(f.Forms))
	}
	f := Contacts(Contact{Support: []string{"xmpp:a@b", "https://b/<help>"}, Admin: []string{"xmpp:c@b"}, ExternalStatus: []string{"https://s"}})
	want := []string{
		"<x xmlns='jabber:x:data' type='result'><field type='hidden' var='FORM_TYPE'><value>http://jabber.org/network/serverinfo</value></field>" +
			"<field type='list-multi' var='admin-addresses'><value>xmpp:c@b</value></field>" +
			"<field type='list-multi' var='support-addresses'><value>xmpp:a@b</value><value>https://b/&lt;help&gt;</value></field></x>",
		"<x xmlns='jabber:x:data' type='result'><field type='hidden' var='FORM_TYPE'><value>urn:xmpp:sos:0</value></field>" +
			"<field type='list-multi' var='external-status-addresses'><value>https://s</value></field></x>",
	}
	for i, w := range want {
		if got := string(xmlstream.AppendElement(nil, f.Forms[i], stanza.NSDiscoInfo)); got != w {
			t.Errorf("got  %s\nwant %s", got, w)
		}
	}
}
