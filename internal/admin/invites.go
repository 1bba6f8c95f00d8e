// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"bavard/internal/account"
	"bavard/internal/jid"
	"bavard/internal/state"
)

// Invites is the part of a Backend that makes invites, lists them and takes
// them back.
type Invites interface {
	// NewInvites makes invites.
	NewInvites(ctx context.Context, o InviteOptions) ([]Invite, error)
	// ListInvites gives invites that can be used, whoever made them, at most
	// ListMost, sorted by their ids; from is the Next of the page before, "" at
	// first.
	ListInvites(ctx context.Context, from string) (InviteListing, error)
	// RevokeInvite takes an invite back. Its id is as ListInvites gives it.
	RevokeInvite(ctx context.Context, id string) (ListedInvite, error)
}

// Bounds of invites.
const (
	MaxInvites    = 1000 // made at once
	MaxInviteUses = 10000
)

// InviteOptions describe invites to make.
type InviteOptions struct {
	Count   int           `json:"count"`            // how many; 1 to MaxInvites
	Uses    int           `json:"uses"`             // accounts per invite; 1 to MaxInviteUses
	Expires time.Duration `json:"expires"`          // nanoseconds from now; 0: never
	Room    string        `json:"room,omitempty"`   // who comes becomes a member of this room: its name or bare JID
	Circle  string        `json:"circle,omitempty"` // who joins by invites of one circle become contacts
}

// Invite to hand out: whoever has it can make an account.
type Invite struct {
	ID      string    `json:"id"` // by which it is listed and taken back
	Token   string    `json:"token"`
	Link    string    `json:"link"` // opens the app
	URI     string    `json:"uri"`  // opens an XMPP client (XEP-0401)
	Uses    int       `json:"uses"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Circle  string    `json:"circle,omitempty"`
}

// InviteListing is a page of invites. It can be empty though more follow.
type InviteListing struct {
	Invites []ListedInvite `json:"invites"`
	Next    string         `json:"next,omitempty"` // where to go on; "" after the last
}

// ListedInvite is an invite that was made. Its link is not known any more: that
// would need the token.
type ListedInvite struct {
	ID      string    `json:"id"`
	Uses    int       `json:"uses"`             // left
	Expires time.Time `json:"expires,omitzero"` // zero: never
	By      string    `json:"by,omitempty"`     // who made it; "" for the operator
	Room    string    `json:"room,omitempty"`
	Circle  string    `json:"circle,omitempty"`
}

// NewInvites implements Backend.
func (b *backend) NewInvites(ctx context.Context, o InviteOptions) ([]Invite, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Room != "" && !strings.Contains(o.Room, "@") {
		o.Room += "@rooms." + b.o.Domain
	}
	if o.Room != "" {
		room, err := jid.ParseBare(o.Room)
		if err != nil {
			return nil, &Error{Code: CodeInvalid, Text: o.Room + " is no address of a room"}
		}
		o.Room = room.String()
	}
	all := make([]Invite, 0, o.Count)
	for range o.Count {
		token, expires, err := b.o.Accounts.NewInvite(ctx, account.Invitation{
			Circle: o.Circle, Room: o.Room, Uses: uint32(o.Uses), TTL: o.Expires,
		})
		if err != nil {
			return nil, explain(err)
		}
		all = append(all, Invite{
			ID:    state.InviteID(account.HashToken(token)),
			Token: token,
			Link:  b.o.Base() + "/i/" + token,
			// XEP-0401 §preauth-ibr @0.6.0 and XEP-0445: the token stands after "preauth=".
			URI:  "xmpp:" + b.o.Domain + "?register;preauth=" + token,
			Uses: o.Uses, Expires: expires, Circle: o.Circle,
		})
	}
	return all, nil
}

func (o *InviteOptions) check() error {
	invalid := func(text string) error { return &Error{Code: CodeInvalid, Text: text} }
	switch {
	case o.Count < 1 || o.Count > MaxInvites:
		return invalid("the number of invites is 1 to 1000")
	case o.Uses < 1 || o.Uses > MaxInviteUses:
		return invalid("an invite has 1 to 10000 uses")
	case o.Expires < 0:
		return invalid("an invite cannot have expired already")
	case len(o.Circle) > 100:
		return invalid("the name of a circle has at most 100 bytes")
	}
	return nil
}

// minInviteID is the length of the ids that are given out, in bytes.
const minInviteID = 8

func (b *backend) listedInvite(i *state.ListedInvite) ListedInvite {
	return ListedInvite{ID: i.ID(), Uses: int(i.Uses), Expires: i.Expires, By: i.Inviter, Room: i.Room, Circle: i.Circle}
}

// ListInvites implements Backend.
func (b *backend) ListInvites(_ context.Context, from string) (InviteListing, error) {
	start, err := hex.DecodeString(from)
	if err != nil || len(start) > sha256.Size {
		return InviteListing{}, &Error{Code: CodeInvalid, Text: "that is no place in a list of invites"}
	}
	page, next, err := b.o.Invites(start, ListMost)
	if err != nil {
		return InviteListing{}, explain(err)
	}
	l := InviteListing{Invites: make([]ListedInvite, 0, len(page)), Next: hex.EncodeToString(next)}
	now := time.Now()
	for i := range page {
		if p := &page[i]; p.Uses > 0 && (p.Expires.IsZero() || now.Before(p.Expires)) {
			l.Invites = append(l.Invites, b.listedInvite(p))
		}
	}
	return l, nil
}

// RevokeInvite implements Backend.
func (b *backend) RevokeInvite(ctx context.Context, id string) (ListedInvite, error) {
	hash, err := hex.DecodeString(id)
	if err != nil || len(hash) < minInviteID || len(hash) > sha256.Size {
		return ListedInvite{}, &Error{Code: CodeInvalid, Text: "that is no id of an invite", Hint: "`bavard invite --list` shows them: 16 letters and digits"}
	}
	page, _, err := b.o.Invites(hash, 1)
	if err != nil {
		return ListedInvite{}, explain(err)
	}
	if len(page) == 0 || !bytes.HasPrefix(page[0].Hash, hash) {
		return ListedInvite{}, unknownInvite()
	}
	if err = b.o.Accounts.RevokeInvite(ctx, page[0].Hash); err != nil {
		err = explain(err)
		var e *Error
		if errors.As(err, &e) && e.Code == CodeUnknown {
			err = unknownInvite()
		}
		return ListedInvite{}, err
	}
	return b.listedInvite(&page[0]), nil
}

func unknownInvite() error {
	return &Error{Code: CodeUnknown, Text: "there is no such invite", Hint: "it has been used up, or taken back, or has expired"}
}

// invites adds the handlers of Invites.
func (h *handler) invites(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/invites", func(w http.ResponseWriter, r *http.Request) {
		var o InviteOptions
		if !decode(w, r, &o) {
			return
		}
		all, err := h.b.NewInvites(r.Context(), o)
		if err == nil {
			h.log.Info("invites made", "by", "operator", "count", len(all), "uses", o.Uses)
		}
		answer(w, all, err)
	})
	mux.HandleFunc("GET /v1/invites", func(w http.ResponseWriter, r *http.Request) {
		l, err := h.b.ListInvites(r.Context(), r.URL.Query().Get("from"))
		answer(w, l, err)
	})
	mux.HandleFunc("DELETE /v1/invites/{id}", func(w http.ResponseWriter, r *http.Request) {
		i, err := h.b.RevokeInvite(r.Context(), r.PathValue("id"))
		if err == nil {
			h.log.Info("invite taken back", "by", "operator", "id", i.ID)
		}
		answer(w, i, err)
	})
}

// NewInvites implements Backend.
func (c *Client) NewInvites(ctx context.Context, o InviteOptions) ([]Invite, error) {
	var all []Invite
	err := c.do(ctx, http.MethodPost, "/v1/invites", o, &all)
	return all, err
}

// ListInvites implements Backend.
func (c *Client) ListInvites(ctx context.Context, from string) (InviteListing, error) {
	var l InviteListing
	err := c.do(ctx, http.MethodGet, "/v1/invites?from="+url.QueryEscape(from), nil, &l)
	return l, err
}

// RevokeInvite implements Backend.
func (c *Client) RevokeInvite(ctx context.Context, id string) (ListedInvite, error) {
	var i ListedInvite
	err := c.do(ctx, http.MethodDelete, "/v1/invites/"+url.PathEscape(id), nil, &i)
	return i, err
}
