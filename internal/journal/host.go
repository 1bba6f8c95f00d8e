// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// host is the etcd behind a journal: one that runs in this process, or a cluster
// elsewhere.
type host interface {
	// hasLeader reports whether a majority takes what is written.
	hasLeader() bool
	// size of the database in bytes, as far as it is known.
	size() int64
	// describe says where and what it is, for status.
	describe() Host
	// ended is closed when it has stopped by itself; nil: that is not known.
	ended() <-chan struct{}
	// defragment gives back what compaction freed. It errs when that would not
	// make room.
	defragment(ctx context.Context) error
	close()
}

// Host says what etcd a journal runs on.
type Host struct {
	// Endpoints of a cluster elsewhere; none when etcd runs in this process.
	Endpoints []string
	Version   string
	// Trouble is what is wrong with it although it works; "" for nothing.
	Trouble string
}

// embedded is an etcd in this process.
type embedded struct {
	etcd  *embed.Etcd
	quota int64
}

func (e *embedded) hasLeader() bool        { return e.etcd.Server.Leader() != 0 }
func (e *embedded) size() int64            { return e.etcd.Server.Backend().Size() }
func (e *embedded) describe() Host         { return Host{} }
func (e *embedded) ended() <-chan struct{} { return e.etcd.Server.StopNotify() }
func (e *embedded) close()                 { e.etcd.Close() }

func (e *embedded) client() *clientv3.Client { return v3client.New(e.etcd.Server) }

func (e *embedded) defragment(context.Context) error {
	db := e.etcd.Server.Backend()
	if used := db.SizeInUse(); used+4*MaxBatch > e.quota {
		return fmt.Errorf("%d of %d MiB are not released", used>>20, e.quota>>20)
	}
	return db.Defrag()
}
