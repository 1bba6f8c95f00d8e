// SPDX-License-Identifier: Apache-2.0

package session

import "sync/atomic"

// crew does the short jobs of all sessions, each on a goroutine. Some of them
// stay for the next job: a new one would have to grow its stack, and to make the
// memory for what it writes, each time.
type crew struct {
	jobs  chan job     // unbuffered: who is idle takes from it
	idle  atomic.Int32 // how many are, or are about to be
	ended <-chan struct{}
}

// job is what is to be done for a session: its reads, or else its writes.
type job struct {
	session *Session
	reads   bool
}

const (
	// idleMost bounds the goroutines that stay.
	idleMost = 64
	// pageMost bounds the memory for writing that stays with each, in bytes.
	pageMost = 16 << 10
)

// newCrew makes a crew whose idle goroutines leave when ended is closed.
func newCrew(ended <-chan struct{}) *crew {
	return &crew{jobs: make(chan job), ended: ended}
}

// do has a job done by a goroutine, and returns at once.
func (c *crew) do(j job) {
	select {
	case c.jobs <- j:
	default:
		go c.work(j)
	}
}

func (c *crew) work(j job) {
	var p page
	for {
		if j.reads {
			j.session.in.readAll(j.session)
		} else {
			j.session.out.write(j.session, &p)
		}
		j = job{}
		if cap(p.buf) > pageMost || cap(p.frames) > writeMost {
			p = page{}
		}
		if c.idle.Add(1) > idleMost {
			c.idle.Add(-1)
			return
		}
		select {
		case j = <-c.jobs:
			c.idle.Add(-1)
		case <-c.ended:
			return
		}
	}
}

// page is the memory for one write.
type page struct {
	buf    []byte
	ends   []int // where frames end in buf
	frames [][]byte
}

// begin empties the page.
func (p *page) begin() { p.buf, p.ends = p.buf[:0], p.ends[:0] }

// end ends a frame, unless it is empty.
func (p *page) end() {
	if n := len(p.ends); len(p.buf) > 0 && (n == 0 || p.ends[n-1] < len(p.buf)) {
		p.ends = append(p.ends, len(p.buf))
	}
}

// all gives the frames, which are valid until begin.
func (p *page) all() [][]byte {
	p.frames = p.frames[:0]
	from := 0
	for _, to := range p.ends {
		p.frames = append(p.frames, p.buf[from:to:to])
		from = to
	}
	return p.frames
}
