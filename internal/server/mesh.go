// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/dispatch"
	"bavard/internal/health"
	"bavard/internal/mesh"
)

// makeMesh makes what the nodes of a cell know of each other's sessions; nothing
// while there is one node.
func (s *server) makeMesh() error {
	if s.member == nil {
		return nil
	}
	peers := s.cfg.Cell.Meshes()
	delete(peers, s.member.Node)
	o := mesh.Options{
		Domain: s.cfg.Domain, Rooms: s.roomsDomain(), Cell: s.member.Cell, Node: s.member.Node, Peers: peers, Listen: s.cfg.Cell.MeshBinds(),
		Serving: s.identity.Serving(), Calling: s.identity.Calling, Reached: s.reached, Voter: s.voter, Member: s.inCell, Log: s.log,
		Version: s.o.Version[:min(len(s.o.Version), mesh.VersionMost)], Level: s.level(), Points: s.points, Clock: s.ownClock,
	}
	if s.o.meshed != nil {
		s.o.meshed(&o)
	}
	var err error
	if s.mesh, err = mesh.New(o); err == nil {
		s.clock.Store(s.mesh)
	}
	return err
}

// meshed gives what the other nodes say of themselves, by name.
func (s *server) meshed() map[string]mesh.Node {
	nodes := map[string]mesh.Node{}
	for _, n := range s.mesh.Nodes() {
		nodes[n.Name] = n
	}
	return nodes
}

// elsewhere is the mesh as the hub knows it.
func (s *server) elsewhere() dispatch.Elsewhere {
	if s.mesh == nil {
		return nil
	}
	return s.mesh
}

func (s *server) startMesh(ctx context.Context) error {
	if s.mesh == nil {
		return nil
	}
	return s.mesh.Start(ctx, s.hub, s.rooms)
}

// reached reports whether the journal reaches another node, or may.
func (s *server) reached(node string) bool {
	for _, o := range s.cell.JournalStats().Others {
		if o.Name == node {
			return o.Reached
		}
	}
	return true // nothing is known yet
}

// cutFor is how long a node may be out of the mesh before that is told.
const cutFor = 5 * time.Second

// warnOfMesh tells which nodes are reached by the journal, but not by the mesh. cut
// says since when each is not.
func (s *server) warnOfMesh(cut map[string]time.Time, now time.Time) {
	if s.mesh == nil {
		return
	}
	names := s.mesh.Stats().Cut
	maps.DeleteFunc(cut, func(name string, _ time.Time) bool { return !slices.Contains(names, name) })
	away := map[string]bool{}
	for _, o := range s.cell.JournalStats().Others {
		away[o.Name] = !o.Reached
	}
	var told []string
	for _, name := range names {
		if cut[name].IsZero() {
			cut[name] = now
		}
		if !away[name] && now.Sub(cut[name]) >= cutFor {
			told = append(told, name+" at "+s.cfg.Cell.Meshes()[name])
		}
	}
	slices.Sort(told)
	s.warn(health.MeshCut, len(told) > 0, strings.Join(told, ", "))
}

// collectMesh registers the mesh's figures.
func (s *server) collectMesh(r prometheus.Registerer) {
	stats := func() mesh.Stats {
		if s.mesh == nil {
			return mesh.Stats{}
		}
		return s.mesh.Stats()
	}
	gauge := func(name, help string, read func(mesh.Stats) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "bavard", Name: name, Help: help}, func() float64 { return read(stats()) }))
	}
	counter := func(name, help string, read func(mesh.Stats) uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "bavard", Name: name, Help: help}, func() float64 { return float64(read(stats())) }))
	}
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "bavard", Name: "views_handed_total", Help: "Views handed to other nodes that were behind."}, func() float64 {
		if s.handover == nil {
			return 0
		}
		return float64(s.handover.Handed())
	}))
	gauge("mesh_nodes_cut", "Other nodes that this one does not tell, or that do not tell it, who is online.", func(s mesh.Stats) float64 { return float64(len(s.Cut)) })
	gauge("mesh_sessions", "Sessions that are known on other nodes.", func(s mesh.Stats) float64 { return float64(s.Sessions) })
	gauge("mesh_visits", "Devices in rooms that are known on other nodes.", func(s mesh.Stats) float64 { return float64(s.Visits) })
	gauge("mesh_queue", "What waits to be told to other nodes.", func(s mesh.Stats) float64 { return float64(s.Queued) })
	gauge("mesh_queue_bytes", "The same, in bytes.", func(s mesh.Stats) float64 { return float64(s.Bytes) })
	counter("mesh_passed_total", "Soft stanzas handed to other nodes.", func(s mesh.Stats) uint64 { return s.Passed })
	counter("mesh_arrived_total", "Soft stanzas that other nodes handed to this one.", func(s mesh.Stats) uint64 { return s.Arrived })
	counter("mesh_shed_total", "Soft stanzas dropped because a node was away or too much waited for it.", func(s mesh.Stats) uint64 { return s.Shed })
	counter("mesh_snapshots_total", "How often another node was told of all sessions, and who is in rooms.", func(s mesh.Stats) uint64 { return s.Snapshots })
}
