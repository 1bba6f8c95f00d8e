// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Keys of the table of reports: this byte, then
//
//	(nothing)           → the next number, how many there are
//	0, number           → report
//	1, account's id     → its reports: their numbers and whom they report
const (
	reportByNumber  = 0
	reportByAccount = 1
)

func reportKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableReport, reportByNumber}, number)
}

func reportsOfKey(account uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableReport, reportByAccount}, account)
}

// reportCounts are of all reports.
type reportCounts struct{ next, there uint64 }

func (c *reportCounts) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, recordVersion), c.next), c.there)
}

func parseReportCounts(b []byte) (reportCounts, error) {
	r := read(b)
	c := reportCounts{r.uvarint(), r.uvarint()}
	if c.next == 0 || c.there >= c.next {
		r.fail("%d reports before number %d", c.there, c.next)
	}
	return c, r.end()
}

// ownReport is one of an account's.
type ownReport struct {
	number uint64
	jid    string
}

func appendOwnReports(dst []byte, own []ownReport) []byte {
	dst = append(dst, recordVersion)
	for _, o := range own {
		dst = appendString(binary.AppendUvarint(dst, o.number), o.jid)
	}
	return dst
}

func parseOwnReports(b []byte) ([]ownReport, error) {
	r := read(b)
	var own []ownReport
	for r.err == nil && len(r.b) > 0 {
		own = append(own, ownReport{r.uvarint(), r.string()})
	}
	if len(own) > state.ReportsOfAccount {
		r.fail("%d reports of an account", len(own))
	}
	return own, r.end()
}

// Bits of a report's record.
const (
	reportOrigin     = 1
	reportThirdParty = 2
)

func appendReport(dst []byte, r *state.Report) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion), uint64(max(r.Time.UnixMilli(), 0)))
	for _, s := range []string{r.By, r.JID, r.Reason, r.Text} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Messages)))
	for _, m := range r.Messages {
		dst = appendString(appendString(dst, m.By), m.ID)
	}
	var bits byte
	if r.Origin {
		bits |= reportOrigin
	}
	if r.ThirdParty {
		bits |= reportThirdParty
	}
	return append(dst, bits)
}

func parseReport(b []byte) (state.Report, error) {
	r := read(b)
	var c state.Report
	c.Time = time.UnixMilli(int64(r.uvarint()))
	c.By, c.JID, c.Reason, c.Text = r.string(), r.string(), r.string(), r.string()
	n := r.uvarint()
	if n > state.ReportMessages {
		r.fail("%d messages of a report", n)
	}
	for i := uint64(0); i < n && r.err == nil; i++ {
		c.Messages = append(c.Messages, state.ReportedMessage{By: r.string(), ID: r.string()})
	}
	bits := r.byte()
	c.Origin, c.ThirdParty = bits&reportOrigin != 0, bits&reportThirdParty != 0
	return c, r.end()
}

// checkReport checks a record of the table of reports.
func checkReport(key, value []byte) (err error) {
	switch {
	case len(key) == 1:
		_, err = parseReportCounts(value)
	case len(key) == 2+8 && key[1] == reportByNumber:
		_, err = parseReport(value)
	case len(key) == 2+8 && key[1] == reportByAccount:
		_, err = parseOwnReports(value)
	default:
		err = corruptf("key of %d bytes", len(key))
	}
	return err
}

// blockReport is XEP-0377 §blocking @0.4.1: whoever is reported is blocked, as without a
// report, or nothing is done.
func (t *txn) blockReport(c *command.BlockReport) (command.Outcome, error) {
	if c.Block == nil || !goodReports(c) {
		return refuse(stanza.Modify, stanza.BadRequest, "a report names one of those that are blocked, and why"), nil
	}
	if o, err := t.block(c.Block); err != nil || o.Verdict != command.Accepted {
		return o, err
	}
	id := t.account(c.Block.Account)
	for _, r := range c.Reports {
		if err := t.report(c.Block.Account, id, r); err != nil {
			return command.Outcome{}, err
		}
	}
	return accept(), nil
}

func goodReports(c *command.BlockReport) bool {
	for _, r := range c.Reports {
		if r.Reason == "" || len(r.Reason) > state.ReportReason || len(r.Text) > state.ReportText ||
			len(r.Messages) > state.ReportMessages || !slices.Contains(c.Block.Jids, r.Jid) {
			return false
		}
		for _, m := range r.Messages {
			if len(m.By) > maxJID || len(m.Id) > state.ReportID {
				return false
			}
		}
	}
	return len(c.Reports) <= state.ReportsAtOnce
}

// report keeps one, and lets go of what it takes the place of.
func (t *txn) report(account string, id uint64, c *command.Report) error {
	counts, err := t.reportCounts()
	if err != nil {
		return err
	}
	own, err := t.ownReports(id)
	if err != nil {
		return err
	}
	before := slices.IndexFunc(own, func(o ownReport) bool { return o.jid == c.Jid })
	if before < 0 && len(own) == state.ReportsOfAccount {
		before = 0
	}
	if before >= 0 {
		t.delete(reportKey(own[before].number))
		own = slices.Delete(own, before, before+1)
		counts.there--
	}
	r := state.Report{Time: t.time(), By: account, JID: c.Jid, Reason: c.Reason, Text: c.Text, Origin: c.Origin, ThirdParty: c.ThirdParty}
	for _, m := range c.Messages {
		r.Messages = append(r.Messages, state.ReportedMessage{By: m.By, ID: m.Id})
	}
	t.put(reportKey(counts.next), appendReport(nil, &r))
	t.put(reportsOfKey(id), appendOwnReports(nil, append(own, ownReport{counts.next, c.Jid})))
	counts.next++
	counts.there++
	t.put([]byte{tableReport}, counts.append(nil))
	if counts.there <= state.ReportsMost {
		return nil
	}
	oldest, err := t.next(reportKey(0), reportsOfKey(0), 1)
	if err != nil || len(oldest) == 0 {
		return err
	}
	_, err = t.forgetReport([]byte(oldest[0]))
	return err
}

// reportRemove takes one away that has been dealt with.
func (t *txn) reportRemove(c *command.ReportRemove) (command.Outcome, error) {
	there, err := t.forgetReport(reportKey(c.Number))
	if err != nil || there {
		return accept(), err
	}
	return refuse(stanza.Cancel, stanza.ItemNotFound, "there is no such report"), nil
}

// forgetReport removes a report, and says whether there was one.
func (t *txn) forgetReport(key []byte) (bool, error) {
	b, err := t.get(key)
	if err != nil || b == nil {
		return false, err
	}
	r, err := parseReport(b)
	if err != nil {
		return false, t.a.v.damaged(err)
	}
	id, number := t.account(r.By), binary.BigEndian.Uint64(key[2:])
	own, err := t.ownReports(id)
	if err != nil {
		return false, err
	}
	own = slices.DeleteFunc(own, func(o ownReport) bool { return o.number == number })
	if len(own) == 0 {
		t.delete(reportsOfKey(id))
	} else {
		t.put(reportsOfKey(id), appendOwnReports(nil, own))
	}
	counts, err := t.reportCounts()
	if err != nil {
		return false, err
	}
	counts.there--
	t.put([]byte{tableReport}, counts.append(nil))
	t.delete(key)
	return true, nil
}

// deleteReports removes those of an account that is deleted.
func (t *txn) deleteReports(id uint64) error {
	own, err := t.ownReports(id)
	if err != nil || len(own) == 0 {
		return err
	}
	counts, err := t.reportCounts()
	if err != nil {
		return err
	}
	for _, o := range own {
		t.delete(reportKey(o.number))
		counts.there--
	}
	t.delete(reportsOfKey(id))
	t.put([]byte{tableReport}, counts.append(nil))
	return nil
}

func (t *txn) reportCounts() (reportCounts, error) {
	b, err := t.get([]byte{tableReport})
	if err != nil || b == nil {
		return reportCounts{next: 1}, err
	}
	c, err := parseReportCounts(b)
	return c, t.a.v.damaged(err)
}

func (t *txn) ownReports(id uint64) ([]ownReport, error) {
	b, err := t.get(reportsOfKey(id))
	if err != nil || b == nil {
		return nil, err
	}
	own, err := parseOwnReports(b)
	return own, t.a.v.damaged(err)
}

// Reports gives up to most reports that have not been dealt with, the newest first,
// of those with a lower number than before; 0 is of all. There are all of them in all.
func (v *View) Reports(before uint64, most int) (page []state.Report, all int, err error) {
	if err := v.enter(); err != nil {
		return nil, 0, err
	}
	defer v.leave()
	b, err := v.get(v.db, []byte{tableReport})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, v.damaged(err)
	}
	counts, err := parseReportCounts(b)
	if err != nil {
		return nil, 0, v.damaged(err)
	}
	end := reportsOfKey(0)
	if before != 0 {
		end = reportKey(before)
	}
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: reportKey(0), UpperBound: end})
	if err != nil {
		return nil, 0, v.damaged(err)
	}
	for ok := it.Last(); ok && len(page) < most && err == nil; ok = it.Prev() {
		var r state.Report
		if r, err = parseReport(it.Value()); err == nil {
			r.Number = binary.BigEndian.Uint64(it.Key()[2:])
			page = append(page, r)
		}
	}
	return page, int(counts.there), v.damaged(errors.Join(err, it.Error(), it.Close()))
}
