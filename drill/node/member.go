// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
)

// BuildMember compiles the etcd of drills into dir and returns its path.
func BuildMember(ctx context.Context, dir string) (string, error) {
	return build(ctx, filepath.Join(dir, "member"), "bavard/internal/journal/member")
}

// MemberOptions are those of an etcd that is a cluster of its own.
type MemberOptions struct {
	// Binary is what BuildMember made, Dir is for its data.
	Binary, Dir string
	// Client and Peer are loopback addresses to listen on.
	Client, Peer string
	// Log gets what it writes on its standard error; nil discards it.
	Log io.Writer
}

// Endpoint is its URL for clients.
func (o *MemberOptions) Endpoint() string { return "http://" + o.Client }

// Member is a running etcd.
type Member struct{ process }

// StartMember starts an etcd and waits until it is ready, or kills it when ctx
// ends first. On Linux the process dies with ours.
func StartMember(ctx context.Context, o MemberOptions) (*Member, error) {
	m := &Member{}
	cmd := exec.Command(o.Binary, "-dir", o.Dir, "-client", o.Endpoint(), "-peer", "http://"+o.Peer)
	ready := &readiness{seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = ready, o.Log
	if err := m.launch(cmd); err != nil {
		return nil, err
	}
	select {
	case <-ready.seen:
		return m, nil
	case <-m.Exited():
		return nil, fmt.Errorf("etcd ended by itself: %w", m.err)
	case <-ctx.Done():
		m.Kill()
		return nil, fmt.Errorf("etcd is not ready: %w", ctx.Err())
	}
}

// readiness waits for the line by which a member says that it is ready.
type readiness struct {
	once sync.Once
	seen chan struct{}
}

// Write implements io.Writer.
func (r *readiness) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("ready\n")) {
		r.once.Do(func() { close(r.seen) })
	}
	return len(p), nil
}
