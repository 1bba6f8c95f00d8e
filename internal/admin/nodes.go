// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"net/url"
)

// Nodes take other nodes out of a cell, and permit them to come back.
type Nodes interface {
	// RemoveNode takes a node out of the cell. What it has done stays done when ctx ends; it may be repeated.
	RemoveNode(ctx context.Context, name string) error
	// AddNode permits a node that was removed to be let in again.
	AddNode(ctx context.Context, name string) error
}

// RemoveNode implements Backend.
func (b *backend) RemoveNode(ctx context.Context, name string) error {
	if b.o.RemoveNode == nil {
		return ErrNotRunning
	}
	return b.o.RemoveNode(ctx, name)
}

// AddNode implements Backend.
func (b *backend) AddNode(ctx context.Context, name string) error {
	if b.o.AddNode == nil {
		return ErrNotRunning
	}
	return b.o.AddNode(ctx, name)
}

const nodesPath = "/v1/nodes/"

func (h *handler) nodes(mux *http.ServeMux) {
	mux.HandleFunc("DELETE "+nodesPath+"{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, h.b.RemoveNode(r.Context(), r.PathValue("name")))
	})
	mux.HandleFunc("POST "+nodesPath+"{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, h.b.AddNode(r.Context(), r.PathValue("name")))
	})
}

// RemoveNode implements Backend.
func (c *Client) RemoveNode(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, nodesPath+url.PathEscape(name), nil, &struct{}{})
}

// AddNode implements Backend.
func (c *Client) AddNode(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, nodesPath+url.PathEscape(name), nil, &struct{}{})
}
