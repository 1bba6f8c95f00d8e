// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/admin"
	"bavard/internal/command"
	"bavard/internal/datadir"
	"bavard/internal/health"
	"bavard/internal/mesh"
)

// The nodes of a cell tell each other the chain hashes of their views. A node that has another
// one than most takes nobody: what it would answer from its view may be wrong, and what it would
// tick may be in no other. It removes nothing because of that.

const (
	// undecidedFor is how long views may differ without a majority for any, before nobody is
	// served from them: so long the others may take to say what they have.
	undecidedFor = 10 * time.Second
	// nudgeEvery is how often something is appended while views differ, so that there is
	// something to compare although nobody is served.
	nudgeEvery  = 2 * time.Second
	nudgeWithin = 500 * time.Millisecond // where the queue is full
	// divergedMark is a file in the view, and goes with it: it says since when, and why, the node
	// takes nobody.
	divergedMark = "diverged"
)

// comparison is what is known of this node's view and those of the others. All but the atomics
// is of the goroutine that watches.
type comparison struct {
	paused   atomic.Pointer[string]           // why the node takes nobody; nil: it does
	equal    atomic.Pointer[command.Position] // where most have been seen to have what this one has
	compared atomic.Uint64                    // positions at which that was so

	at        mesh.At   // where views were seen to differ last
	undecided time.Time // since when; zero: they are not
	nudged    time.Time // when something was appended
	nudging   atomic.Bool
}

// judgement is what a node concludes.
type judgement struct {
	verdict verdict
	at      mesh.At
	differ  []string // nodes that have something else there; sorted
}

type verdict uint8

const (
	unknown   verdict = iota // there is nothing to compare
	equal                    // most nodes have what this one has
	minority                 // most nodes have the same, and this one has not
	undecided                // some differ from this one, and no majority is known
)

// judge compares what this node has with what the others say, at the newest position where that
// tells something; majority is how many nodes that is. Views that once differ do so ever after, so
// what is seen at a position is not taken back by what was equal before it.
func judge(own []mesh.Point, others []mesh.Node, majority int) judgement {
	var open judgement
	for _, p := range slices.Backward(own) {
		with, groups, differ := 1, map[uint64]int{}, []string{}
		contested := false
		for _, o := range others {
			i := slices.IndexFunc(o.Points, func(q mesh.Point) bool { return q.At == p.At })
			switch {
			case i < 0:
			case o.Points[i].Hash == p.Hash:
				with++
			default:
				groups[o.Points[i].Hash]++
				differ = append(differ, o.Name)
				contested = contested || !o.Diverged // else it has found itself that it is wrong
			}
		}
		slices.Sort(differ)
		found := judgement{at: p.At, differ: differ}
		switch {
		case slices.ContainsFunc(slices.Collect(maps.Values(groups)), func(n int) bool { return n >= majority }):
			found.verdict = minority
			return found
		case open.verdict == undecided: // later than this
		case with >= majority:
			found.verdict = equal
			return found
		case contested:
			found.verdict = undecided
			open = found
		}
	}
	return open
}

// points are mesh.Options.Points.
func (s *server) points() []mesh.Point {
	own := s.cell.Points()
	points := make([]mesh.Point, 0, len(own))
	for _, p := range own {
		points = append(points, mesh.Point{At: mesh.At{Epoch: p.At.Epoch, Revision: p.At.Revision}, Hash: p.Hash})
	}
	return points
}

// compare looks whether this node may serve people.
func (s *server) compare(ctx context.Context, now time.Time) {
	if s.mesh == nil {
		return
	}
	nodes := s.mesh.Nodes()
	j := judge(s.points(), nodes, (len(nodes)+1)/2+1)
	c := &s.comparison
	if j.verdict != undecided {
		c.undecided = time.Time{}
	}
	text := fmt.Sprintf("at revision %d %s", j.at.Revision, have(j.differ))
	switch j.verdict {
	case equal:
		s.agreed(j)
	case minority:
		c.at = j.at
		s.pause(minority, text+", and most nodes the same as each other")
	case undecided:
		c.at = j.at
		if c.undecided.IsZero() {
			c.undecided = now
			s.log.Warn("views of the cell differ, and it is not known yet which are right", "revision", j.at.Revision, "nodes", strings.Join(j.differ, ", "))
			s.cell.ScrubNow()
		}
		if now.Sub(c.undecided) >= undecidedFor {
			s.pause(undecided, text+", and no majority has the same")
		}
	case unknown:
	}
	s.warn(health.NodeDiverged, j.verdict == equal && len(j.differ) > 0, text)
	if why := c.paused.Load(); why != nil {
		s.warnings.Raise(health.ViewDiverged, *why)
		s.sessions.Disconnect(elsewhere())
	}
	if c.paused.Load() != nil || j.verdict == undecided {
		s.nudge(ctx, now)
	}
}

func have(nodes []string) string {
	if len(nodes) == 1 {
		return "node " + nodes[0] + " has another view"
	}
	return "nodes " + strings.Join(nodes, ", ") + " have another view"
}

// agreed: most nodes have what this one has.
func (s *server) agreed(j judgement) {
	c := &s.comparison
	at := command.Position{Epoch: j.at.Epoch, Revision: j.at.Revision}
	if was := c.equal.Load(); was == nil || was.Before(at) {
		c.equal.Store(&at)
		c.compared.Add(1)
	}
	if c.paused.Load() == nil || at.Compare(command.Position{Epoch: c.at.Epoch, Revision: c.at.Revision}) < 0 {
		return
	}
	if err := s.unmark(); err != nil {
		s.log.Error("this node's view is what most nodes have again, but that cannot be noted; it is tried again", "err", err)
		return
	}
	s.divergent.Store(false)
	s.mesh.SetDiverged(false)
	c.paused.Store(nil)
	s.warnings.Clear(health.ViewDiverged)
	s.log.Warn("this node's view is what most nodes have: it takes people again", "revision", at.Revision)
}

// pause has the node take nobody, also after a start, and look at its own files.
func (s *server) pause(found verdict, why string) {
	c := &s.comparison
	if c.paused.Load() != nil && (s.divergent.Load() || found != minority) {
		return
	}
	s.divergent.Store(found == minority) // before the look at its files, so that what that finds is acted upon
	s.mesh.SetDiverged(found == minority)
	c.paused.Store(&why)
	s.log.Error("this node's view is not what other nodes have: it takes nobody, and looks at its files", "why", why,
		"hint", "if these are damaged its view is made anew by itself; if not, see docs/operations.md, A node whose view differs")
	if err := datadir.WriteFile(s.markFile(), []byte(markText(found, why)), 0o600); err != nil {
		s.log.Error("the next start of this node will not know that it is to take nobody", "err", err)
	}
	s.cell.ScrubNow()
}

func (s *server) markFile() string { return filepath.Join(s.dir.View(), divergedMark) }

// First words of the mark.
const (
	markMinority  = "minority: "
	markUndecided = "undecided: "
)

func markText(found verdict, why string) string {
	if found == minority {
		return markMinority + why + "\n"
	}
	return markUndecided + why + "\n"
}

func (s *server) unmark() error {
	err := os.Remove(s.markFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, datadir.Sync(s.dir.View()))
}

// settleComparison goes on with what was found before this start.
func (s *server) settleComparison() error {
	if s.mesh == nil {
		return nil
	}
	text, err := os.ReadFile(s.markFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("whether the view differs from those of other nodes: %w", err)
	}
	why, most := strings.CutPrefix(string(text), markMinority)
	why = strings.TrimSpace(strings.TrimPrefix(why, markUndecided))
	s.divergent.Store(most)
	s.mesh.SetDiverged(most)
	s.comparison.paused.Store(&why)
	s.warnings.Raise(health.ViewDiverged, why)
	s.log.Error("this node's view was not what other nodes have: it takes nobody until it is", "why", why)
	return nil
}

// nudge has something applied on all nodes, so that there is something to compare.
func (s *server) nudge(ctx context.Context, now time.Time) {
	c := &s.comparison
	if now.Sub(c.nudged) < nudgeEvery || !c.nudging.CompareAndSwap(false, true) {
		return
	}
	c.nudged = now
	ctx, cancel := context.WithTimeout(ctx, nudgeWithin)
	defer cancel()
	cmd := &command.Command{Request: &command.Command_Noop{Noop: &command.Noop{}}}
	if err := s.cell.Submit(ctx, cmd, func(command.Outcome, error) { c.nudging.Store(false) }); err != nil {
		c.nudging.Store(false)
		s.log.Debug("nothing was appended to compare views by", "err", err)
	}
}

// undiverged is a health check.
func (s *server) undiverged() error {
	if why := s.comparison.paused.Load(); why != nil {
		return errors.New("its view is not what other nodes have: " + *why)
	}
	return nil
}

// closed reports whether this node takes nobody, because another one knows better.
func (s *server) closed() bool {
	return s.member != nil && (s.outvoted.Load() || s.comparison.paused.Load() != nil)
}

// errDiverged: another node has a better view.
var errDiverged = errors.New("most nodes have another view than this one")

// source is handover.Source: most nodes must have the view that another one is handed.
type source struct{ *server }

// CheckpointAfter is that of the cell.
func (s source) CheckpointAfter(ctx context.Context, dir string, after uint64) error {
	if s.divergent.Load() {
		return errDiverged
	}
	return s.cell.CheckpointAfter(ctx, dir, after)
}

// reportComparison is the comparison's part of a status.
func (s *server) reportComparison(v *admin.ViewStatus) {
	if at := s.comparison.equal.Load(); at != nil {
		v.Compared = at.Revision
	}
	if why := s.comparison.paused.Load(); why != nil {
		v.Diverged = *why
	}
}

// collectComparison registers its figures.
func (s *server) collectComparison(r prometheus.Registerer) {
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "bavard", Name: "view_compared_total", Help: "Positions at which most nodes were seen to have this one's view.",
		}, func() float64 { return float64(s.comparison.compared.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "bavard", Name: "view_diverged", Help: "1 while the node takes nobody because other nodes have another view.",
		}, func() float64 {
			if s.comparison.paused.Load() == nil {
				return 0
			}
			return 1
		}),
	)
}
