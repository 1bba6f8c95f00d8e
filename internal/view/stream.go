// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bavard/internal/command"
)

// maxRecent bounds each of the two generations of remembered streams.
const maxRecent = 32 << 10

type streamID = [streamSize]byte

// streamState is how far a stream has come and the bucket that says so.
type streamState struct {
	h uint32 // of the newest accepted command
	// bound is what may be told when the stream is lost: it stops before the
	// first refused stanza, because its error may be lost with the stream. boundless:
	// where that is is not known, so nothing may be told.
	bound     uint32
	refused   bool
	boundless bool
	bucket    uint32
	known     bool // false: there is no record
}

// streams remembers recent streams in two generations, so that a stream in
// use is read from disk once: when the young generation is full it becomes
// the old one.
type streams struct{ young, old map[streamID]streamState }

func (s *streams) init() {
	s.young = make(map[streamID]streamState)
	s.old = make(map[streamID]streamState)
}

func (s *streams) get(id streamID) (streamState, bool) {
	if st, ok := s.young[id]; ok {
		return st, true
	}
	st, ok := s.old[id]
	return st, ok
}

func (s *streams) put(id streamID, st streamState) {
	if len(s.young) >= maxRecent {
		s.young, s.old = make(map[streamID]streamState), s.young
	}
	s.young[id] = st
}

// streamWrites are the streams that a batch has brought forward: one write
// each, however many commands there were. In order of first appearance.
type streamWrites struct {
	at    map[streamID]int
	order []streamWrite
}

type streamWrite struct {
	id    streamID
	state streamState
	dirty bool
}

func (w *streamWrites) init() { w.at = make(map[streamID]int) }

func (w *streamWrites) reset() {
	clear(w.at)
	w.order = w.order[:0]
}

func (w *streamWrites) remember(s *streams) {
	for i := range w.order {
		s.put(w.order[i].id, w.order[i].state)
	}
}

// stream finds a stream in the batch, in memory or on disk.
func (t *txn) stream(id streamID) (*streamWrite, error) {
	if i, ok := t.streams.at[id]; ok {
		w := &t.streams.order[i]
		if w.state.known && t.expired(w.state.bucket) {
			w.state, w.dirty = streamState{}, false
		}
		return w, nil
	}
	st, ok := t.a.recent.get(id)
	if !ok || st.known && t.expired(st.bucket) {
		var err error
		if st, err = t.readStream(id); err != nil {
			return nil, err
		}
	}
	t.streams.at[id] = len(t.streams.order)
	t.streams.order = append(t.streams.order, streamWrite{id: id, state: st})
	return &t.streams.order[len(t.streams.order)-1], nil
}

func (t *txn) readStream(id streamID) (streamState, error) {
	var buf [streamKeySize]byte
	for i := range uint32(liveBuckets) {
		if i > t.meta.bucket {
			break
		}
		bucket := t.meta.bucket - i
		b, err := t.get(appendStreamKey(buf[:0], bucket, id[:]))
		if err != nil {
			return streamState{}, err
		}
		if b != nil {
			st, err := parseStreamRecord(b)
			st.bucket, st.known = bucket, err == nil
			return st, t.a.v.damaged(err)
		}
	}
	return streamState{}, nil
}

func (t *txn) streamH(id streamID) (h uint32, known bool, err error) {
	w, err := t.stream(id)
	if err != nil {
		return 0, false, err
	}
	return w.state.h, w.state.known, nil
}

// advance brings the stream of a command forward.
func (t *txn) advance(s *command.Stream, verdict command.Verdict) error {
	if s == nil || len(s.Id) != streamSize {
		return nil
	}
	w, err := t.stream(streamID(s.Id))
	if err != nil {
		return err
	}
	st := w.state
	if !st.known {
		// Nothing before was appended: it was handled without, or the node refused it.
		st = streamState{h: s.H - 1, bound: s.H - 1, boundless: s.Refused, known: true}
	}
	st.refused = st.refused || s.Refused
	switch {
	case verdict == command.Refused:
		if !st.refused && after(s.H-1, st.bound) {
			st.bound = s.H - 1
		}
		st.refused = true
	case after(s.H, st.h):
		st.h = s.H
		if !st.refused {
			st.bound = s.H
		}
	}
	if st != w.state {
		st.bucket = t.meta.bucket
		w.state, w.dirty = st, true
	}
	return nil
}

func (t *txn) writeStreams() {
	var key [streamKeySize]byte
	var value [10]byte
	for i := range t.streams.order {
		w := &t.streams.order[i]
		if w.dirty && !t.expired(w.state.bucket) {
			t.set(appendStreamKey(key[:0], w.state.bucket, w.id[:]), appendStreamRecord(value[:0], &w.state))
		}
	}
}
