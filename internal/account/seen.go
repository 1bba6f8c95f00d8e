// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"sync"
	"time"

	"bavard/internal/command"
)

const (
	// seenMost bounds the clients whose login waits to be noted; of those beyond
	// it is not.
	seenMost = 1 << 16
	// seenAtOnce bounds those of one command.
	seenAtOnce = 256
)

// noted gathers when clients were here, until that is written.
type noted struct {
	mu      sync.Mutex
	clients map[seenClient]time.Time
}

type seenClient struct{ account, client string }

func (n *noted) add(account, client string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := seenClient{account, client}
	if _, known := n.clients[key]; known || len(n.clients) < seenMost {
		if n.clients == nil {
			n.clients = map[seenClient]time.Time{}
		}
		n.clients[key] = at
	}
}

// take gives some of them, nil when there are none.
func (n *noted) take() []*command.ClientSeen {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*command.ClientSeen
	for key, at := range n.clients {
		if len(all) == seenAtOnce {
			break
		}
		all = append(all, &command.ClientSeen{Account: key.account, Client: []byte(key.client), TimeMs: at.UnixMilli()})
		delete(n.clients, key)
	}
	return all
}

// NoteSeen writes down when some of the clients were here that logged in since:
// one command, whatever they are. What cannot be written is forgotten.
func (s *Service) NoteSeen(ctx context.Context) error {
	clients := s.noted.take()
	if clients == nil {
		return nil
	}
	return s.do(ctx, &command.Command{Request: &command.Command_ClientsSeen{ClientsSeen: &command.ClientsSeen{Clients: clients}}})
}
