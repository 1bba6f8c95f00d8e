// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"time"
)

// Checkpoints set states of the data apart, for backups.
type Checkpoints interface {
	// Checkpoint sets the state of now apart, in place of the one before.
	Checkpoint(ctx context.Context) (Checkpoint, error)
	// DropCheckpoint removes it, if there is one.
	DropCheckpoint(ctx context.Context) error
}

// Checkpoint is a state of the data that does not change any more.
type Checkpoint struct {
	Dir      string    `json:"dir"` // where it is; in it, view
	Made     time.Time `json:"made"`
	Domain   string    `json:"domain"`
	Node     string    `json:"node,omitempty"` // of several
	Epoch    uint16    `json:"epoch"`
	Position string    `json:"position"` // epoch/revision/index
	Accounts int64     `json:"accounts"`
}

// Checkpoint implements Backend.
func (b *backend) Checkpoint(ctx context.Context) (Checkpoint, error) {
	c, err := b.o.Checkpoint(ctx)
	if err != nil {
		return Checkpoint{}, explain(err)
	}
	return c, nil
}

// DropCheckpoint implements Backend.
func (b *backend) DropCheckpoint(context.Context) error {
	if err := b.o.DropCheckpoint(); err != nil {
		return explain(err)
	}
	return nil
}

func (h *handler) checkpoints(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/checkpoint", func(w http.ResponseWriter, r *http.Request) {
		c, err := h.b.Checkpoint(r.Context())
		h.log.Info("state set apart for a backup", "by", "operator", "position", c.Position, "err", err)
		answer(w, c, err)
	})
	mux.HandleFunc("DELETE /v1/checkpoint", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, h.b.DropCheckpoint(r.Context()))
	})
}

// Checkpoint implements Backend.
func (c *Client) Checkpoint(ctx context.Context) (Checkpoint, error) {
	var made Checkpoint
	err := c.do(ctx, http.MethodPost, "/v1/checkpoint", nil, &made)
	return made, err
}

// DropCheckpoint implements Backend.
func (c *Client) DropCheckpoint(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, "/v1/checkpoint", nil, &struct{}{})
}
