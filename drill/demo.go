// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"bavard/drill/client"
	"bavard/drill/network"
	"bavard/drill/oracle"
)

// DemoConfig describes a cell that somebody plays with in a browser.
type DemoConfig struct {
	// Binary is the server, Dir an empty directory for its data.
	Binary, Dir string
	// Listen is the loopback address of the page; port 0 takes a free one.
	Listen string
	// Ready is told the page's address.
	Ready func(url string)
}

// Bounds of a demo.
const (
	// demoMessages is how many messages the bots send: then they rest. All are kept in memory, to be judged.
	demoMessages = 50_000
	judgeEvery   = time.Second
	judgeWithin  = 5 * time.Second
)

// Demo runs a cell of three nodes with two bots that chat, and a page on which nodes are
// killed, frozen, cut off and brought back, until ctx ends.
func Demo(ctx context.Context, cfg DemoConfig) error {
	c := CellConfig{Nodes: 3, KillConfig: KillConfig{Binary: cfg.Binary, Dir: cfg.Dir, Group: -1, Think: 200 * time.Millisecond, CutMean: 24 * time.Hour}}
	if runtime.GOOS == "linux" {
		c.Harm = HarmCut
	}
	d := &demo{celled: newCelled(c), archives: map[demoArchive]*oracle.Archive{}}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		d.acting.Lock()
		defer d.acting.Unlock()
		d.ended = true
		d.end()
	}()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	windows, err := newWindows(ctx, len(d.names()))
	if err != nil {
		return err
	}
	d.addresses = windows.addresses()
	if err := d.prepare(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, d.logs())
	}
	invites, err := d.invites(ctx, 2)
	if err != nil {
		return err
	}
	bots, rest := context.WithCancel(ctx)
	defer rest()
	for _, v := range d.devices {
		running.Go(func() { v.live(bots) })
	}
	running.Go(func() { d.keepJudging(ctx, rest) })
	return d.serve(ctx, cfg, windows, invites)
}

// demo is one under way.
type demo struct {
	*celled
	acting sync.Mutex // one button after the other
	ended  bool       // nothing is to be started any more; under acting

	seen     sync.Mutex // guards all below, and which process a node is
	states   []string   // of the nodes: what was done to them last
	verdict  oracle.Verdict
	judged   time.Time
	gap      time.Duration // the longest
	archives map[demoArchive]*oracle.Archive
}

// demoArchive is an archive as one node gives it.
type demoArchive struct {
	node    int
	account string
}

func (d *demo) names() []string { return []string{"a", "b", "c"} }

// prepare is that of a drill, with two bots instead of its cast.
func (d *demo) prepare(ctx context.Context) error {
	d.states = make([]string, len(d.names()))
	t := trait{resumes: true, archive: true, diligent: true}
	d.devices = []*device{
		newDevice(d.killing, 1, "bot.one@localhost", "bot.two@localhost", "bot", t),
		newDevice(d.killing, 2, "bot.two@localhost", "bot.one@localhost", "bot", t),
	}
	return d.celled.prepare(ctx)
}

// invites makes links for people who know each other, without the address before them.
func (d *demo) invites(ctx context.Context, n int) ([]string, error) {
	out, err := exec.CommandContext(ctx, d.cfg.Binary, "invite", "--data", d.nodes[0].options.Data, "--count", fmt.Sprint(n), "--circle", "demo", "--json").Output()
	if err != nil {
		return nil, fmt.Errorf("invite: %w", err)
	}
	var made []struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return nil, fmt.Errorf("invite: %w", err)
	}
	var tokens []string
	for _, m := range made {
		tokens = append(tokens, m.Token)
	}
	return tokens, nil
}

// What a button does.
const (
	actKill   = "kill"
	actFreeze = "freeze"
	actCut    = "cut"
	actDown   = "down" // all of them
	actBack   = "back" // all of them, from whatever it is
)

var errAct = errors.New("no such button")

// act does what a button says, to a node or to all.
func (d *demo) act(what string, name string) error {
	d.acting.Lock()
	defer d.acting.Unlock()
	if d.ended {
		return errors.New("the demo has ended")
	}
	hit := -1
	for i, n := range d.nodes {
		if n.name == name {
			hit = i
		}
	}
	switch {
	case what == actDown:
		for i, n := range d.nodes {
			n.node.Kill()
			d.becomes(i, "killed")
		}
	case what == actBack:
		return d.back()
	case hit < 0:
		return errAct
	case what == actKill:
		d.nodes[hit].node.Kill()
		d.becomes(hit, "killed")
	case what == actFreeze:
		if err := d.nodes[hit].node.Freeze(); err != nil {
			return err
		}
		d.becomes(hit, "frozen")
	case what == actCut && d.network != nil:
		for _, other := range d.others(hit) {
			d.both(hit, other, network.Way{Cut: true})
		}
		d.becomes(hit, "cut off")
	default:
		return errAct
	}
	return nil
}

func (d *demo) back() error {
	if d.network != nil {
		d.network.Heal()
	}
	for i, n := range d.nodes {
		select {
		case <-n.node.Exited():
			if err := d.restart(n); err != nil {
				return err
			}
		default:
			if err := n.node.Thaw(); err != nil {
				return err
			}
		}
		d.becomes(i, "")
	}
	return nil
}

func (d *demo) restart(n *cellNode) error {
	d.seen.Lock()
	defer d.seen.Unlock()
	return n.restart()
}

func (d *demo) becomes(i int, state string) {
	d.seen.Lock()
	defer d.seen.Unlock()
	d.states[i] = state
}

// state gives what was done to a node last, "" for nothing.
func (d *demo) state(i int) string {
	d.seen.Lock()
	defer d.seen.Unlock()
	select {
	case <-d.nodes[i].node.Exited():
		return "killed"
	default:
		return d.states[i]
	}
}

// demoCounters are what the page shows.
type demoCounters struct {
	Ticked  int            `json:"ticked"`
	Lost    int            `json:"lost"`
	Doubled int            `json:"doubled"`
	Waiting int            `json:"waiting"`
	Gap     float64        `json:"gap"`     // seconds since the last tick, while the bots write
	GapMost float64        `json:"gapMost"` // the longest so far
	Judged  float64        `json:"judged"`  // seconds since the archives were read, -1 if never
	Nodes   []demoNodeSeen `json:"nodes"`
	Cuts    bool           `json:"cuts"` // whether nodes can be cut off here
}

type demoNodeSeen struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

func (d *demo) counters() demoCounters {
	c := demoCounters{Cuts: d.network != nil, Judged: -1, Nodes: []demoNodeSeen{}}
	for i, n := range d.nodes {
		c.Nodes = append(c.Nodes, demoNodeSeen{n.name, d.state(i)})
	}
	var invoked int
	var last time.Time
	invoked, c.Ticked, last = d.log.Progress()
	c.Waiting = invoked - c.Ticked
	d.seen.Lock()
	defer d.seen.Unlock()
	if invoked < demoMessages {
		gap := time.Since(last)
		d.gap = max(d.gap, gap)
		c.Gap = gap.Seconds()
	}
	c.GapMost = d.gap.Seconds()
	v := d.verdict
	c.Lost, c.Doubled = v.Lost+v.Hidden, v.Duplicated
	if !d.judged.IsZero() {
		c.Judged = time.Since(d.judged).Seconds()
	}
	return c
}

// keepJudging reads the archives through all nodes that answer, again and again, and lets
// the oracle judge. When the bots have sent enough, rest is called.
func (d *demo) keepJudging(ctx context.Context, rest func()) {
	for pause(ctx, judgeEvery) == nil {
		before := d.log.History()
		if len(before.Messages) >= demoMessages {
			rest()
		}
		read := d.readAll(ctx)
		if len(read) == 0 {
			continue
		}
		h := d.log.History()
		// What was ticked before an archive was read has to be in it.
		for i := range h.Messages {
			if i >= len(before.Messages) || before.Messages[i].Outcome != oracle.Ticked {
				h.Messages[i].Outcome = oracle.Unknown
			}
		}
		h.Archives = read
		v := oracle.Judge(h)
		d.seen.Lock()
		d.verdict, d.judged = v, time.Now()
		d.seen.Unlock()
	}
}

// readAll reads what is new in the archives of the bots, through each node that answers, and
// gives them whole.
func (d *demo) readAll(ctx context.Context) []oracle.Archive {
	ctx, cancel := context.WithTimeout(ctx, judgeWithin)
	defer cancel()
	found := make([][]oracle.Archive, len(d.nodes))
	var reading sync.WaitGroup
	for i := range d.nodes {
		if d.state(i) != "" {
			continue
		}
		reading.Go(func() {
			var both []oracle.Archive
			for _, v := range d.devices {
				a, err := d.readOn(ctx, i, v)
				if err != nil {
					return // it is not there for the moment
				}
				both = append(both, *a)
			}
			found[i] = both
		})
	}
	reading.Wait()
	var all []oracle.Archive
	for _, both := range found {
		all = append(all, both...)
	}
	return all
}

// readOn reads an archive through a node from where it was read to the last time.
func (d *demo) readOn(ctx context.Context, i int, v *device) (*oracle.Archive, error) {
	d.seen.Lock()
	key := demoArchive{i, v.account}
	a := d.archives[key]
	if a == nil {
		a = &oracle.Archive{Node: d.nodes[i].name, Account: v.account}
		d.archives[key] = a
	}
	d.seen.Unlock()
	s, err := client.Dial(ctx, client.Config{JID: v.account, Password: d.password, Resource: "judge", Addr: d.at(i).c2s})
	if err != nil {
		return nil, err
	}
	defer s.Cut()
	for {
		after := ""
		if n := len(a.Entries); n > 0 {
			after = a.Entries[n-1].ArchiveID
		}
		page, err := s.Archive(ctx, client.Query{After: after, Max: 250})
		if err != nil {
			return nil, err
		}
		for _, in := range page.Messages {
			a.Entries = append(a.Entries, entryOf(in, v.account))
		}
		if page.Complete || len(page.Messages) == 0 {
			return a, nil
		}
	}
}
