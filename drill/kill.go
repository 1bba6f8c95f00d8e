// SPDX-License-Identifier: Apache-2.0

// Package drill rehearses failures on a real server process with real clients,
// and lets the oracle judge what they did to people's messages.
package drill

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/node"
	"bavard/drill/oracle"
)

// KillConfig describes a drill that kills the server again and again while
// people chat.
type KillConfig struct {
	// Binary is the server, Dir an empty directory for its data.
	Binary, Dir string
	// Seed makes the drill's choices; the timing stays the machine's.
	Seed  uint64
	Kills int
	// Accounts is rounded up to whole pairs; 0 means 12.
	Accounts int
	// Group is how many more people chat in a room, and publish; 0 means 4, below 0
	// none.
	Group int
	// Window is how many messages a sender has under way; 0 means 16.
	Window int
	// Think is the mean pause between two messages of a sender; 0 means 3 ms.
	Think time.Duration
	// UpMin and UpMax bound how long the server runs, after the first login,
	// before it is killed; 0 means 300 ms and 1.5 s. One kill in eight comes
	// while it is still starting.
	UpMin, UpMax time.Duration
	// CutMean is the mean time between two cuts of a device's own connection; 0
	// means 2 s.
	CutMean time.Duration
	// NoDedupe runs the server with its test-only switch that leaves duplicates
	// in: the negative control, in which the oracle must find some.
	NoDedupe bool
	// EarlyUploads does the same for files, which are told 201 before they are safe:
	// some must be lost.
	EarlyUploads bool
	// NoFsync does it for power cuts: messages that have their tick must be lost.
	NoFsync bool
	Logger  *slog.Logger // nil discards
}

func (c *KillConfig) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Think, 3*time.Millisecond)
	set(&c.UpMin, 300*time.Millisecond)
	set(&c.UpMax, 1500*time.Millisecond)
	set(&c.CutMean, 2*time.Second)
	if c.Accounts == 0 {
		c.Accounts = 12
	}
	if c.Group == 0 {
		c.Group = 4
	}
	if c.Window == 0 {
		c.Window = 16
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Bounds of the waits of a drill.
const (
	startTimeout   = 60 * time.Second
	drainTimeout   = 120 * time.Second
	catchUpTimeout = 60 * time.Second
	requestTimeout = 15 * time.Second
)

// Kill runs the drill. An error means that it could not be carried out; what
// the oracle found is in the report.
func Kill(ctx context.Context, cfg KillConfig) (*Report, error) {
	cfg.defaults()
	d := newKilling(cfg)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	defer func() { d.node.Kill() }()
	err := d.group.open(ctx)
	if err == nil {
		err = d.run(ctx)
	}
	d.report.Server = d.tail.String()
	d.report.Trouble = d.tail.Trouble()
	if err != nil {
		return &d.report, failed(cfg.Seed, err, d.tail.String())
	}
	return &d.report, nil
}

func newKilling(cfg KillConfig) *killing {
	d := &killing{
		cfg: cfg, log: oracle.NewLog(), random: generator(cfg.Seed, 0),
		startWithin: startTimeout, began: time.Now(), draining: make(chan struct{}), password: rand.Text(),
	}
	d.report.Seed = cfg.Seed
	d.group = newGroup(d, max(cfg.Group, 0))
	return d
}

// killing is a drill under way.
type killing struct {
	cfg      KillConfig
	random   *randv2.Rand // of the goroutine that kills
	log      *oracle.Log
	password string
	places   []place  // where clients get in; one, if there is one server
	rest     []place  // of them, those that are left when nobody chats any more; nil: all
	args     []string // added to each command line of the server
	options  node.Options
	tail     node.Tail
	node     *node.Node
	devices  []*device
	chatting bool // they, and the group, are at it
	// startWithin bounds how long a server may take until it lets somebody in.
	startWithin time.Duration
	// forwards: archives are read in no other way at the end.
	forwards bool
	group    *group
	began    time.Time
	draining chan struct{} // closed when nobody is to send anything new

	mu       sync.Mutex
	report   Report
	killedAt time.Time // of the last kill, until the first tick after it
	harmedAt time.Time // of the last harm
}

// place is where clients reach a server.
type place struct{ c2s, http string }

// at gives the place of a client that has moved on so many times.
func (d *killing) at(where int) place { return d.places[where%len(d.places)] }

// elsewhere gives where a client goes that comes back: mostly to where it was.
func (d *killing) elsewhere(where int, random *randv2.Rand) int {
	if len(d.places) == 1 || random.IntN(4) > 0 {
		return where
	}
	return random.IntN(len(d.places))
}

func generator(seed, stream uint64) *randv2.Rand { return randv2.New(randv2.NewPCG(seed, stream)) }

// prober is the account that measures how soon a restarted server lets people in.
const prober = "prober"

func (d *killing) prepare(ctx context.Context) error {
	addrs, err := node.FreePorts(2, d.random.IntN)
	if err != nil {
		return err
	}
	d.options = node.Options{
		Binary: d.cfg.Binary, Data: filepath.Join(d.cfg.Dir, "data"), C2S: addrs[0], HTTP: addrs[1], Plain: true, Args: d.args, Log: &d.tail,
	}
	d.places = []place{{addrs[0], addrs[1]}}
	if d.cfg.NoDedupe {
		d.options.Env = []string{noDedupe}
	}
	d.devices = d.cast()
	users := d.users()
	if err := node.Import(ctx, d.cfg.Binary, d.options.Data, users, d.args...); err != nil {
		return err
	}
	d.node, err = node.Start(d.options)
	if err != nil {
		return err
	}
	return d.admitted(ctx, time.Now(), false)
}

// noDedupe is in the environment of servers that leave duplicates in.
const noDedupe = "BAVARD_UNSAFE_NO_DEDUPE=1"

// earlyUploads is in that of servers that tell of files before they are safe.
const earlyUploads = "BAVARD_UNSAFE_EARLY_UPLOADS=1"

// noFsync is in that of servers whose etcd syncs nothing.
const noFsync = "BAVARD_UNSAFE_NO_FSYNC=1"

// users are all accounts of the drill.
func (d *killing) users() []node.User {
	users := []node.User{{Local: prober, Password: d.password}}
	known := map[string]bool{}
	for _, v := range d.devices {
		if local := v.local(); !known[local] {
			known[local] = true
			users = append(users, node.User{Local: local, Password: d.password})
		}
	}
	return append(users, d.group.users()...)
}

func (d *killing) run(ctx context.Context) error {
	return d.carryOut(ctx, func(ctx context.Context) error {
		for d.report.Kills < d.cfg.Kills-1 {
			if err := d.killOnce(ctx); err != nil {
				return err
			}
		}
		return nil
	}, func(ctx context.Context) error { return d.restart(ctx, 0) }, func(ctx context.Context) error { return d.node.Stop(ctx) })
}

// carryOut lets people chat while disturb does its harm, waits until all that they sent is
// settled, kills the server at rest, as what it has ticked must be on disk, judges
// what is left, and ends it.
func (d *killing) carryOut(ctx context.Context, disturb, atRest, end func(context.Context) error) error {
	lives, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, v := range d.devices {
		running.Go(func() { v.live(lives) })
	}
	for _, m := range d.group.all() {
		running.Go(func() { m.live(lives) })
	}
	d.chatting = true
	defer running.Wait()
	defer stop()
	if err := disturb(ctx); err != nil {
		return err
	}
	close(d.draining)
	if err := d.settle(ctx); err != nil {
		return err
	}
	if err := atRest(ctx); err != nil {
		return err
	}
	if err := d.catchUp(ctx); err != nil {
		return err
	}
	stop()
	running.Wait()
	if d.rest != nil {
		d.places = d.rest
	}
	if err := d.readArchives(ctx); err != nil {
		return err
	}
	var err error
	if d.report.Group, err = d.group.judge(ctx); err != nil {
		return err
	}
	d.report.Verdict = d.log.Judge()
	if err := end(ctx); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}

// killOnce lets people chat for a while, kills the server and starts it again.
func (d *killing) killOnce(ctx context.Context) error {
	if err := pause(ctx, d.between(d.cfg.UpMin, d.cfg.UpMax)); err != nil {
		return err
	}
	var early time.Duration
	if d.random.IntN(8) == 0 && d.report.Kills+2 < d.cfg.Kills {
		early = time.Duration(d.random.Int64N(int64(time.Second)))
	}
	return d.restart(ctx, early)
}

// between draws a time.
func (d *killing) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.random.Int64N(int64(most-least)+1))
}

// restart kills the server and starts it anew. With early it is killed once
// more, that long after its start.
func (d *killing) restart(ctx context.Context, early time.Duration) error {
	select {
	case <-d.node.Exited():
		return errors.New("the server ended by itself")
	default:
	}
	d.kill()
	started := time.Now()
	var err error
	if d.node, err = node.Start(d.options); err != nil {
		return err
	}
	if early > 0 {
		if err := pause(ctx, early); err != nil {
			return err
		}
		d.kill()
		started = time.Now()
		if d.node, err = node.Start(d.options); err != nil {
			return err
		}
	}
	return d.admitted(ctx, started, true)
}

func (d *killing) kill() {
	d.node.Kill()
	d.report.Kills++
	d.harmedNow()
}

// harmedNow begins to measure what a harm does; it gives the time.
func (d *killing) harmedNow() time.Time {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killedAt, d.harmedAt = now, now
	return now
}

// admitted waits for the first login after a start of the server.
func (d *killing) admitted(ctx context.Context, started time.Time, measure bool) error {
	return d.admittedAt(ctx, d.node, d.options.C2S, started, measure)
}

// admittedAt waits for the first login at a server after a start, and measures it.
func (d *killing) admittedAt(ctx context.Context, n *node.Node, c2s string, started time.Time, measure bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.startWithin)
	defer cancel()
	err := await.UntilEvery(ctx, 5*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-n.Exited():
			cancel() // no use waiting
			return errors.New("the server ended by itself")
		default:
		}
		s, err := client.Dial(ctx, client.Config{JID: prober + "@localhost", Password: d.password, Addr: c2s})
		if err != nil {
			return err
		}
		took := time.Since(started)
		s.Cut()
		if measure {
			d.count(func(r *Report) { r.restarts = append(r.restarts, took) })
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("nobody gets in %v after the start: %w", time.Since(started).Round(time.Millisecond), err)
	}
	d.cfg.Logger.Info("server admits", "at", c2s, "kills", d.report.Kills, "after", time.Since(started).Round(time.Millisecond), "ticked", d.log.Ticked())
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed tells why a drill did not get to its end, after what its servers wrote last: who sees only the
// end of a long output sees why.
func failed(seed uint64, err error, wrote ...string) error {
	return fmt.Errorf("the servers wrote last:\n%s\ndrill with seed %d: %w", strings.Join(wrote, "\n"), seed, err)
}
