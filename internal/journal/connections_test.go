// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"maps"
	"slices"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// TestConnections: by what etcd logs. A peer that is put away while it is connected, as all are when a
// snapshot comes, and made anew, counts once.
func TestConnections(t *testing.T) {
	c := &connections{ids: map[types.ID]bool{}}
	log := zap.New(zapcore.NewTee(zapcore.NewNopCore(), c)).With(zap.String("local-member-id", "f"))
	for _, step := range []struct {
		what string
		do   func()
		want []types.ID
	}{
		{"at first", func() {}, nil},
		{"one comes", func() { log.Info(peerConnected, zap.String("peer-id", "a1")) }, []types.ID{0xa1}},
		{"another one comes", func() { log.Info(peerConnected, zap.String("peer-id", "b2")) }, []types.ID{0xa1, 0xb2}},
		{"it is lost", func() { log.Warn(peerLost, zap.String("peer-id", "b2")) }, []types.ID{0xa1}},
		{"the first is put away", func() { log.Info(peerStopped, zap.String("remote-peer-id", "a1")) }, nil},
		{"it is made anew", func() { log.Info(peerConnected, zap.String("peer-id", "a1")) }, []types.ID{0xa1}},
		{"something else", func() { log.Info("stopping remote peer", zap.String("remote-peer-id", "a1")) }, []types.ID{0xa1}},
		{"it is lost, too", func() { log.Warn(peerLost, zap.String("peer-id", "a1")) }, nil},
		{"nobody is named", func() { log.Info(peerConnected) }, nil},
	} {
		step.do()
		if got := slices.Sorted(maps.Keys(c.current())); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
}
