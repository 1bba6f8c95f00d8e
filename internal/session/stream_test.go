// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"errors"
	"io"
	"sync"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// errCut is what a broken connection gives.
var errCut = errors.New("connection cut")

// wire is an in-memory stream: the session's side implements session.Stream,
// the client's side sends elements and takes what the session wrote.
type wire struct {
	mu     sync.Mutex
	change sync.Cond
	up     []*xmlstream.Element // from the client
	down   []*xmlstream.Element // from the session
	closed bool                 // by the client, in good order
	cut    bool
	ended  bool // by the session
	err    *stanza.StreamError
}

func newWire() *wire {
	w := &wire{}
	w.change.L = &w.mu
	return w
}

// Receive implements session.Stream.
func (w *wire) Receive(take func(*xmlstream.Element, error) bool) {
	for take(w.Read()) {
	}
}

func (w *wire) Read() (*xmlstream.Element, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.up) == 0 && !w.cut && !w.closed && !w.ended {
		w.change.Wait()
	}
	switch {
	case w.cut || w.ended:
		return nil, errCut
	case len(w.up) == 0:
		return nil, io.EOF
	}
	el := w.up[0]
	w.up = w.up[1:]
	return el, nil
}

// Write implements session.Stream.
func (w *wire) Write(elements ...[]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut || w.ended {
		return errCut
	}
	for _, b := range elements {
		el, err := xmlstream.ParseElement(b, xmlstream.AfterAuth)
		if err != nil {
			panic("the session wrote what does not parse: " + err.Error() + ": " + string(b))
		}
		w.down = append(w.down, el)
	}
	w.change.Broadcast()
	return nil
}

// WebSocket implements session.Stream: one element a frame.
func (w *wire) WebSocket() bool { return true }

// Close implements session.Stream.
func (w *wire) Close(err *stanza.StreamError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended, w.err = true, err
	w.change.Broadcast()
}

// send hands an element to the session; it is lost when the wire is cut.
func (w *wire) send(el *xmlstream.Element) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = append(w.up, el)
	w.change.Broadcast()
}

// receive waits for the next element; false when there will be none.
func (w *wire) receive() (*xmlstream.Element, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.down) == 0 && !w.cut && !w.ended {
		w.change.Wait()
	}
	if w.cut || len(w.down) == 0 {
		return nil, false
	}
	el := w.down[0]
	w.down = w.down[1:]
	return el, true
}

// sever breaks the connection: what is under way in either direction is lost.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	w.change.Broadcast()
}

// hangUp ends the stream as a client does.
func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.change.Broadcast()
}

// unread counts what the session has not taken.
func (w *wire) unread() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.up)
}

// taken gives what the session has written and nobody has received.
func (w *wire) taken() []*xmlstream.Element {
	w.mu.Lock()
	defer w.mu.Unlock()
	down := w.down
	w.down = nil
	return down
}
