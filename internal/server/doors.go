// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"bavard/internal/listen"
	"bavard/internal/stanza"
)

// doors are where devices come in. They are shut while the node is drained: who comes by TCP
// is refused, and so goes to the next address that DNS has (RFC 6120 §3.2.1); who comes by
// WebSocket is answered 503.
type doors struct {
	group *errgroup.Group // of what the server waits for at its end
	ways  []way

	mu     sync.Mutex
	life   context.Context // what open was given
	inside context.Context // of who logs in; nil while they are shut
	end    context.CancelCauseFunc
	opened []*door
}

// way is one that devices come by, other than HTTP.
type way struct {
	address *string // gets the one that was free; the same the next time
	serve   func(net.Listener) error
}

// door is a listener that can be closed while the server goes on.
type door struct {
	net.Listener
	shut atomic.Bool
}

// open lets devices in; ctx bounds their logins.
func (d *doors) open(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.ways {
		l, err := listenAt(ctx, *w.address)
		if err != nil {
			d.close()
			return err
		}
		*w.address = l.Addr().String()
		o := &door{Listener: l}
		d.opened = append(d.opened, o)
		d.group.Go(func() error {
			if err := w.serve(o); !errors.Is(err, listen.ErrStopped) && !o.shut.Load() {
				return err
			}
			return nil
		})
	}
	d.life = ctx
	d.inside, d.end = context.WithCancelCause(ctx)
	return nil
}

// turnAway ends what has not logged in yet, which would wait for what this node does not have; whoever comes
// next is asked in.
func (d *doors) turnAway(why *stanza.StreamError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end != nil {
		d.end(why)
		d.inside, d.end = context.WithCancelCause(d.life)
	}
}

// elsewhere: another node knows better than this one.
func elsewhere() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamInternalServerError, "this node does not agree with the others, or does not reach them, for the moment; please try another")
}

// shut lets nobody in any more, and ends what has not logged in yet.
func (d *doors) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.close()
	if d.end != nil {
		d.end(nil)
		d.inside, d.end = nil, nil
	}
}

// close closes the listeners; mu is held.
func (d *doors) close() {
	for _, o := range d.opened {
		o.shut.Store(true)
		_ = o.Close() // nothing was written to it
	}
	d.opened = nil
}

// context is that of a login; false: nobody is let in.
func (d *doors) context() (context.Context, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside, d.inside != nil
}

// guard answers 503 while the doors are shut.
func (d *doors) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := d.context(); !ok {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "this node takes nobody now: go to another one", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// listenAt listens at an address. Sessions ask silent devices themselves, every few
// minutes; the probes of TCP, every 15 s by Go's default, would only wake phones.
func listenAt(ctx context.Context, address string) (net.Listener, error) {
	quiet := net.ListenConfig{KeepAlive: -1}
	l, err := quiet.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w (is another server running there? choose another port, or stop that one)", err)
	}
	return l, nil
}
