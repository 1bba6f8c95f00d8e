// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"slices"
	"sync"
	"time"
)

// Log collects evidence from many goroutines. It grows with the drill: about
// 400 bytes per message, 150 per sighting and 100 per entry of each account's first archive.
type Log struct {
	mu sync.Mutex
	h  History
	by map[string]int

	ticked int
	last   time.Time // of a tick
}

// NewLog makes an empty log.
func NewLog() *Log { return &Log{by: map[string]int{}, last: time.Now()} }

// Invoke records that a client is about to send m for the first time. The
// caller's order of calls per sender and conversation is the order of
// invocation.
func (l *Log) Invoke(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[m.ID] = len(l.h.Messages)
	m.Outcome = Unknown
	l.h.Messages = append(l.h.Messages, m)
}

// Tick records that the server counted the message as handled.
func (l *Log) Tick(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	if i, ok := l.by[id]; ok && l.h.Messages[i].Outcome != Ticked {
		l.h.Messages[i].Outcome = Ticked
		l.ticked++
	}
}

// Refuse records an error that answered the message. An error after the tick
// makes the tick a false one.
func (l *Log) Refuse(id, condition string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.by[id]
	if !ok {
		return
	}
	if l.h.Messages[i].Outcome == Ticked {
		l.h.FalseTicks = append(l.h.FalseTicks, FalseTick{id, "error after the tick: " + condition})
		return
	}
	l.h.Messages[i].Outcome = Refused
}

// Contradict records that the server contradicted a tick otherwise.
func (l *Log) Contradict(id, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.FalseTicks = append(l.h.FalseTicks, FalseTick{id, reason})
}

// Known gives an entry whose texts are those of the message with its id, where they are equal: a drill
// reads each message ten times and more, and holds its text once.
func (l *Log) Known(e Entry) Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share(&e)
	return e
}

func (l *Log) share(e *Entry) {
	i, ok := l.by[e.OriginID]
	if !ok {
		return
	}
	m := &l.h.Messages[i]
	for _, text := range [...]struct {
		read *string
		sent string
	}{{&e.OriginID, m.ID}, {&e.From, m.From}, {&e.To, m.To}, {&e.Body, m.Body}} {
		if *text.read == text.sent {
			*text.read = text.sent
		}
	}
}

// See records a sighting.
func (l *Log) See(s Sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share(&s.Entry)
	l.h.Sightings = append(l.h.Sightings, s)
}

// Complete records that a device has been handed everything.
func (l *Log) Complete(d Device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.Complete = append(l.h.Complete, d)
}

// Read records an archive as read after everything healed. Archives of an account that are equal share their
// entries.
func (l *Log) Read(a Archive) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.h.Archives {
		if other.Account == a.Account && slices.Equal(other.Entries, a.Entries) {
			a.Entries = other.Entries
			break
		}
	}
	l.h.Archives = append(l.h.Archives, a)
}

// Ticked counts the messages ticked so far.
func (l *Log) Ticked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ticked
}

// Progress counts the messages invoked and ticked so far, and gives the time of the last tick, or
// of the log's beginning.
func (l *Log) Progress() (invoked, ticked int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.h.Messages), l.ticked, l.last
}

// Owed gives the ids of the messages that were ticked, by the account that each was sent to.
func (l *Log) Owed() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	owed := map[string][]string{}
	for i := range l.h.Messages {
		if m := &l.h.Messages[i]; m.Outcome == Ticked {
			owed[m.To] = append(owed[m.To], m.ID)
		}
	}
	return owed
}

// Judge weighs what was collected; nothing is collected meanwhile.
func (l *Log) Judge() Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Judge(l.h)
}

// History copies what was collected.
func (l *Log) History() History {
	l.mu.Lock()
	defer l.mu.Unlock()
	return History{
		Messages:   slices.Clone(l.h.Messages),
		Archives:   slices.Clone(l.h.Archives),
		Sightings:  slices.Clone(l.h.Sightings),
		Complete:   slices.Clone(l.h.Complete),
		FalseTicks: slices.Clone(l.h.FalseTicks),
	}
}
