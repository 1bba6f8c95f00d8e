// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	spam  = "urn:xmpp:reporting:spam"
	abuse = "urn:xmpp:reporting:abuse"
)

// reports blocks somebody and reports them.
func reports(account, jid, reason, text string) *command.Command {
	return blockReport(account, &command.Report{Jid: jid, Reason: reason, Text: text})
}

func blockReport(account string, all ...*command.Report) *command.Command {
	b := &command.Block{Account: at(account)}
	for _, r := range all {
		b.Jids = append(b.Jids, r.Jid)
	}
	return &command.Command{Request: &command.Command_BlockReport{BlockReport: &command.BlockReport{Block: b, Reports: all}}}
}

func reportRemove(number uint64) *command.Command {
	return &command.Command{Request: &command.Command_ReportRemove{ReportRemove: &command.ReportRemove{Number: number}}}
}

// reported holds the reports, the newest first, against "number by jid text", and
// their number.
func (c *cellOf) reported(want ...string) {
	c.t.Helper()
	page, all, err := c.v.Reports(0, state.ReportsMost)
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, r := range page {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s %s", r.Number, strings.TrimSuffix(r.By, "@"+domain), strings.TrimSuffix(r.JID, "@"+domain), r.Text)))
	}
	if !slices.Equal(got, want) || all != len(want) {
		c.t.Errorf("%d reports %q, want %q", all, got, want)
	}
}

func TestReports(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	c.reported()
	c.accept(blockReport("ann", &command.Report{
		Jid: at("eve"), Reason: abuse, Text: "She is rude.", ThirdParty: true,
		Messages: []*command.ReportedMessage{{By: at("ann"), Id: "m1"}, {By: at("ann"), Id: "m2"}},
	}))
	if blocked, err := c.v.Blocked(at("ann"), at("eve")); !blocked || err != nil {
		t.Errorf("who is reported is blocked: %v, %v", blocked, err)
	}
	c.accept(reports("bob", at("eve"), spam, ""))
	c.accept(reports("bob", "away.example", spam, "all of them"))
	c.reopen()
	c.reported("3 bob away.example all of them", "2 bob eve", "1 ann eve She is rude.")
	page, all, err := c.v.Reports(2, 9)
	if err != nil || all != 3 || len(page) != 1 {
		t.Fatalf("%v, %d, %v", page, all, err)
	}
	r := page[0]
	if r.Reason != abuse || r.Origin || !r.ThirdParty || r.Time.IsZero() || !slices.Equal(r.Messages, []state.ReportedMessage{{By: at("ann"), ID: "m1"}, {By: at("ann"), ID: "m2"}}) {
		t.Errorf("%+v", r)
	}
	// The newest about somebody is what they have to say.
	c.accept(reports("bob", at("eve"), abuse, "worse"))
	c.reported("4 bob eve worse", "3 bob away.example all of them", "1 ann eve She is rude.")
	c.accept(reportRemove(3))
	c.refused(reportRemove(3), stanza.ItemNotFound)
	c.refused(reportRemove(0), stanza.ItemNotFound)
	c.reported("4 bob eve worse", "1 ann eve She is rude.")
	c.accept(remove("ann"))
	c.reported("4 bob eve worse")
	c.accept(remove("eve"))
	c.reported("4 bob eve worse")
	c.scrub()
}

// Who reports is refused as one who blocks is, and then nothing is done.
func TestBadReports(t *testing.T) {
	c := newCell(t, "ann", "eve")
	long := strings.Repeat("x", 1001)
	for name, cmd := range map[string]*command.Command{
		"nothing":          {Request: &command.Command_BlockReport{BlockReport: &command.BlockReport{}}},
		"no reason":        reports("ann", at("eve"), "", ""),
		"a long reason":    reports("ann", at("eve"), long, ""),
		"a long text":      reports("ann", at("eve"), spam, long),
		"a long id":        blockReport("ann", &command.Report{Jid: at("eve"), Reason: spam, Messages: []*command.ReportedMessage{{Id: long}}}),
		"many messages":    blockReport("ann", &command.Report{Jid: at("eve"), Reason: spam, Messages: slices.Repeat([]*command.ReportedMessage{{Id: "m"}}, 17)}),
		"many reports":     blockReport("ann", slices.Repeat([]*command.Report{{Jid: at("eve"), Reason: spam}}, 17)...),
		"who is unblocked": {Request: &command.Command_BlockReport{BlockReport: &command.BlockReport{Block: &command.Block{Account: at("ann"), Jids: []string{"x"}}, Reports: []*command.Report{{Jid: at("eve"), Reason: spam}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.apply(cmd).Outcomes[0]
			if o.Err == nil || o.Err.Condition != stanza.BadRequest {
				t.Errorf("%+v", o)
			}
		})
	}
	c.refused(reports("ann", at("ann"), spam, ""), stanza.NotAllowed)
	c.refused(reports("nobody", at("ann"), spam, ""), stanza.NotAuthorized)
	if list, err := c.v.Blocklist(at("ann")); len(list) > 0 || err != nil {
		t.Errorf("blocks %v, %v", list, err)
	}
	c.reported()
}

// One account pushes out its own reports, never those of others.
func TestReportsAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(reports("bob", at("ann"), spam, "mine"))
	var batch []*command.Command
	for i := range 3 * state.ReportsOfAccount {
		batch = append(batch, reports("ann", fmt.Sprintf("x%d.example", i), spam, ""))
	}
	c.apply(batch[:50]...)
	c.apply(batch[50:]...)
	page, all, err := c.v.Reports(0, 100)
	if err != nil || all != state.ReportsOfAccount+1 || len(page) != all || page[0].JID != "x95.example" || page[all-1].Text != "mine" {
		t.Fatalf("%d reports, %v: %+v", all, err, page)
	}
	c.scrub()
}

// When all together have too many, the oldest goes, whoever wrote it.
func TestOldestReportGoes(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(reports("ann", "first.example", spam, ""))
	c.accept(reports("ann", "second.example", spam, ""))
	var batch []*command.Command
	const accounts = (state.ReportsMost - 2) / state.ReportsOfAccount
	for i := range accounts {
		who := fmt.Sprint("u", i)
		batch = append(batch, create(who))
		for n := range state.ReportsOfAccount / state.ReportsAtOnce {
			var all []*command.Report
			for m := range state.ReportsAtOnce {
				all = append(all, &command.Report{Jid: fmt.Sprintf("x%d-%d.example", n, m), Reason: spam})
			}
			batch = append(batch, blockReport(who, all...))
		}
	}
	c.apply(batch...)
	for i := range state.ReportsMost - 2 - accounts*state.ReportsOfAccount {
		c.accept(reports("ann", fmt.Sprintf("y%d.example", i), spam, ""))
	}
	if page, all, err := c.v.Reports(3, 9); err != nil || all != state.ReportsMost || len(page) != 2 {
		t.Fatalf("%d, %v: %+v", all, err, page)
	}
	c.accept(reports("ann", "last.example", spam, ""))
	if page, all, err := c.v.Reports(3, 9); err != nil || all != state.ReportsMost || len(page) != 1 || page[0].JID != "second.example" {
		t.Fatalf("%d, %v: %+v", all, err, page)
	}
	c.refused(reportRemove(1), stanza.ItemNotFound)
	c.accept(remove("ann"))
	c.scrub()
}

func randomReport(r *rapid.T, account, jid string) *command.Command {
	if rapid.Bool().Draw(r, "remove") {
		return reportRemove(rapid.Uint64Range(1, 4).Draw(r, "number"))
	}
	return reports(account, jid, spam, rapid.SampledFrom([]string{"", "text"}).Draw(r, "text"))
}
