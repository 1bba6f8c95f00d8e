// SPDX-License-Identifier: Apache-2.0

package blocking

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

func blocked(t *testing.T, items string) *command.Command {
	t.Helper()
	iq, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='set' id='1'><block xmlns='urn:xmpp:blocking'>"+items+"</block></iq>"), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	from, err := jid.Parse("ann@localhost/x")
	if err != nil {
		t.Fatal(err)
	}
	return block(&route.Request{From: from, Stanza: iq, Payload: iq.First()})[0].(route.Append).Command
}

func item(jid, report string) string { return "<item jid='" + jid + "'>" + report + "</item>" }

const spam = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/>"

func TestReports(t *testing.T) {
	c := blocked(t, item("Eve@localhost", "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:abuse'><text xml:lang='en'> rude </text><text>grob</text>"+
		"<third-party/><stanza-id xmlns='urn:xmpp:sid:0' by='Ann@localhost' id='m1'/><stanza-id xmlns='urn:xmpp:sid:0' by='@' id='m2'/></report>")+
		item("bob@localhost", "")+item("fay@localhost", spam+spam)+item("fay@localhost", spam)).GetBlockReport()
	if len(c.Reports) != 2 || len(c.Block.Jids) != 3 || c.Block.Account != "ann@localhost" {
		t.Fatalf("%v", c)
	}
	r := c.Reports[0]
	if r.Jid != "eve@localhost" || r.Reason != "urn:xmpp:reporting:abuse" || r.Text != "rude" || r.Origin || !r.ThirdParty ||
		len(r.Messages) != 1 || r.Messages[0].By != "ann@localhost" || r.Messages[0].Id != "m1" {
		t.Errorf("%v", r)
	}
}

// What is wrong with a report keeps nobody from being blocked.
func TestReportsThatAreNone(t *testing.T) {
	for name, report := range map[string]string{
		"none":          "",
		"no reason":     "<report xmlns='urn:xmpp:reporting:1'/>",
		"a long reason": "<report xmlns='urn:xmpp:reporting:1' reason='" + strings.Repeat("x", state.ReportReason+1) + "'/>",
		"an older one":  "<report xmlns='urn:xmpp:reporting:0'><spam/></report>",
	} {
		t.Run(name, func(t *testing.T) {
			if c := blocked(t, item("eve@localhost", report)); len(c.GetBlock().GetJids()) != 1 {
				t.Errorf("%v", c)
			}
		})
	}
}

func TestReportsAreBounded(t *testing.T) {
	var items strings.Builder
	for i := range state.ReportsAtOnce + 3 {
		items.WriteString(item(fmt.Sprintf("u%d@localhost", i), "<report xmlns='urn:xmpp:reporting:1' reason='r'><text>"+strings.Repeat("€", state.ReportText)+"</text>"+
			strings.Repeat("<stanza-id xmlns='urn:xmpp:sid:0' by='ann@localhost' id='m'/>", state.ReportMessages+3)+"</report>"))
	}
	c := blocked(t, items.String()).GetBlockReport()
	if len(c.Reports) != state.ReportsAtOnce || len(c.Block.Jids) != state.ReportsAtOnce+3 {
		t.Fatalf("%d reports, %d blocked", len(c.Reports), len(c.Block.Jids))
	}
	if r := c.Reports[0]; len(r.Messages) != state.ReportMessages || len(r.Text) != 999 || !utf8.ValidString(r.Text) {
		t.Errorf("%d messages, %d bytes", len(r.Messages), len(r.Text))
	}
}
