// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Admitter lets another node take part anew that has lost its data.
type Admitter interface {
	// Readmit is that of journal.Readmitter.
	Readmit(ctx context.Context, node, owner, address string) (members map[string]string, err error)
}

const (
	rejoinPath = "/1/rejoin"
	rejoinMost = 16 << 10 // bytes of a question and of its answer
	// rejoinAnswer bounds the wait for an answer.
	rejoinAnswer = 45 * time.Second
	// rejoinPause is between two rounds of asking all others.
	rejoinPause = time.Second
)

// rejoinAsk and rejoinAnswered are docs/formats/cell.md. Who asks says its certificate.
type rejoinAsk struct {
	Owner   string `json:"owner"`
	Address string `json:"address"`
}

type rejoinAnswered struct {
	Members map[string]string `json:"members"`
}

// rejoin lets the node that asks take part anew, and no other.
func (s *Server) rejoin(w http.ResponseWriter, r *http.Request) {
	node := s.link.caller(r)
	if node == "" {
		http.Error(w, notOurs, http.StatusForbidden)
		return
	}
	var ask rejoinAsk
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, rejoinMost)).Decode(&ask); err != nil {
		http.Error(w, "this cannot be read", http.StatusBadRequest)
		return
	}
	if !s.enter() {
		http.Error(w, stopping, http.StatusServiceUnavailable)
		return
	}
	defer s.wg.Done()
	members, err := s.admitter.Readmit(r.Context(), node, ask.Owner, ask.Address)
	if err != nil {
		s.link.o.Log.Warn("a node that has lost its data was not let in", "node", node, "err", err)
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(rejoinAnswered{members}); err != nil {
		s.link.o.Log.Warn("a node that was let in was not told", "node", node, "err", err)
	}
}

// Rejoin asks the other nodes, one after the other, to let this one, whose empty data
// directory is called owner and which they reach at address, take part anew. It asks until
// one does it or ctx ends, and gives the members' addresses by their names; the error is
// what each answered last.
func (l *Link) Rejoin(ctx context.Context, owner, address string) (members map[string]string, err error) {
	told := time.Time{}
	names := slices.Sorted(maps.Keys(l.o.Peers))
	answers := make([]error, len(names))
	for {
		for i, name := range names {
			members, err := l.askRejoin(ctx, name, rejoinAsk{owner, address})
			if err == nil {
				return members, nil
			}
			// Being cut short is no answer: what was said before tells why it took so long.
			if ctx.Err() == nil || answers[i] == nil {
				answers[i] = fmt.Errorf("node %s: %w", name, err)
			}
		}
		err := errors.Join(answers...)
		if now := time.Now(); now.Sub(told) > stall/3 {
			told = now
			l.o.Log.Warn("no other node lets this one take part anew yet", "err", err)
		}
		if ended := wait(ctx, rejoinPause); ended != nil {
			return nil, errors.Join(ended, err)
		}
	}
}

func (l *Link) askRejoin(ctx context.Context, name string, ask rejoinAsk) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, rejoinAnswer)
	defer cancel()
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.o.Peers[name]+rejoinPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := l.client(name).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, rejoinMost))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s: %.300q", resp.Status, bytes.TrimSpace(text))
	}
	var answer rejoinAnswered
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	if answer.Members[l.o.Node] != ask.Address || len(answer.Members) > len(l.o.Peers)+1 {
		return nil, fmt.Errorf("by its answer the members are %v", answer.Members)
	}
	return answer.Members, nil
}
