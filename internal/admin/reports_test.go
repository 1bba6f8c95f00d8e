// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bavard/internal/account"
	"bavard/internal/account/accounttest"
	"bavard/internal/admin"
	"bavard/internal/health"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// handles accounts, and reports with the numbers 1 to some.
type handles struct {
	*account.Service
	left []state.Report // the newest first
}

func (h *handles) RemoveReport(_ context.Context, number uint64) error {
	i := slices.IndexFunc(h.left, func(r state.Report) bool { return r.Number == number })
	if i < 0 {
		return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")
	}
	h.left = slices.Delete(h.left, i, i+1)
	return nil
}

func (h *handles) page(before uint64, most int) (page []state.Report, all int, err error) {
	for _, r := range h.left {
		if (before == 0 || r.Number < before) && len(page) < most {
			page = append(page, r)
		}
	}
	return page, len(h.left), nil
}

func TestReports(t *testing.T) {
	for _, over := range []string{"data", "socket"} {
		t.Run(over, func(t *testing.T) {
			store := accounttest.New()
			service := account.New(account.Config{Store: store, Domain: "localhost"})
			h := &handles{Service: service}
			for n := uint64(admin.ReportsMost + 2); n > 0; n-- {
				h.left = append(h.left, state.Report{
					Number: n, By: "ann@localhost", JID: "eve@localhost", Reason: "urn:xmpp:reporting:spam", Text: "a", ThirdParty: true,
					Messages: []state.ReportedMessage{{By: "ann@localhost", ID: "m"}},
				})
			}
			b := admin.New(admin.Options{
				Domain: "localhost", Accounts: service, Manage: h, Account: store.Account, Reports: h.page,
				Base: func() string { return "" }, Warnings: health.NewWarnings(time.Now),
				Report: func(context.Context, *admin.Status) error { return nil },
			})
			if over == "socket" {
				b = serve(t, b, filepath.Join(t.TempDir(), "admin.sock"))
			}
			handleReports(t, b)
		})
	}
}

func handleReports(t *testing.T, b admin.Backend) {
	t.Helper()
	l, err := b.ListReports(t.Context(), 0)
	if err != nil || len(l.Reports) != admin.ReportsMost || !l.More || l.All != admin.ReportsMost+2 {
		t.Fatalf("%d of %d, more %v, %v", len(l.Reports), l.All, l.More, err)
	}
	first := l.Reports[0]
	if first.Number != admin.ReportsMost+2 || first.By != "ann@localhost" || first.JID != "eve@localhost" || first.Text != "a" || !first.ThirdParty || !slices.Equal(first.Messages, []string{"m"}) {
		t.Errorf("%+v", first)
	}
	if l, err = b.ListReports(t.Context(), 3); err != nil || len(l.Reports) != 2 || l.More {
		t.Errorf("%+v, %v", l, err)
	}
	if err := b.RemoveReport(t.Context(), 2); err != nil {
		t.Error(err)
	}
	if err := b.RemoveReport(t.Context(), 2); code(err) != admin.CodeUnknown {
		t.Error(err)
	}
	if l, err = b.ListReports(t.Context(), 3); err != nil || len(l.Reports) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}
