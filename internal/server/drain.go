// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/admin"
	"bavard/internal/journal"
	"bavard/internal/mesh"
)

const (
	// leadWithin bounds how long handing over leadership may take, over a slow network.
	leadWithin = 3 * time.Second
	// seenWithin is how long a node that has come back may take to be seen: who drains one node
	// after the other does not wait for it.
	seenWithin, seenEvery = 5 * time.Second, 250 * time.Millisecond
	// drainReportEvery is how often who has a node drained is told how far it is.
	drainReportEvery = 200 * time.Millisecond
)

// errDrained ends a node that has been drained.
var errDrained = errors.New("the node was drained")

// unseen is an error that may be over in a moment: a node is not reached, or not seen yet.
type unseen struct{ why *admin.Error }

func (u unseen) Error() string { return u.why.Error() }
func (u unseen) Unwrap() error { return u.why }

// patiently does f until it gives another error than unseen, or seenWithin has passed.
func patiently(ctx context.Context, f func() error) error {
	for begun := time.Now(); ; {
		err := f()
		if !errors.As(err, &unseen{}) || time.Since(begun) >= seenWithin {
			return err
		}
		if err := wait(ctx, seenEvery); err != nil {
			return err
		}
	}
}

// drains is whether the node is drained.
type drains struct {
	mu  sync.Mutex            // held by who begins one or takes it back
	now atomic.Pointer[drain] // nil: it is not
}

// drain is one under way, or done.
type drain struct {
	cancel context.CancelFunc
	over   chan struct{} // closed when no session is left, or it was taken back

	mu    sync.Mutex
	stay  bool // the node goes on, without people
	empty bool // nobody is left: whoever says now that it is to end has it end
	state admin.DrainProgress
	err   error
}

func (d *drain) progress() (admin.DrainProgress, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state, d.err
}

func (d *drain) change(f func(*drain)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

// undrained is a health check: who asks whether to send people here is told not to.
func (s *server) undrained() error {
	if s.drains.now.Load() == nil {
		return nil
	}
	return errors.New("draining: people are sent to the other nodes")
}

// drain is admin.Options.Drain. What it begins goes on when whoever asked is gone.
func (s *server) drain(ctx context.Context, o admin.DrainOptions, report func(admin.DrainProgress)) error {
	var d *drain
	err := patiently(ctx, func() (err error) {
		d, err = s.beginDrain(o)
		return err
	})
	if err != nil {
		return err
	}
	tick := time.NewTicker(drainReportEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.over:
			state, err := d.progress()
			report(state)
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			state, _ := d.progress()
			report(state)
		}
	}
}

// beginDrain begins a drain, or gives the one that there is, with what is to come after it.
func (s *server) beginDrain(o admin.DrainOptions) (*drain, error) {
	s.drains.mu.Lock()
	defer s.drains.mu.Unlock()
	if d := s.drains.now.Load(); d != nil {
		var empty bool
		d.change(func(d *drain) { d.stay, empty = o.Stay, d.empty })
		if empty {
			s.leave(s.life, d)
		}
		return d, nil
	}
	if s.life.Err() != nil {
		return nil, &admin.Error{Code: admin.CodeInvalid, Text: "this node is ending"}
	}
	if err := s.mayDrain(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(s.life)
	d := &drain{cancel: cancel, over: make(chan struct{}), stay: o.Stay}
	d.state.Sessions = s.sessions.Stats().Sessions
	d.state.Left = d.state.Sessions
	s.drains.now.Store(d)
	s.doors.group.Go(func() error { s.carryOut(ctx, d, o.Within); return nil })
	return d, nil
}

// carryOut drains the node.
func (s *server) carryOut(ctx context.Context, d *drain, within time.Duration) {
	defer d.cancel()
	defer close(d.over)
	s.log.Warn("the node is drained: it takes nobody any more", "sessions", d.state.Sessions, "within", within)
	s.mesh.SetDrained(true)
	s.doors.shut()
	// First: what sessions have under way is then settled while they end.
	to, err := s.moveLeadership(ctx)
	if err != nil {
		s.log.Warn("leadership was not handed over; when this node ends it is tried again", "err", err)
	}
	d.change(func(d *drain) { d.state.Leader = to })
	err = s.sessions.Drain(ctx, within, func(left int) {
		d.change(func(d *drain) { d.state.Left = left })
	})
	if err != nil {
		d.change(func(d *drain) {
			d.err = &admin.Error{Code: admin.CodeFailed, Text: "it was taken back, or the node ends"}
		})
		return
	}
	s.log.Warn("the node is drained: nobody is left")
	s.leave(ctx, d)
}

// leave ends a node that is drained, unless it is to stay or is needed.
func (s *server) leave(ctx context.Context, d *drain) {
	var stay bool
	d.change(func(d *drain) { d.state.Left, d.err, d.empty, stay = 0, nil, true, d.stay })
	if stay {
		return
	}
	err := patiently(ctx, s.mayDrain) // another one may have begun at the same time
	d.change(func(d *drain) {
		if d.stay { // it was told so meanwhile
			return
		}
		if d.err = err; err == nil {
			s.quit(errDrained)
		}
	})
}

// undrain is admin.Options.Undrain.
func (s *server) undrain() error {
	s.drains.mu.Lock()
	defer s.drains.mu.Unlock()
	d := s.drains.now.Load()
	if d == nil {
		return &admin.Error{Code: admin.CodeInvalid, Text: "this node is not drained"}
	}
	d.cancel()
	<-d.over
	s.sessions.Undrain()
	if err := s.doors.open(s.life); err != nil {
		return &admin.Error{Code: admin.CodeFailed, Text: err.Error(), Hint: "it stays drained; end what listens there, or restart the server"}
	}
	s.mesh.SetDrained(false)
	s.drains.now.Store(nil)
	s.log.Warn("the node is not drained any more: it takes people again")
	return nil
}

func nobodyElse() error {
	return &admin.Error{
		Code: admin.CodeInvalid, Text: "this server is the only node: there is no other for its people to go to",
		Hint: "end it by SIGTERM, as `systemctl stop bavard` does: nothing is lost by that either",
	}
}

// mayDrain errs when there would be nobody to go on without this node.
func (s *server) mayDrain() error {
	if s.member == nil {
		return nobodyElse()
	}
	others := s.cell.JournalStats().Others
	if others == nil {
		return unseen{&admin.Error{Code: admin.CodeFailed, Text: "it is not known yet which nodes are reached", Hint: "try again in a moment"}}
	}
	nodes := s.meshed()
	voters, staying, open := 1, 0, 0
	var lacking []string
	soon := false // it may be otherwise in a moment
	others = slices.DeleteFunc(slices.Clone(others), func(o journal.Other) bool { return o.Absent })
	if len(others) == 0 {
		return nobodyElse()
	}
	for _, o := range others {
		if !o.Learner {
			voters++
		}
		switch n := nodes[o.Name]; {
		case !o.Reached:
			soon = true
			lacking = append(lacking, o.Name+" is not reached")
		case o.Learner:
			lacking = append(lacking, o.Name+" has no vote yet")
		case n.Drained:
			lacking = append(lacking, o.Name+" is drained")
		default:
			switch staying++; {
			case n.Diverged:
				lacking = append(lacking, o.Name+" takes nobody, because its view differs")
			case n.Reached:
				open++
			default: // or this node has only just started
				soon = true
				lacking = append(lacking, o.Name+" takes nobody yet, or its mesh is cut off")
			}
		}
	}
	if staying > voters/2 && open > 0 {
		return nil
	}
	why := &admin.Error{
		Code: admin.CodeInvalid, Text: "without this node the others are not enough: " + strings.Join(lacking, ", "),
		Hint: "bring them back first; `bavard status` there says more, and `bavard drain --undo` has a drained one take people again",
	}
	if soon {
		return unseen{why}
	}
	return why
}

// moveLeadership hands the journal's leadership over, if this node has it. It gives who
// leads then, "" if this node did not.
func (s *server) moveLeadership(ctx context.Context) (string, error) {
	if s.leader == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, leadWithin)
	defer cancel()
	to, err := s.leader.MoveLeadership(ctx)
	if err == nil && to != "" {
		s.log.Info("leadership was handed over", "node", to)
	}
	return to, err
}

// reportNodes says what the nodes say of themselves.
func (s *server) reportNodes(st *admin.Status) {
	if d := s.drains.now.Load(); d != nil {
		state, _ := d.progress()
		st.Drain = &state
	}
	if s.mesh == nil {
		return
	}
	nodes := s.meshed()
	for i := range st.Journal.Others {
		o := &st.Journal.Others[i]
		n := nodes[o.Node]
		o.Drained, o.Diverged, o.Slow, o.Version, o.Level = n.Drained, n.Diverged, n.Pace == mesh.PaceSlow, n.Version, n.Level
	}
}

// keepDrained hands leadership over again that has come back to a node that is drained.
func (s *server) keepDrained(ctx context.Context) {
	if s.drains.now.Load() == nil {
		return
	}
	if _, err := s.moveLeadership(ctx); err != nil {
		s.log.Debug("leadership stays with a node that is drained", "err", err)
	}
}
