// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

const (
	// Heartbeat 50 ms and election 500 ms: about 1 s to a new leader.
	tickMs     = 50
	electionMs = 500
	// The defaults keep hundreds of MiB of large batches in memory, and in the log
	// that a start reads.
	snapshotCount  = 200
	catchUpEntries = 50
	// defragMiB is what a defragmentation at start must free to be worth it: etcd's
	// file grows to its peak, and what compaction frees is used again.
	defragMiB = 256
	// walBytes is the size of a file of etcd's log. Two are made in advance, and a
	// few are kept: at etcd's own 64 MB a fresh directory takes 128 MB and a used
	// one 400.
	walBytes = 16 << 20
	// walFiles is how many are kept at least. All that is kept is read at each start, five times over, by us and
	// by etcd; of a snapshot and its predecessors, 200 entries apart, these have the records.
	walFiles = 2
	// warnApply is from when etcd calls a request slow.
	warnApply = time.Second
)

// The size of log files is a setting of etcd's package, the same for all that run
// in this process.
func init() { wal.SegmentSizeBytes = walBytes }

// etcdConfig is for one member, whose only client is in this process. Alone it
// listens on nothing.
func etcdConfig(opts *Options, log *zap.Logger, snapshots uint64) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name = opts.Name
	cfg.Dir = opts.etcdDir()
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	cfg.LogLevel = "warn"

	self := url.URL{Scheme: "unix", Host: opts.Name}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{self}
	cfg.InitialCluster = opts.Name + "=" + self.String()
	cfg.InitialClusterToken = "bavard"
	if opts.Peers != nil {
		opts.Peers.configure(cfg, opts.Name, opts.admitted)
	}

	cfg.TickMs, cfg.ElectionMs = tickMs, electionMs
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshots, catchUpEntries
	cfg.MaxWalFiles = walFiles
	cfg.UnsafeNoFsync = opts.UnsafeNoFsync
	cfg.AutoCompactionRetention = "0" // keepWindow compacts
	cfg.BootstrapDefragThresholdMegabytes = defragMiB
	cfg.EnableGRPCGateway = false
	cfg.WarningApplyDuration = warnApply

	// The periodic checks would stop the cell's writes. The one at start asks each
	// peer, which does not answer while it starts itself: after a power cut all
	// nodes would wait for each other, 6 s for each of their peers. Our own
	// checksums find what it is there for.
	cfg.CorruptCheckTime = 0
	gate, ok := cfg.ServerFeatureGate.(featuregate.MutableFeatureGate)
	if !ok {
		return nil, errors.New("journal: etcd's feature gates cannot be set")
	}
	gates := "InitialCorruptCheck=true,CompactHashCheck=false"
	if opts.Peers != nil {
		gates = "InitialCorruptCheck=false,CompactHashCheck=false"
	}
	if err := gate.Set(gates); err != nil {
		return nil, fmt.Errorf("journal: etcd's feature gates: %w", err)
	}
	return cfg, nil
}
