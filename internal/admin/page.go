// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"time"
)

// Pages let the operator into the admin page of a running server.
type Pages interface {
	// PageLink makes a link to it that can be opened once.
	PageLink(ctx context.Context) (PageLink, error)
}

// PageLink is a link to the admin page. What it has after the # is a secret.
type PageLink struct {
	Link    string    `json:"link"`
	Expires time.Time `json:"expires"`
}

// PageLink implements Backend.
func (b *backend) PageLink(context.Context) (PageLink, error) {
	if b.o.PageLink == nil {
		return PageLink{}, ErrNotRunning
	}
	return b.o.PageLink()
}

func (h *handler) pages(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/page", func(w http.ResponseWriter, r *http.Request) {
		l, err := h.b.PageLink(r.Context())
		if err == nil {
			h.log.Info("a link to the admin page was made", "by", "operator", "until", l.Expires)
		}
		answer(w, l, err)
	})
}

// PageLink implements Backend.
func (c *Client) PageLink(ctx context.Context) (PageLink, error) {
	var l PageLink
	err := c.do(ctx, http.MethodPost, "/v1/page", nil, &l)
	return l, err
}
