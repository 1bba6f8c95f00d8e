// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// Watch is how a scenario tells what it does, and what it knows of the server.
// nil knows nothing and tells nobody.
type Watch struct {
	// Progress is told what is going on, about once a second, by one goroutine
	// at a time; may be nil.
	Progress func(string)
	// Server are its processes; nil when they cannot be seen from here.
	Server *Processes
}

func (w *Watch) tell(format string, args ...any) {
	if w != nil && w.Progress != nil {
		w.Progress(fmt.Sprintf(format, args...))
	}
}

// counting makes a counter whose steps are told once a second at most.
func (w *Watch) counting(what string, of int) (add func(int)) {
	var count, last atomic.Int64
	return func(n int) {
		c, now := count.Add(int64(n)), int64(time.Since(epoch))
		if before := last.Load(); now-before > int64(time.Second) && last.CompareAndSwap(before, now) {
			w.tell("%s: %d of %d", what, c, of)
		}
	}
}

// cost reads the server's; the zero Cost when it cannot be.
func (w *Watch) cost() Cost {
	if w == nil || w.Server == nil {
		return Cost{}
	}
	c, err := w.Server.Read()
	if err != nil {
		return Cost{}
	}
	return c
}

// epoch makes monotonic times small numbers. It is immutable.
var epoch = time.Now()

// wait returns after d, or earlier with an error when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// during waits for d in steps of a second, and calls each after them with the
// time that has passed. It returns early when ctx ends.
func during(ctx context.Context, d time.Duration, each func(time.Duration)) error {
	began := time.Now()
	for {
		left := d - time.Since(began)
		if left <= 0 {
			return nil
		}
		if err := wait(ctx, min(left, time.Second)); err != nil {
			return err
		}
		if each != nil {
			each(time.Since(began))
		}
	}
}

// Conditions are what every report begins with: what was measured, under which
// circumstances, and who paid for it.
type Conditions struct {
	Scenario  string `json:"scenario"`
	Server    string `json:"server"` // what it calls itself (XEP-0092)
	Addr      string `json:"addr"`
	Domain    string `json:"domain"`
	Transport string `json:"transport"`
	Mechanism string `json:"mechanism"`
	// Began is when the measurement began, after preparations and warm-up; it
	// lasted Seconds.
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Interrupted: it was ended early, and what it says is of the time until then.
	Interrupted bool `json:"interrupted,omitempty"`
	// LoadBefore and LoadAfter are the machine's load averages over a minute: what
	// else went on. -1 where they are not known.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
	// ServerCores and GeneratorCores are CPU seconds per second.
	ServerCores    float64 `json:"server_cores"`
	GeneratorCores float64 `json:"generator_cores"`
	// ServerCPU is in seconds; memory is the server's at the end.
	ServerCPU float64 `json:"server_cpu_s"`
	ServerRSS int64   `json:"server_rss_bytes"`
	ServerPSS int64   `json:"server_pss_bytes,omitempty"`
	// Notes are what a reader of the figures has to know.
	Notes []string `json:"notes,omitempty"`

	began  time.Time
	server Cost
	own    time.Duration
}

func (t *Target) conditions(scenario string) Conditions {
	return Conditions{
		Scenario: scenario, Addr: t.Addresses(), Domain: t.Domain, Transport: t.Transport, Mechanism: t.mechanism(),
		LoadBefore: loadAverage(), LoadAfter: -1,
	}
}

// start begins the measurement.
func (c *Conditions) start(w *Watch) {
	c.LoadBefore, c.server, c.own = loadAverage(), w.cost(), ownCPU()
	c.began = time.Now()
	c.Began = c.began.UTC().Truncate(time.Second)
}

// busy is the share of the processors it may use above which the generator is
// taken for what limits the result.
const busy = 0.85

// stop ends the measurement; what comes after is not counted.
func (c *Conditions) stop(w *Watch) {
	elapsed := time.Since(c.began)
	own, now := ownCPU()-c.own, w.cost()
	c.Seconds = elapsed.Seconds()
	c.GeneratorCores = own.Seconds() / c.Seconds
	if now.CPU < c.server.CPU { // it was started again
		c.server.CPU = 0
	}
	c.ServerCPU = (now.CPU - c.server.CPU).Seconds()
	c.ServerCores = c.ServerCPU / c.Seconds
	c.ServerRSS, c.ServerPSS = now.RSS, now.PSS
	c.LoadAfter = loadAverage()
	if c.GeneratorCores > busy*float64(runtime.GOMAXPROCS(0)) {
		c.note("the GENERATOR was the bottleneck: it used %.2f of the %d cores that it may use; give it more, or another machine",
			c.GeneratorCores, runtime.GOMAXPROCS(0))
	}
}

func (c *Conditions) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// per divides what the server used by what it did, in milliseconds.
func (c *Conditions) per(n uint64) float64 {
	if n == 0 {
		return 0
	}
	return c.ServerCPU * 1000 / float64(n)
}
