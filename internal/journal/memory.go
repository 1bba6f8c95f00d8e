// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// ClusterOptions of an in-memory journal. The zero value never fails.
type ClusterOptions struct {
	// Fault says what happens to each append attempt; nil: nothing goes wrong.
	// It may be called by several goroutines at once.
	Fault func(Attempt) Fate
	// Linger is how long the first command of a batch waits for others. With a
	// nanosecond of fake time (testing/synctest) all that is submitted at one
	// instant goes into one batch.
	Linger time.Duration
	// Window bounds the history kept for those who come late, in bytes; 64 MiB
	// if 0.
	Window int64
	// Incarnations start above this number.
	Incarnations uint64
	// Log takes what the writers log; nil: nothing.
	Log *slog.Logger
}

// Attempt describes one attempt to append a batch.
type Attempt struct {
	Writer   string
	Counter  uint64 // of the batch
	Try      int    // from 1
	Commands int
}

// Fate is what becomes of an attempt. The zero value lets it succeed at once.
type Fate struct {
	Delay  time.Duration // passes before anything else; may outlast the attempt
	Lost   bool          // never reaches the log and is never answered
	Silent bool          // takes effect, but is never answered
	Err    error         // answered with this error, without effect
}

// Cluster is an in-memory log that several writers share, as the nodes of a cell
// do. It is safe for concurrent use and works in a testing/synctest bubble.
type Cluster struct {
	opts ClusterOptions

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced when something changes
	entries     []entry       // a prefix that nobody can read any more is dropped
	revision    uint64        // of the newest entry
	compacted   uint64        // Tail starts at or after this revision
	window      int64         // bytes after compacted
	heads       map[string]entry
	dropped     map[string]entry // newest dropped entry by writer
	journals    map[*memoryJournal]struct{}
	incarnation uint64
	quorum      bool
	life        uint64 // raised by Crash: what was under way has no effect
}

type entry struct {
	revision uint64
	writer   string
	value    []byte
}

// NewCluster makes an empty log.
func NewCluster(opts ClusterOptions) *Cluster {
	if opts.Window <= 0 {
		opts.Window = windowBytes
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Cluster{
		opts: opts, changed: make(chan struct{}), revision: 1, quorum: true,
		heads: make(map[string]entry), dropped: make(map[string]entry),
		journals: make(map[*memoryJournal]struct{}), incarnation: opts.Incarnations,
	}
}

// OpenMemory gives a journal with one writer, named writer, and its own log.
func OpenMemory(writer string, opts ClusterOptions) (Journal, error) {
	return NewCluster(opts).Writer(context.Background(), writer)
}

// Writer opens the journal as the writer called name; an earlier journal of that
// name is fenced. It errs when ctx ends before the key is taken over.
func (c *Cluster) Writer(ctx context.Context, name string) (Journal, error) {
	if err := checkWriter(name); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.incarnation++
	j := &memoryJournal{cluster: c, writer: name, life: c.life, done: make(chan struct{})}
	a := newAppender(&memoryStore{cluster: c, writer: name, life: c.life}, name, c.incarnation, c.opts.Log)
	c.mu.Unlock()
	a.linger = c.opts.Linger
	j.appender = a
	j.latest = newLatestReads(j.readLatest)
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.journals[j] = struct{}{}
	c.mu.Unlock()
	return j, nil
}

// SetQuorum takes the majority away or gives it back: without it appends and
// linearizable reads have no answer.
func (c *Cluster) SetQuorum(quorum bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quorum = quorum
	c.announceLocked()
}

// Crash closes all journals of the cluster as a power cut would and loses the
// newest batches. It returns the revision at which the log ends now.
func (c *Cluster) Crash(lose int) uint64 {
	c.mu.Lock()
	c.life++
	for ; lose > 0 && len(c.entries) > 0; lose-- {
		c.removeLocked(len(c.entries) - 1)
		c.revision = max(1, c.compacted)
		if n := len(c.entries); n > 0 {
			c.revision = c.entries[n-1].revision
		}
	}
	revision := c.revision
	var open []*memoryJournal
	for j := range c.journals {
		open = append(open, j)
	}
	c.announceLocked()
	c.mu.Unlock()
	for _, j := range open {
		_ = j.Close()
	}
	return revision
}

// Drop removes a batch as if it had never been, Damage flips a bit in one. They
// report whether the log has that revision.
func (c *Cluster) Drop(revision uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.entries {
		if c.entries[i].revision == revision {
			c.removeLocked(i)
			return true
		}
	}
	return false
}

// Damage flips a bit of the stored batch; see Drop.
func (c *Cluster) Damage(revision uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.entries {
		if e := &c.entries[i]; e.revision == revision {
			value := append([]byte(nil), e.value...)
			value[len(value)/2] ^= 4
			e.value = value
			return true
		}
	}
	return false
}

// removeLocked takes entry i out and gives its writer its earlier head again.
func (c *Cluster) removeLocked(i int) {
	gone := c.entries[i]
	c.entries = append(c.entries[:i:i], c.entries[i+1:]...)
	c.window -= int64(len(gone.value))
	if c.heads[gone.writer].revision != gone.revision {
		return
	}
	head, ok := c.dropped[gone.writer]
	for _, e := range c.entries[:i] {
		if e.writer == gone.writer {
			head, ok = e, true
		}
	}
	if ok {
		c.heads[gone.writer] = head
	} else {
		delete(c.heads, gone.writer)
	}
}

func (c *Cluster) announceLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// compactLocked forgets what every open journal has released and what the
// window does not hold; entries stay readable for the tailers that are open.
func (c *Cluster) compactLocked() {
	upTo := c.revision
	if len(c.journals) == 0 {
		upTo = 0
	}
	for j := range c.journals {
		upTo = min(upTo, j.released)
	}
	keep := c.revision
	for j := range c.journals {
		if j.tail != nil {
			keep = min(keep, j.tail.next)
		}
	}
	for i := 0; i < len(c.entries) && (c.entries[i].revision <= upTo || c.window > c.opts.Window); i++ {
		if e := c.entries[i]; e.revision > c.compacted {
			c.compacted = e.revision
			c.window -= int64(len(e.value))
		}
	}
	n := 0
	for n < len(c.entries) && c.entries[n].revision <= min(c.compacted, keep) {
		c.dropped[c.entries[n].writer] = c.entries[n]
		c.entries[n] = entry{}
		n++
	}
	c.entries = c.entries[n:]
}

// memoryStore is the store of one incarnation of one writer.
type memoryStore struct {
	cluster *Cluster
	writer  string
	life    uint64
	count   attemptCount
}

// attemptCount counts the attempts for a batch.
type attemptCount struct {
	mu      sync.Mutex
	counter uint64 // of the batch being tried
	try     int
}

func (s *memoryStore) replace(ctx context.Context, last uint64, value []byte) (outcome, error) {
	fate, begun := s.fate(value), time.Now()
	if fate.Delay > 0 {
		t := time.NewTimer(fate.Delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if !fate.Lost && fate.Err == nil {
				// It is on its way and arrives although nobody waits for it.
				time.AfterFunc(fate.Delay-time.Since(begun), func() { s.apply(last, value) })
			}
			return outcome{}, ctx.Err()
		}
	}
	if fate.Err != nil {
		return outcome{}, fate.Err
	}
	if fate.Lost {
		<-ctx.Done()
		return outcome{}, ctx.Err()
	}
	if err := s.cluster.waitForQuorum(ctx); err != nil {
		return outcome{}, err
	}
	o, ok := s.apply(last, value)
	if !ok || fate.Silent {
		<-ctx.Done()
		return outcome{}, ctx.Err()
	}
	return o, nil
}

func (s *memoryStore) fate(value []byte) Fate {
	if s.cluster.opts.Fault == nil {
		return Fate{}
	}
	b, err := decodeBatch(value)
	if err != nil {
		return Fate{Err: err}
	}
	return s.cluster.opts.Fault(Attempt{s.writer, b.counter, s.count.next(b.counter), len(b.commands)})
}

// next gives the number of one more.
func (c *attemptCount) next(counter uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if counter != c.counter {
		c.counter, c.try = counter, 0
	}
	c.try++
	return c.try
}

func (c *Cluster) waitForQuorum(ctx context.Context) error {
	for {
		c.mu.Lock()
		quorum, changed := c.quorum, c.changed
		c.mu.Unlock()
		if quorum {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply reports false when the store belongs to a life before the last crash.
func (s *memoryStore) apply(last uint64, value []byte) (outcome, bool) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.life != c.life {
		return outcome{}, false
	}
	if head := c.heads[s.writer]; head.revision != last {
		return outcome{revision: head.revision, current: head.value}, true
	}
	c.revision++
	e := entry{revision: c.revision, writer: s.writer, value: value}
	c.heads[s.writer] = e
	c.entries = append(c.entries, e)
	c.window += int64(len(value))
	if c.window > c.opts.Window {
		c.compactLocked()
	}
	c.announceLocked()
	return outcome{replaced: true, revision: e.revision}, true
}
