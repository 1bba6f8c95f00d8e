// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Other is another node of the cell, as this one sees it.
type Other struct {
	Name, Address string
	Reached       bool // it is connected to this node's etcd
	Leads         bool // it is the leader
	Learner       bool // it takes part anew, or for the first time, and has no vote yet
	Absent        bool // it is not in the cell: not yet, or not any more
}

// othersEvery is how often it is looked at who is reached.
const othersEvery = 2 * time.Second

// watchOthers keeps what Stats says of the other nodes.
func (j *etcdJournal) watchOthers() {
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return
	}
	tick := time.NewTicker(othersEvery)
	defer tick.Stop()
	failed := false
	for {
		active, err := e.active()
		if err != nil && !failed {
			j.log.Warn("journal: it is not known which nodes are reached", "error", err)
		}
		if failed = err != nil; !failed {
			j.active.Store(&active)
		}
		select {
		case <-tick.C:
		case <-j.ctx.Done():
			return
		}
	}
}

// active tells which members are connected to this one. etcd tells it by its
// metrics alone.
func (e *embedded) active() (map[types.ID]bool, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return nil, fmt.Errorf("etcd's metrics: %w", err)
	}
	own, all := e.etcd.Server.MemberID().String(), map[types.ID]bool{}
	for _, f := range families {
		if f.GetName() != "etcd_network_active_peers" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if id, err := types.IDFromString(labels["Remote"]); err == nil && labels["Local"] == own {
				all[id] = m.GetGauge().GetValue() > 0
			}
		}
	}
	return all, nil
}

// others gives the other nodes, sorted; nil when there are none, or when nothing is known of
// them yet.
func (j *etcdJournal) others() []Other {
	e, ok := j.host.(*embedded)
	active := j.active.Load()
	if !ok || active == nil {
		return nil
	}
	leader := types.ID(e.etcd.Server.Leader())
	members := map[string]*membership.Member{}
	for _, m := range e.etcd.Server.Cluster().Members() {
		members[j.nodeOf(m)] = m
	}
	var all []Other
	for _, name := range slices.Sorted(maps.Keys(j.opts.Peers.Members)) {
		if name == j.opts.Name {
			continue
		}
		o := Other{Name: name, Address: j.opts.Peers.Members[name]}
		if m := members[name]; m != nil {
			o.Reached, o.Leads, o.Learner = (*active)[m.ID], m.ID == leader, m.IsLearner
		} else {
			o.Absent = true
		}
		all = append(all, o)
	}
	return all
}
