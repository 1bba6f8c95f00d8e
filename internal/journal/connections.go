// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"maps"
	"sync"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.uber.org/zap/zapcore"
)

// connections knows which members an etcd in this process is connected to, by what it logs: it tells
// it in no other way that can be trusted. Its metric etcd_network_active_peers counts a connection
// of a peer that was put away for ever: all of them are when it has been sent a snapshot.
//
// It is a zapcore.Core beside that of the log, and safe for use by many goroutines.
type connections struct {
	mu  sync.Mutex
	ids map[types.ID]bool
}

// What etcd logs of its peers, and the fields that name one.
const (
	peerConnected = "peer became active"
	peerLost      = "peer became inactive (message send to peer failed)"
	peerStopped   = "stopped remote peer"

	peerField, stoppedField = "peer-id", "remote-peer-id"
)

// current gives the members that are connected.
func (c *connections) current() map[types.ID]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.ids)
}

// Enabled is of zapcore.Core.
func (c *connections) Enabled(l zapcore.Level) bool { return l >= zapcore.InfoLevel }

// With is of zapcore.Core. What names a peer is said with each message.
func (c *connections) With([]zapcore.Field) zapcore.Core { return c }

// Check is of zapcore.Core.
func (c *connections) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	switch e.Message {
	case peerConnected, peerLost, peerStopped:
		return checked.AddCore(e, c)
	}
	return checked
}

// Write is of zapcore.Core.
func (c *connections) Write(e zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if f.Key != peerField && f.Key != stoppedField {
			continue
		}
		id, err := types.IDFromString(f.String)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.Message == peerConnected {
			c.ids[id] = true
		} else {
			delete(c.ids, id)
		}
		return nil
	}
	return nil
}

// Sync is of zapcore.Core.
func (c *connections) Sync() error { return nil }
