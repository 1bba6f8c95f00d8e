// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/drill/await"
	"bavard/drill/network"
	"bavard/drill/node"
)

// Harm is what is done to a node.
type Harm uint8

// Kinds of harm.
const (
	// HarmKill: killed by SIGKILL, and started again; of five two at a time, of seven three.
	HarmKill Harm = iota
	// HarmFreeze: stopped by SIGSTOP, and continued.
	HarmFreeze
	// HarmRoll: drained, and one in four ended by SIGTERM, as for a new version, and started
	// again, one node after the other in turn.
	HarmRoll
	// HarmWipe: killed, and started again without its journal, its view, or anything but its
	// identity, or with a log that has lost its end; sometimes killed once more meanwhile.
	HarmWipe
	// HarmCut: cut off from the others, or one way, or made slow; and healed.
	HarmCut
	// HarmClock: killed, and started again with a clock that is an hour wrong.
	HarmClock
)

// CellConfig describes a drill in which people chat on all nodes of a cell, to one of
// which something is done, again and again.
type CellConfig struct {
	KillConfig
	// Nodes of the cell: 3, 5 or 7.
	Nodes int
	Harm  Harm
	// Older is the program of an older version: all nodes begin with it, HarmRoll has each go on with the other
	// version in its turn, never all with Binary, and at last all with Binary. "": no other than Binary.
	Older string
	// DownMax bounds how long a node stays away, or is frozen; 0 means 1 s.
	DownMax time.Duration
	// Duration ends it once it has passed; 0: after so many as Kills.
	Duration time.Duration
	// Enough ends it, too, once it is closed and the harm under way is over; nil never is.
	Enough <-chan struct{}
	// Progress is told after each of them; nil is not.
	Progress func(harmed, ticked int)
}

// Usual is the pace of people and of harm in `bavard drill`.
func Usual() CellConfig {
	return CellConfig{KillConfig: KillConfig{Think: 10 * time.Millisecond, UpMin: time.Second, UpMax: 5 * time.Second}}
}

func (c *CellConfig) defaults() {
	c.KillConfig.defaults()
	if c.DownMax == 0 {
		c.DownMax = time.Second
	}
	if c.Seed == 0 {
		c.Seed = randv2.Uint64()
	}
}

// Cell runs the drill. An error means that it could not be carried out; what the
// oracle found is in the report.
func Cell(ctx context.Context, cfg CellConfig) (*Report, error) {
	d := newCelled(cfg)
	return d.rehearse(ctx, d.disturb, d.restartAll, d.stopAll)
}

// rehearse starts the cell, has carryOut run and reports.
func (d *celled) rehearse(ctx context.Context, disturb, atRest, end func(context.Context) error) (*Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.end()
	err := d.begin(ctx)
	if err == nil {
		err = d.carryOut(ctx, disturb, atRest, end)
	}
	return d.reported(err)
}

// reported is the report of a drill that is over, or could not be carried out.
func (d *celled) reported(err error) (*Report, error) {
	for _, n := range d.nodes {
		if n.removed {
			continue
		}
		d.report.Trouble = append(d.report.Trouble, n.tail.Trouble()...)
	}
	d.report.Server = d.logs()
	if err != nil {
		return &d.report, failed(d.cfg.Seed, err, d.report.Server)
	}
	return &d.report, nil
}

// celled is a drill under way in which there are several nodes.
type celled struct {
	*killing
	cfg   CellConfig
	nodes []*cellNode
	// network is between the nodes when it is what is harmed; nil otherwise.
	network *network.Network
	// addresses of the app at each node, for who is cut off from one.
	addresses []string
	// supervisor starts nodes that end by themselves; nil: none is to.
	supervisor *supervisor
	// peer is the server whose nodes they are; nil: ours.
	peer Peer
	// data gives the data directory of a node; nil: under cfg.Dir.
	data func(node string) string
	// etcd is one that none of the nodes runs; nil: they are it.
	etcd *etcd
}

// cellNode is one of them.
type cellNode struct {
	name    string
	bundle  string // the copy that is kept
	options node.Options
	node    *node.Node
	// starting is held while node is replaced, where there is a supervisor.
	starting sync.Mutex
	pid      atomic.Int64 // of the process that was started last
	tail     node.Tail
	// wrongClock: it was started with one.
	wrongClock bool
	removed    bool // it was taken out of the cell, and says so
}

func (n *cellNode) start() (err error) {
	if n.node, err = node.Start(n.options); err == nil {
		n.pid.Store(int64(n.node.PID()))
	}
	return err
}

func newCelled(cfg CellConfig) *celled {
	cfg.defaults()
	return &celled{cfg: cfg, killing: newKilling(cfg.KillConfig)}
}

// begin is prepare, and then makes the room.
func (d *celled) begin(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.group.open(ctx)
}

// logs are the ends of what the nodes have written.
func (d *celled) logs() string {
	var all strings.Builder
	for _, n := range d.nodes {
		fmt.Fprintf(&all, "node %s:\n%s\n", n.name, n.tail.String())
	}
	return all.String()
}

// prepare makes the cell, starts its nodes and gives it accounts.
func (d *celled) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*d.startWithin)
	defer cancel()
	if d.peer != nil {
		return d.preparePeer(ctx)
	}
	if err := d.found(ctx); err != nil {
		return err
	}
	if d.devices == nil {
		d.devices = d.cast()
	}
	if err := d.startAll(); err != nil {
		return err
	}
	for _, n := range d.nodes {
		if _, err := n.node.Ready(ctx); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
	}
	err := await.Until(ctx, func(ctx context.Context) error { // the admin socket comes last
		return node.Import(ctx, d.founder(), d.nodes[0].options.Data, d.users())
	})
	if err != nil {
		return err
	}
	return d.allAdmit(ctx, false)
}

// found makes the data directories and command lines of the nodes.
func (d *celled) found(ctx context.Context) error {
	seats, err := d.lay()
	if err != nil || d.cfg.Nodes == 1 { // a server alone
		return err
	}
	if err := node.Found(ctx, d.founder(), d.cfg.Dir, seats); err != nil {
		return err
	}
	return d.configure(seats)
}

// lay chooses the nodes' names, addresses and directories.
func (d *celled) lay() (seats []node.Seat, err error) {
	addrs, err := node.FreePorts(3*d.cfg.Nodes, d.random.IntN)
	if err != nil {
		return nil, err
	}
	for i := range d.cfg.Nodes {
		n := &cellNode{name: string(rune('a' + i))}
		c2s, http, peer := addrs[3*i], addrs[3*i+1], addrs[3*i+2]
		n.options = node.Options{
			Binary: d.founder(), Data: filepath.Join(d.cfg.Dir, n.name), C2S: c2s, HTTP: http, Plain: true, Log: &n.tail,
		}
		if d.data != nil {
			n.options.Data = d.data(n.name)
		}
		if d.cfg.NoDedupe {
			n.options.Env = []string{noDedupe}
		}
		if d.cfg.EarlyUploads {
			n.options.Env = append(n.options.Env, earlyUploads)
		}
		if d.cfg.NoFsync {
			n.options.Env = append(n.options.Env, noFsync)
		}
		d.nodes, d.places = append(d.nodes, n), append(d.places, place{c2s, http})
		seats = append(seats, node.Seat{Name: n.name, Peer: peer, Data: n.options.Data})
	}
	return seats, nil
}

// configure says to each node which one it is, and where it listens for the others.
func (d *celled) configure(seats []node.Seat) (err error) {
	var binds []string
	for i, n := range d.nodes {
		n.options.Args, n.bundle = seats[i].Arguments(seats), node.Bundle(d.cfg.Dir, n.name)
		binds = append(binds, seats[i].Peer)
	}
	if d.cfg.Harm == HarmCut {
		if binds, err = d.interpose(binds); err != nil {
			return err
		}
	}
	for i, n := range d.nodes {
		var quoted []string
		for _, a := range d.addresses {
			quoted = append(quoted, strconv.Quote(a))
		}
		config := filepath.Join(d.cfg.Dir, n.name+".toml")
		text := fmt.Sprintf("[cell]\nbind = %q\naddresses = [%s]\n", binds[i], strings.Join(quoted, ", "))
		if d.etcd != nil {
			text += d.etcd.configuration()
		}
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return err
		}
		n.options.Args = append(n.options.Args, "--config", config)
	}
	return nil
}

// founder is the program with which the cell begins.
func (d *celled) founder() string { return cmp.Or(d.cfg.Older, d.cfg.Binary) }

func (d *celled) command(ctx context.Context, args ...string) error {
	return node.Command(ctx, d.cfg.Binary, args...)
}

// disturb does its harm to a node after each while, and has it go on some time
// later: at random, or, of those that are ended in order, to one after the other.
func (d *celled) disturb(ctx context.Context) error {
	err := d.again(ctx, func(ctx context.Context, n int) error {
		switch hit := d.nodes[d.random.IntN(len(d.nodes))]; d.cfg.Harm {
		case HarmFreeze:
			return d.freezeOne(ctx, hit, n == 0)
		case HarmWipe:
			return d.wipeOne(ctx, hit, loss(n%int(losses)))
		case HarmRoll:
			hit = d.nodes[n%len(d.nodes)]
			return d.rollOne(ctx, hit, n%4 != 3, d.next(hit))
		case HarmCut:
			return d.cutOne(ctx, d.random.IntN(len(d.nodes)), cut(n%int(cuts)))
		case HarmClock:
			return d.clockOne(ctx, hit, n)
		default:
			return d.killMinority(ctx)
		}
	})
	switch {
	case err != nil:
	case d.cfg.Harm == HarmKill && d.peer == nil:
		err = d.alike(ctx)
	case d.cfg.Older != "":
		err = d.upgradeAll(ctx)
	}
	return err
}

// alike waits, while people chat, until each node has seen since its start that most have its view:
// none would take people if it had seen another one.
func (d *celled) alike(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for _, n := range d.nodes {
		err := n.shows(ctx, func(page string) error {
			if gauge(page, "bavard_view_compared_total") < 1 {
				return errors.New("it has not compared its view")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// again does harm after each while in which people chat, as often as the drill is to, or for as long, or until it is enough.
func (d *celled) again(ctx context.Context, harm func(ctx context.Context, n int) error) error {
	begun := time.Now()
	for n := 0; d.cfg.Duration > 0 && time.Since(begun) < d.cfg.Duration || d.cfg.Duration == 0 && n < d.cfg.Kills; n++ {
		if err := d.flows(ctx); err != nil {
			return fmt.Errorf("after %d times: %w", n, err)
		}
		if err := pause(ctx, d.between(d.cfg.UpMin, d.cfg.UpMax)); err != nil {
			return err
		}
		select {
		case <-d.cfg.Enough:
			return nil
		default:
		}
		if err := harm(ctx, n); err != nil {
			return err
		}
		if d.cfg.Progress != nil {
			d.cfg.Progress(n+1, d.log.Ticked())
		}
	}
	return nil
}

// What a cell has to tick before harm is done to it, again.
const (
	flowMessages = 50
	flowGroup    = 5
)

// flows waits until the cell ticks what people say: on a slow machine, too, all harm meets a cell that works,
// and one that does not recover is found at once. How soon a peer does is its own affair.
func (d *celled) flows(ctx context.Context) error {
	if d.peer != nil || !d.chatting {
		return nil
	}
	ticked, before := d.ticks(flowMessages), d.group.ticks()
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.UntilEvery(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		if n := d.group.ticks() - before; len(d.group.all()) > 0 && n < flowGroup {
			return fmt.Errorf("%d messages to the group were ticked", n)
		}
		return ticked(ctx)
	})
}

// harmed begins to measure how long sending stops.
func (d *celled) harmed() {
	now := d.harmedNow()
	for _, v := range d.devices {
		v.stopped(now)
	}
}

// restartAll kills all nodes at once and starts them again.
func (d *celled) restartAll(ctx context.Context) error {
	for _, n := range d.nodes {
		d.kill(n)
	}
	if err := d.startAll(); err != nil {
		return err
	}
	return d.allAdmit(ctx, false)
}

func (d *celled) startAll() error {
	for _, n := range d.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}

func (d *celled) allAdmit(ctx context.Context, measure bool) error {
	started := time.Now()
	for _, n := range d.nodes {
		if err := d.admits(ctx, n, started, measure); err != nil {
			return err
		}
	}
	return nil
}

// admits waits for the first login at a node.
func (d *celled) admits(ctx context.Context, n *cellNode, started time.Time, measure bool) error {
	if err := d.admittedAt(ctx, n.node, n.options.C2S, started, measure); err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	return nil
}

func (d *celled) stopAll(ctx context.Context) error {
	d.unsupervise()
	var all error
	for _, n := range d.nodes {
		if err := n.node.Stop(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("node %s: %w", n.name, err))
		}
	}
	return all
}

// end kills what is left and takes the network away.
func (d *celled) end() {
	d.unsupervise()
	d.killAll()
	if d.network != nil {
		d.network.Close()
	}
}

// unsupervise leaves nodes that end as they are.
func (d *celled) unsupervise() {
	if d.supervisor != nil {
		d.supervisor.stop()
	}
}

func (d *celled) killAll() {
	for _, n := range d.nodes {
		if n.node != nil {
			n.node.Kill()
		}
	}
}
