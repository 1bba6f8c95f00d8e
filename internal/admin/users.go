// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"bavard/internal/jid"
	"bavard/internal/state"
)

// Users is the part of a Backend that manages the accounts that there are.
// Names are with or without the domain. What is changed gives the address.
type Users interface {
	// SetPassword replaces the password and ends the account's sessions.
	SetPassword(ctx context.Context, name, password string) (address string, err error)
	// SetEnabled switches an account off, which ends its sessions, or on again.
	SetEnabled(ctx context.Context, name string, enabled bool) (address string, err error)
	// DeleteUser removes an account and what is its own, for good.
	DeleteUser(ctx context.Context, name string) (address string, err error)
	// ListUsers gives the accounts whose address is above after, sorted, at most
	// ListMost.
	ListUsers(ctx context.Context, after string) (Listing, error)
}

// ListMost bounds a listing.
const ListMost = 1000

// Listing of accounts.
type Listing struct {
	Accounts []Listed `json:"accounts"`
	More     bool     `json:"more"` // there are more above the last
}

// Listed is an account.
type Listed struct {
	Address  string    `json:"address"`
	Name     string    `json:"name,omitempty"` // that people see
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled,omitempty"`
}

// Manager is what a Backend needs to change accounts: *account.Service.
type Manager interface {
	SetPassword(ctx context.Context, name, password string) (jid.JID, error)
	SetEnabled(ctx context.Context, name string, enabled bool) (jid.JID, error)
	Delete(ctx context.Context, name string) (jid.JID, error)
	RemoveReport(ctx context.Context, number uint64) error
}

// SetPassword implements Backend.
func (b *backend) SetPassword(ctx context.Context, name, password string) (string, error) {
	return addressOr(b.o.Manage.SetPassword(ctx, name, password))
}

// SetEnabled implements Backend.
func (b *backend) SetEnabled(ctx context.Context, name string, enabled bool) (string, error) {
	return addressOr(b.o.Manage.SetEnabled(ctx, name, enabled))
}

// DeleteUser implements Backend.
func (b *backend) DeleteUser(ctx context.Context, name string) (string, error) {
	return addressOr(b.o.Manage.Delete(ctx, name))
}

func addressOr(j jid.JID, err error) (string, error) {
	if err != nil {
		return "", explain(err)
	}
	return j.String(), nil
}

// ListUsers implements Backend.
func (b *backend) ListUsers(_ context.Context, after string) (Listing, error) {
	all, err := b.o.List(after, ListMost)
	if err != nil {
		return Listing{}, explain(err)
	}
	l := Listing{Accounts: make([]Listed, 0, len(all)), More: len(all) == ListMost}
	for i := range all {
		l.Accounts = append(l.Accounts, listed(&all[i]))
	}
	return l, nil
}

func listed(a *state.Account) Listed {
	return Listed{Address: a.JID, Name: a.Name, Created: a.Created, Disabled: a.Disabled}
}

type newPassword struct {
	Password string `json:"password"`
}

// users adds the handlers of Users.
func (h *handler) users(mux *http.ServeMux) {
	changed := func(w http.ResponseWriter, what, address string, err error) {
		if err == nil {
			h.log.Info(what, "by", "operator", "account", address)
		}
		answer(w, addedUser{address}, err)
	}
	mux.HandleFunc("GET /v1/users", func(w http.ResponseWriter, r *http.Request) {
		l, err := h.b.ListUsers(r.Context(), r.URL.Query().Get("after"))
		answer(w, l, err)
	})
	mux.HandleFunc("PUT /v1/users/{name}/password", func(w http.ResponseWriter, r *http.Request) {
		var p newPassword
		if decode(w, r, &p) {
			address, err := h.b.SetPassword(r.Context(), r.PathValue("name"), p.Password)
			changed(w, "password set", address, err)
		}
	})
	for path, enabled := range map[string]bool{"enable": true, "disable": false} {
		mux.HandleFunc("POST /v1/users/{name}/"+path, func(w http.ResponseWriter, r *http.Request) {
			address, err := h.b.SetEnabled(r.Context(), r.PathValue("name"), enabled)
			changed(w, "account "+path+"d", address, err)
		})
	}
	mux.HandleFunc("DELETE /v1/users/{name}", func(w http.ResponseWriter, r *http.Request) {
		address, err := h.b.DeleteUser(r.Context(), r.PathValue("name"))
		changed(w, "account deleted", address, err)
	})
}

// SetPassword implements Backend.
func (c *Client) SetPassword(ctx context.Context, name, password string) (string, error) {
	return c.change(ctx, http.MethodPut, name, "/password", newPassword{password})
}

// SetEnabled implements Backend.
func (c *Client) SetEnabled(ctx context.Context, name string, enabled bool) (string, error) {
	if enabled {
		return c.change(ctx, http.MethodPost, name, "/enable", nil)
	}
	return c.change(ctx, http.MethodPost, name, "/disable", nil)
}

// DeleteUser implements Backend.
func (c *Client) DeleteUser(ctx context.Context, name string) (string, error) {
	return c.change(ctx, http.MethodDelete, name, "", nil)
}

func (c *Client) change(ctx context.Context, method, name, what string, in any) (string, error) {
	var changed addedUser
	err := c.do(ctx, method, "/v1/users/"+url.PathEscape(name)+what, in, &changed)
	return changed.Address, err
}

// ListUsers implements Backend.
func (c *Client) ListUsers(ctx context.Context, after string) (Listing, error) {
	var l Listing
	err := c.do(ctx, http.MethodGet, "/v1/users?after="+url.QueryEscape(after), nil, &l)
	return l, err
}
