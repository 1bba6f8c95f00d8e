// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"bavard/internal/state"
)

// Reports is the part of a Backend that shows what people report (XEP-0377).
type Reports interface {
	// ListReports gives the reports with a number below before, 0 for all, the newest
	// first, at most ReportsMost.
	ListReports(ctx context.Context, before uint64) (ReportListing, error)
	// RemoveReport removes one that has been dealt with.
	RemoveReport(ctx context.Context, number uint64) error
}

// ReportsMost bounds a listing of reports.
const ReportsMost = 100

// ReportListing is a page of reports.
type ReportListing struct {
	Reports []Report `json:"reports"`
	All     int      `json:"all"`  // how many there are
	More    bool     `json:"more"` // there are more below the last
}

// Report is what somebody tells of somebody else, whom they have blocked.
type Report struct {
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"`
	By       string    `json:"by"`
	JID      string    `json:"jid"`
	Reason   string    `json:"reason"` // a URN
	Text     string    `json:"text,omitempty"`
	Messages []string  `json:"messages,omitempty"` // ids of the archive
	// What the person agrees to: telling the domain that it came from, and others.
	Origin     bool `json:"origin,omitempty"`
	ThirdParty bool `json:"third_party,omitempty"`
}

// ListReports implements Backend.
func (b *backend) ListReports(_ context.Context, before uint64) (ReportListing, error) {
	page, all, err := b.o.Reports(before, ReportsMost+1)
	if err != nil {
		return ReportListing{}, explain(err)
	}
	l := ReportListing{Reports: []Report{}, All: all, More: len(page) > ReportsMost}
	for i := range page[:min(len(page), ReportsMost)] {
		l.Reports = append(l.Reports, reported(&page[i]))
	}
	return l, nil
}

func reported(r *state.Report) Report {
	out := Report{Number: r.Number, Time: r.Time, By: r.By, JID: r.JID, Reason: r.Reason, Text: r.Text, Origin: r.Origin, ThirdParty: r.ThirdParty}
	for _, m := range r.Messages {
		out.Messages = append(out.Messages, m.ID)
	}
	return out
}

// RemoveReport implements Backend.
func (b *backend) RemoveReport(ctx context.Context, number uint64) error {
	err := b.o.Manage.RemoveReport(ctx, number)
	if err == nil {
		return nil
	}
	err = explain(err)
	var e *Error
	if errors.As(err, &e) && e.Code == CodeUnknown {
		return &Error{Code: CodeUnknown, Text: "there is no such report", Hint: "somebody has removed it already, or who reported has gone"}
	}
	return err
}

// reports adds the handlers of Reports.
func (h *handler) reports(mux *http.ServeMux) {
	number := func(text string) (uint64, error) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, &Error{Code: CodeInvalid, Text: "that is no number of a report"}
		}
		return n, nil
	}
	mux.HandleFunc("GET /v1/reports", func(w http.ResponseWriter, r *http.Request) {
		before, err := number(r.URL.Query().Get("before"))
		var l ReportListing
		if err == nil {
			l, err = h.b.ListReports(r.Context(), before)
		}
		answer(w, l, err)
	})
	mux.HandleFunc("DELETE /v1/reports/{number}", func(w http.ResponseWriter, r *http.Request) {
		n, err := number(r.PathValue("number"))
		if err == nil {
			err = h.b.RemoveReport(r.Context(), n)
		}
		if err == nil {
			h.log.Info("report removed", "by", "operator", "number", n)
		}
		answer(w, struct{}{}, err)
	})
}

// ListReports implements Backend.
func (c *Client) ListReports(ctx context.Context, before uint64) (ReportListing, error) {
	var l ReportListing
	err := c.do(ctx, http.MethodGet, "/v1/reports?before="+url.QueryEscape(strconv.FormatUint(before, 10)), nil, &l)
	return l, err
}

// RemoveReport implements Backend.
func (c *Client) RemoveReport(ctx context.Context, number uint64) error {
	return c.do(ctx, http.MethodDelete, "/v1/reports/"+strconv.FormatUint(number, 10), nil, &struct{}{})
}
