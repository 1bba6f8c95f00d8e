// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"maps"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Other is another node of the cell, as this one sees it.
type Other struct {
	Name, Address string
	Reached       bool // it is connected to this node's etcd; or, where that is elsewhere, it runs
	Leads         bool // it is the leader
	Learner       bool // it takes part anew, or for the first time, and has no vote yet
	Absent        bool // it is not in the cell: not yet, or not any more
}

// others gives the other nodes, sorted; nil when there are none.
func (j *etcdJournal) others() []Other {
	if j.roll != nil {
		return j.roll.others(j.opts.Peers, j.opts.Name)
	}
	e, ok := j.host.(*embedded)
	if !ok || j.opts.Peers == nil {
		return nil
	}
	connected := e.connections.current()
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
			o.Reached, o.Leads, o.Learner = connected[m.ID], m.ID == leader, m.IsLearner
		} else {
			o.Absent = true
		}
		all = append(all, o)
	}
	return all
}
