// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"bavard/internal/health"
)

const (
	// askWithin bounds the wait for a node's answer.
	askWithin = 3 * time.Second
	// silentAfter is how long nothing may come from a node before the page says so.
	silentAfter = 4 * time.Second
)

// ErrOlder: the node is of a version that does not know the question.
var ErrOlder = errors.New("the node does not say: its version is older")

// Node is a node of the cell, as the one that serves the page knows it without asking.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // where others reach it
	Self    bool   `json:"self,omitempty"`
	Reached bool   `json:"reached"` // by the journal
	Leads   bool   `json:"leads,omitempty"`
	Learner bool   `json:"learner,omitempty"`
	Absent  bool   `json:"absent,omitempty"` // it is not in the cell: not yet, or not any more
	Drained bool   `json:"drained,omitempty"`
	// Diverged: its view differs from those of most nodes.
	Diverged bool   `json:"diverged,omitempty"`
	Version  string `json:"version,omitempty"` // "" while it is not heard
	Level    uint32 `json:"level,omitempty"`   // the highest feature level that it knows
}

// State is whether a node gives its figures.
type State string

// States.
const (
	Answers State = "answers"
	Silent  State = "silent" // it does not answer
	Older   State = "older"  // its version does not know the question
)

// Shown is a node as the page shows it.
type Shown struct {
	Node
	State State `json:"state"`
	// Heard is when it last answered, Unix time in ms; 0: not since this process began.
	Heard int64 `json:"heard"`
	// About is what it said then; nil if it never did.
	About   *About   `json:"about,omitempty"`
	Samples []Sample `json:"samples"` // At is by the clock of the node that serves the page
}

// Seen is what the page is told.
type Seen struct {
	Run     string  `json:"run"`  // of the process that serves the page
	Next    uint64  `json:"next"` // what the page asks for the next time
	Now     int64   `json:"now"`  // Unix time in ms
	Started int64   `json:"started"`
	Domain  string  `json:"domain"`
	Nodes   []Shown `json:"nodes"`
}

// CellOptions of a Cell.
type CellOptions struct {
	Domain string
	// Nodes gives all nodes, this one too, in their order.
	Nodes func() []Node
	// Ask gives a node's report, this one's too, as Recorder.Report does; ErrOlder when the node
	// does not know the question.
	Ask func(ctx context.Context, node, run string, next uint64) (Report, error)
}

// Cell has what all nodes said of themselves.
type Cell struct {
	o       CellOptions
	run     string
	started time.Time

	mu    sync.Mutex
	turn  uint64 // of what was heard last: pages are told what is newer than they know
	nodes map[string]*heard
}

// heard is what one node has said.
type heard struct {
	run   string
	next  uint64
	at    time.Time // zero: nothing yet
	older bool
	about About
	ring  ring
	turns [Kept]uint64 // of the samples in ring, at the same places
}

// NewCell makes one that knows nothing yet.
func NewCell(o CellOptions) *Cell {
	c := &Cell{o: o, run: rand.Text(), started: time.Now(), nodes: map[string]*heard{}}
	for _, n := range o.Nodes() {
		c.nodes[n.Name] = &heard{}
	}
	return c
}

// Run asks each node every second, until ctx ends. No node waits for another.
func (c *Cell) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for name := range c.nodes {
		wg.Go(func() {
			tick := time.NewTicker(Every)
			defer tick.Stop()
			for {
				c.ask(ctx, name)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
}

func (c *Cell) ask(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	h := c.nodes[name] // the map is never changed
	c.mu.Lock()
	run, next := h.run, h.next
	c.mu.Unlock()
	r, err := c.o.Ask(ctx, name, run, next)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrOlder):
		h.older = true
	case err == nil:
		h.older = false
		c.take(h, r, time.Now())
	}
}

// take keeps a report; mu is held.
func (c *Cell) take(h *heard, r Report, now time.Time) {
	c.turn++
	if r.About.Failing == nil { // a list for the page, not null, whatever version says it
		r.About.Failing = []string{}
	}
	if r.About.Warnings == nil {
		r.About.Warnings = []health.Active{}
	}
	h.at, h.run, h.next, h.about = now, r.Run, r.Next, r.About
	// Clocks differ: what a node says is its time is now.
	shift := now.UnixMilli() - r.Now
	for _, s := range r.Samples[max(0, len(r.Samples)-Kept):] {
		s.At += shift
		h.turns[h.ring.next%Kept] = c.turn
		h.ring.push(s)
	}
}

// See gives how all nodes are now, and of their samples those that came after next, as an
// earlier call gave it; all there are when run is not that of this Cell.
func (c *Cell) See(run string, next uint64) Seen {
	nodes, now := c.o.Nodes(), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if run != c.run {
		next = 0
	}
	seen := Seen{Run: c.run, Next: c.turn, Now: now.UnixMilli(), Started: c.started.UnixMilli(), Domain: c.o.Domain, Nodes: []Shown{}}
	for _, n := range nodes {
		h := c.nodes[n.Name]
		if h == nil { // the nodes of a cell do not change while one runs
			continue
		}
		s := Shown{Node: n, State: h.state(now), Samples: h.ring.from(h.after(next))}
		if !h.at.IsZero() {
			about := h.about
			s.Heard, s.About = h.at.UnixMilli(), &about
		}
		seen.Nodes = append(seen.Nodes, s)
	}
	return seen
}

func (h *heard) state(now time.Time) State {
	switch {
	case !h.at.IsZero() && now.Sub(h.at) < silentAfter:
		return Answers
	case h.older:
		return Older
	}
	return Silent
}

// after gives the number of the first sample that came after a turn.
func (h *heard) after(turn uint64) uint64 {
	n := h.ring.next
	for n > 0 && h.ring.next-n < uint64(len(h.ring.all)) && h.turns[(n-1)%Kept] > turn {
		n--
	}
	return n
}
