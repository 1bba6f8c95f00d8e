// SPDX-License-Identifier: Apache-2.0

// Package dashboard is the admin page: what each node of a cell says of itself, once a
// second and for the last 15 minutes, and who may see it. A node records its own figures
// (Recorder) and gives them to the others; the one that serves the page gathers those of
// all (Cell) and shows them to who has come by a link that works once (Access). The page
// changes nothing. docs/formats/cell.md has what nodes ask each other.
package dashboard

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"bavard/internal/health"
)

const (
	// Kept is how many samples there are of a node: those of 15 minutes.
	Kept = 900
	// Every is between two of them.
	Every = time.Second
)

// Sample is what was so on a node at one time. Times that were measured are those of what
// ended since the sample before.
type Sample struct {
	At         int64   `json:"at"`            // Unix time in ms
	Stored     float64 `json:"stored"`        // commands of this node that were committed, per second
	AppendP50  float64 `json:"append_p50_ms"` // how long batches took to be committed; 0: there was none
	AppendP99  float64 `json:"append_p99_ms"`
	Sessions   int     `json:"sessions"`
	Lag        uint64  `json:"lag"`        // revisions that the view is behind the journal
	Commands   int     `json:"commands"`   // submitted and not yet applied
	Deliveries int     `json:"deliveries"` // that wait for dispatch
	Logins     int     `json:"logins"`     // that wait for their turn
	DiskFree   uint64  `json:"disk_free"`  // bytes
}

// About is how a node is now.
type About struct {
	Version  string          `json:"version"`
	Level    uint32          `json:"level"`   // the cell's feature level
	Started  int64           `json:"started"` // Unix time in ms
	Leader   bool            `json:"leader"`  // the node knows one
	Failing  []string        `json:"failing"` // health checks
	Warnings []health.Active `json:"warnings"`
	Latest   uint64          `json:"latest"`  // the newest revision that the node has seen committed
	Applied  uint64          `json:"applied"` // the newest one in its view
	Least    uint64          `json:"least"`   // bytes of the disk under which nothing new is accepted
	Journal  int64           `json:"journal"` // bytes on the disk
	View     int64           `json:"view"`    // the same
}

// Report is what a node answers who asks for its figures.
type Report struct {
	Run     string   `json:"run"` // of the process
	Now     int64    `json:"now"` // by the node's clock, Unix time in ms
	Next    uint64   `json:"next"`
	About   About    `json:"about"`
	Samples []Sample `json:"samples"` // the oldest first
}

// Recorder keeps the figures of the node that it runs on.
type Recorder struct {
	run    string
	sample func() Sample
	about  func() About

	mu   sync.Mutex
	ring ring
}

// NewRecorder makes one; sample and about read the node's figures, and must not take long.
func NewRecorder(sample func() Sample, about func() About) *Recorder {
	return &Recorder{run: rand.Text(), sample: sample, about: about}
}

// Run takes a sample every second until ctx ends. After a second in which this process did not run, or taking one took
// long, the next comes when it is due, not at once: what happened within an instant says nothing of a second.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if time.Since(last) < Every/2 {
				continue
			}
			last = time.Now()
			s := r.sample()
			r.mu.Lock()
			r.ring.push(s)
			r.mu.Unlock()
		}
	}
}

// Report gives how the node is now, and its samples from number next on; all there are when
// run is not this process.
func (r *Recorder) Report(run string, next uint64) Report {
	about, now := r.about(), time.Now().UnixMilli()
	r.mu.Lock()
	defer r.mu.Unlock()
	if run != r.run {
		next = 0
	}
	return Report{Run: r.run, Now: now, Next: r.ring.next, About: about, Samples: r.ring.from(next)}
}

// ring has the last samples, numbered from 0.
type ring struct {
	all  []Sample // Kept at most; number n is at n % Kept
	next uint64   // number of the next one
}

func (r *ring) push(s Sample) {
	if len(r.all) < Kept {
		r.all = append(r.all, s)
	} else {
		r.all[r.next%Kept] = s
	}
	r.next++
}

// from gives those from number n on that are still there, the oldest first; never nil.
func (r *ring) from(n uint64) []Sample {
	if have := uint64(len(r.all)); n > r.next || r.next-n > have {
		n = r.next - have
	}
	some := make([]Sample, 0, r.next-n)
	for ; n < r.next; n++ {
		some = append(some, r.all[n%Kept])
	}
	return some
}
