// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/types"
)

// Other is another node of the cell, as this one sees it.
type Other struct {
	Name, Address string
	Reached       bool // it is connected to this node's etcd
	Leads         bool // it is the leader
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
		reached, err := e.reached()
		if err != nil && !failed {
			j.log.Warn("journal: it is not known which nodes are reached", "error", err)
		}
		if failed = err != nil; !failed {
			j.reached.Store(&reached)
		}
		select {
		case <-tick.C:
		case <-j.ctx.Done():
			return
		}
	}
}

// reached gives the names of the members that are connected. etcd tells it by its
// metrics alone.
func (e *embedded) reached() (map[string]bool, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return nil, fmt.Errorf("etcd's metrics: %w", err)
	}
	ids := map[string]string{}
	for _, m := range e.etcd.Server.Cluster().Members() {
		ids[m.ID.String()] = m.Name
	}
	own, all := e.etcd.Server.MemberID().String(), map[string]bool{}
	for _, f := range families {
		if f.GetName() != "etcd_network_active_peers" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if name := ids[labels["Remote"]]; labels["Local"] == own && name != "" {
				all[name] = m.GetGauge().GetValue() > 0
			}
		}
	}
	return all, nil
}

// others gives the other nodes, sorted; nil when there are none, or when nothing is known of
// them yet.
func (j *etcdJournal) others() []Other {
	e, ok := j.host.(*embedded)
	reached := j.reached.Load()
	if !ok || reached == nil {
		return nil
	}
	leader := ""
	if m := e.etcd.Server.Cluster().Member(types.ID(e.etcd.Server.Leader())); m != nil {
		leader = m.Name
	}
	var all []Other
	for _, name := range slices.Sorted(maps.Keys(j.opts.Peers.Members)) {
		if name != j.opts.Name {
			all = append(all, Other{name, j.opts.Peers.Members[name], (*reached)[name], name == leader})
		}
	}
	return all
}
