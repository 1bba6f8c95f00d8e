// SPDX-License-Identifier: Apache-2.0

package inbox

import (
	"testing"
	"time"

	"bavard/internal/archive"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/xmlstream"
)

// nowhere is a server without rooms.
type nowhere struct{ Rooms }

func (nowhere) OccupantID(string, string, uint64) string { return "" }

// FuzzRequest: whatever is asked for, it is a query of a bounded page, or an error.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"<inbox xmlns='urn:xmpp:inbox:1'/>",
		"<inbox xmlns='urn:xmpp:inbox:1' unread-only='1' messages='false'><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set></inbox>",
		"<inbox xmlns='urn:xmpp:inbox:1'><set xmlns='http://jabber.org/protocol/rsm'><max>9999999999</max><after>x</after><index>1</index></set></inbox>",
	} {
		f.Add(s)
	}
	ids, err := archive.NewIDs(make([]byte, archive.KeySize))
	if err != nil {
		f.Fatal(err)
	}
	from, err := jid.Parse("ann@localhost/x")
	if err != nil {
		f.Fatal(err)
	}
	feature := &inbox{Options{IDs: ids, Rooms: nowhere{}, Now: time.Now}}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := xmlstream.ParseElement([]byte(text), xmlstream.AfterAuth)
		if err != nil {
			return
		}
		q, bad := feature.parse(&route.Request{From: from, Payload: e})
		if bad == nil && (q.Max < 0 || q.Max > PageMost || q.Account != "ann@localhost") || bad != nil && bad.Text == "" {
			t.Fatalf("%+v, %v", q, bad)
		}
	})
}
