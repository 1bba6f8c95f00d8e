// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
)

// host is the etcd behind a journal: one that runs in this process, or a cluster
// elsewhere.
type host interface {
	// hasLeader reports whether a majority takes what is written.
	hasLeader() bool
	// leads reports whether this node does what one node of the cell is to do.
	leads() bool
	// atQuota says whose database has refused a write for want of room: this
	// node's own, or those of other nodes, which make room themselves.
	atQuota() (own bool, others []string)
	// putAnyway stores a few bytes even when a database is at its quota.
	putAnyway(ctx context.Context, key, value string) error
	// disarm takes back the alarm of want of room, after room was made.
	disarm(ctx context.Context) error
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
	etcd        *embed.Etcd
	quota       int64
	connections *connections
}

func (e *embedded) hasLeader() bool        { return e.etcd.Server.Leader() != 0 }
func (e *embedded) leads() bool            { return e.etcd.Server.Leader() == e.etcd.Server.MemberID() }
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

func (e *embedded) atQuota() (own bool, others []string) {
	for _, a := range e.etcd.Server.Alarms() {
		id := types.ID(a.GetMemberID())
		switch {
		case a.GetAlarm() != etcdserverpb.AlarmType_NOSPACE:
		case id == e.etcd.Server.MemberID():
			own = true
		default:
			name := id.String()
			if m := e.etcd.Server.Cluster().Member(id); m != nil {
				name = m.Name
			}
			others = append(others, name)
		}
	}
	return own, others
}

// disarm takes back this node's own alarm; it errs while another node has one.
func (e *embedded) disarm(ctx context.Context) error {
	if own, _ := e.atQuota(); own {
		if err := e.deactivate(ctx, uint64(e.etcd.Server.MemberID())); err != nil {
			return err
		}
	}
	if _, others := e.atQuota(); len(others) > 0 {
		return fmt.Errorf("the database of %s is at its quota", strings.Join(others, ", "))
	}
	return nil
}

// putAnyway takes the alarms back and puts past the check of those that ask: at
// the quota etcd then stores the value and raises its alarm again.
func (e *embedded) putAnyway(ctx context.Context, key, value string) error {
	for _, a := range e.etcd.Server.Alarms() {
		if a.GetAlarm() != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if err := e.deactivate(ctx, a.GetMemberID()); err != nil {
			return err
		}
	}
	_, err := e.etcd.Server.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if errors.Is(err, etcderrors.ErrNoSpace) {
		return nil
	}
	return err
}

func (e *embedded) deactivate(ctx context.Context, member uint64) error {
	_, err := e.etcd.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_DEACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE, MemberID: member,
	})
	return err
}
