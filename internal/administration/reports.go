// SPDX-License-Identifier: Apache-2.0

package administration

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// reports lists what people report (XEP-0377), as a table (XEP-0004 §protocol-results
// @2.13.2), the newest first.
func (f *administration) reports(_ context.Context, in values) ([]*xmlstream.Element, string, error) {
	limit, err := limit(in)
	if err != nil {
		return nil, "", err
	}
	var before uint64
	if text := in.one("before"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 64); err != nil || before == 0 {
			return nil, "", stanza.Err(stanza.Modify, stanza.BadRequest, "before is the number of a report")
		}
	}
	page, _, err := f.o.Reports(before, min(limit, reportsMost))
	if err != nil {
		return nil, "", err
	}
	head := xmlstream.New(stanza.NSData, "reported")
	for _, c := range columns() {
		head.Add(xmlstream.New(stanza.NSData, "field", "type", c.typ, "var", c.name, "label", c.label))
	}
	table := []*xmlstream.Element{head}
	for i := range page {
		row := xmlstream.New(stanza.NSData, "item")
		for _, c := range columns() {
			cell := xmlstream.New(stanza.NSData, "field", "var", c.name)
			for _, v := range c.value(&page[i]) {
				cell.Add(xmlstream.NewText(stanza.NSData, "value", v))
			}
			row.Add(cell)
		}
		table = append(table, row)
	}
	return table, "", nil
}

// column of the table of reports.
type column struct {
	typ, name, label string
	value            func(*state.Report) []string
}

func columns() []column {
	one := func(get func(*state.Report) string) func(*state.Report) []string {
		return func(r *state.Report) []string { return []string{get(r)} }
	}
	return []column{
		{"text-single", "number", "Number", one(func(r *state.Report) string { return strconv.FormatUint(r.Number, 10) })},
		{"text-single", "stamp", "When", one(func(r *state.Report) string { return r.Time.UTC().Format(time.RFC3339) })},
		{"jid-single", "by", "Who reports", one(func(r *state.Report) string { return r.By })},
		{"jid-single", "jid", "Who is reported", one(func(r *state.Report) string { return r.JID })},
		{"text-single", "reason", "Why", one(func(r *state.Report) string { return r.Reason })},
		{"text-single", "text", "In their words", one(func(r *state.Report) string { return r.Text })},
		{"text-multi", "messages", "Messages, by their ids in the archive", func(r *state.Report) (all []string) {
			for _, m := range r.Messages {
				all = append(all, m.ID)
			}
			return all
		}},
	}
}

// removeReports removes those that have been dealt with. What is not there any more is
// told in a note; when that is the only one, in an error.
func (f *administration) removeReports(ctx context.Context, in values) ([]*xmlstream.Element, string, error) {
	var notes []string
	for _, text := range in["numbers"] {
		number, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, "", stanza.Err(stanza.Modify, stanza.BadRequest, "name reports by their numbers")
		}
		err = f.o.Accounts.RemoveReport(ctx, number)
		var e *stanza.Error
		switch {
		case err == nil:
		case len(in["numbers"]) > 1 && errors.As(err, &e):
			notes = append(notes, text+": "+e.Text)
		default:
			return nil, "", err
		}
	}
	return nil, strings.Join(notes, "\n"), nil
}
