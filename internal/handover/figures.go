// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

const (
	figuresPath = "/1/figures"
	// figuresMost bounds an answer, in bytes: some times what 15 minutes take.
	figuresMost = 2 << 20
)

// ErrOlder: the node does not know what it is asked.
var ErrOlder = errors.New("handover: the node is of an older version")

// newTeller is the way to ask a node for its figures: a connection that is kept, beside those
// that carry views and files.
func (l *Link) newTeller(node string) *http.Client {
	t := l.transport(node, reachTime, reachTime)
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 1, 1, stall/2
	return &http.Client{Transport: t}
}

// figures answers a node whose admin page shows this one.
func (s *Server) figures(w http.ResponseWriter, r *http.Request) {
	if s.link.member(r) == "" {
		http.Error(w, notOurs, http.StatusForbidden)
		return
	}
	var is any
	if tell := s.link.o.Figures; tell != nil {
		next, _ := strconv.ParseUint(r.URL.Query().Get("next"), 10, 64) // none: all there is
		is = tell(r.URL.Query().Get("run"), next)
	}
	if is == nil {
		http.Error(w, "there are none yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(is) // it asks again
}

// Figures asks a node for its figures, those after what run and next say, and reads them.
// ErrOlder: its version has none.
func (l *Link) Figures(ctx context.Context, node, run string, next uint64, into any) error {
	query := url.Values{"run": {run}, "next": {strconv.FormatUint(next, 10)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.o.Peers[node]+figuresPath+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := l.tellers[node].Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return ErrOlder
	default:
		return fmt.Errorf("it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, figuresMost)).Decode(into); err != nil {
		return fmt.Errorf("its figures cannot be read: %w", err)
	}
	return nil
}
