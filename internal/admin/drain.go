// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// DrainMost bounds how long a drain may be given.
const DrainMost = time.Hour

// Drains have a node of several give up its people, and take them again.
type Drains interface {
	// Drain has the node take nobody any more and sends those who are there to the other
	// nodes. It is told how far it is, some times in a second, until nobody is left; then the
	// node ends, unless it is to stay. What has begun goes on when ctx ends. Asked again, it
	// joins the one under way.
	Drain(ctx context.Context, o DrainOptions, report func(DrainProgress)) error
	// Undrain has it take people again.
	Undrain(ctx context.Context) error
}

// DrainOptions say how a node is drained.
type DrainOptions struct {
	// Within is the time over which its sessions end, evenly; at most DrainMost.
	Within time.Duration `json:"within_ns"`
	// Stay: the node goes on afterwards, without people.
	Stay bool `json:"stay"`
}

// DrainProgress is how far a drain is.
type DrainProgress struct {
	Sessions int    `json:"sessions"` // when it began
	Left     int    `json:"left"`
	Leader   string `json:"leader,omitempty"` // the node that leadership was handed to, if this one had it
}

// drainMessage is one line of the answer to a drain.
type drainMessage struct {
	Progress *DrainProgress `json:"progress,omitempty"`
	Done     bool           `json:"done,omitempty"` // last, with Error if it has failed
	Error    *Error         `json:"error,omitempty"`
}

// Drain implements Backend.
func (b *backend) Drain(ctx context.Context, o DrainOptions, report func(DrainProgress)) error {
	switch {
	case b.o.Drain == nil:
		return ErrNotRunning
	case o.Within < 0 || o.Within > DrainMost:
		return &Error{Code: CodeInvalid, Text: fmt.Sprintf("a drain takes from 0 s to %v", DrainMost)}
	}
	return b.o.Drain(ctx, o, report)
}

// Undrain implements Backend.
func (b *backend) Undrain(context.Context) error {
	if b.o.Undrain == nil {
		return ErrNotRunning
	}
	return b.o.Undrain()
}

func (h *handler) drains(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/drain", h.drain)
	mux.HandleFunc("DELETE /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, h.b.Undrain(r.Context()))
	})
}

func (h *handler) drain(w http.ResponseWriter, r *http.Request) {
	var o DrainOptions
	if !decode(w, r, &o) {
		return
	}
	w.Header().Set("Content-Type", ndjsonType)
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	send := func(m drainMessage) {
		// Who has gone away ends r's context.
		_ = out.Encode(m)
		_ = control.Flush()
	}
	last := drainMessage{Done: true}
	err := h.b.Drain(r.Context(), o, func(p DrainProgress) { send(drainMessage{Progress: &p}) })
	if err != nil {
		last.Error = asError(err)
	}
	send(last)
}

// Drain implements Backend.
func (c *Client) Drain(ctx context.Context, o DrainOptions, report func(DrainProgress)) error {
	resp, err := c.ask(ctx, http.MethodPost, "/v1/drain", o)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := json.NewDecoder(resp.Body)
	for {
		var m drainMessage
		switch err := in.Decode(&m); {
		case err != nil:
			return lost(err)
		case m.Error != nil:
			return m.Error
		case m.Done:
			return nil
		case m.Progress != nil:
			report(*m.Progress)
		}
	}
}

// Undrain implements Backend.
func (c *Client) Undrain(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, "/v1/drain", nil, &struct{}{})
}
