// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"bavard/internal/account"
	"bavard/internal/account/accounttest"
	"bavard/internal/admin"
	"bavard/internal/health"
	"bavard/internal/state"
)

func TestUsers(t *testing.T) {
	for _, over := range []string{"data", "socket"} {
		t.Run(over, func(t *testing.T) {
			store := accounttest.New()
			service := account.New(account.Config{Store: store, Domain: "localhost"})
			b := admin.New(admin.Options{
				Domain: "localhost", Accounts: service, Manage: service, Account: store.Account,
				Base: func() string { return "" }, Warnings: health.NewWarnings(time.Now),
				Report: func(context.Context, *admin.Status) error { return nil },
				List: func(after string, _ int) ([]state.Account, error) {
					a, err := store.Account("alice@localhost")
					if err != nil || after >= a.JID {
						return nil, nil
					}
					return []state.Account{a}, nil
				},
			})
			if over == "socket" {
				b = serve(t, b, filepath.Join(t.TempDir(), "admin.sock"))
			}
			manageUsers(t, b)
		})
	}
}

func manageUsers(t *testing.T, b admin.Backend) {
	t.Helper()
	ctx := t.Context()
	if _, err := b.AddUser(ctx, admin.User{Localpart: "alice", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	if a, err := b.SetPassword(ctx, "Alice@localhost", "battery staple"); err != nil || a != "alice@localhost" {
		t.Error(a, err)
	}
	if _, err := b.SetPassword(ctx, "alice", "short"); code(err) != admin.CodeInvalid {
		t.Error(err)
	}
	if _, err := b.SetEnabled(ctx, "alice", false); err != nil {
		t.Error(err)
	}
	if l, err := b.ListUsers(ctx, ""); err != nil || len(l.Accounts) != 1 || l.Accounts[0].Address != "alice@localhost" || !l.Accounts[0].Disabled || l.More {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := b.SetEnabled(ctx, "alice", true); err != nil {
		t.Error(err)
	}
	if a, err := b.DeleteUser(ctx, "alice"); err != nil || a != "alice@localhost" {
		t.Error(a, err)
	}
	for _, err := range []error{second(b.DeleteUser(ctx, "alice")), second(b.SetEnabled(ctx, "a/b?c", true)), second(b.SetPassword(ctx, "alice", "long enough"))} {
		if c := code(err); c != admin.CodeUnknown && c != admin.CodeInvalid {
			t.Error(err)
		}
	}
	if l, err := b.ListUsers(ctx, ""); err != nil || l.Accounts == nil || len(l.Accounts) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func second(_ string, err error) error { return err }
