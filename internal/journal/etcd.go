// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Keys; docs/formats/journal.md.
const (
	ourPrefix   = "bavard/1/"
	batchPrefix = ourPrefix + "batch/" // followed by the writer's name
	ownerPrefix = ourPrefix + "owner/" // followed by the writer's name
	idKey       = ourPrefix + "journal"
)

const (
	defaultMinFree  = 256 << 20
	defaultQuota    = 1 << 30
	defaultMaxSpool = 1 << 30
	// windowBytes bounds the history that etcd keeps: a Watch that starts further
	// behind stalls the writers.
	windowBytes = 64 << 20
	// waitingEvery is how often a start that waits says so.
	waitingEvery = 5 * time.Second
	// introducedWithin bounds how long a member that was let in may be unknown to one of the others.
	introducedWithin = 10 * time.Second
	// startTimeout bounds the wait for etcd to be ready.
	startTimeout = 30 * time.Second
)

// Options of the etcd engine. Name, Dir and SpoolDir are required.
type Options struct {
	// Name of this node and writer: 1 to 64 letters, digits, '.', '_' or '-'.
	Name string
	// Dir holds etcd's data, SpoolDir the local copy of the journal's end. Both
	// are made if need be, for the owner alone.
	Dir      string
	SpoolDir string
	// Log takes the journal's messages and etcd's own from warnings on; nil:
	// nothing is logged.
	Log *slog.Logger
	// MinFree is the room that must be left on the disks of Dir and SpoolDir, in
	// bytes; with less Submit answers ErrFull. 256 MiB if 0.
	MinFree uint64
	// Quota bounds etcd's database in bytes; 1 GiB if 0.
	Quota int64
	// MaxSpool bounds what is spooled and not released, in bytes; beyond it
	// Submit answers ErrFull. 1 GiB if 0.
	MaxSpool int64
	// Peers are the nodes of the cell; nil: this one alone, which listens nowhere. With
	// Remote nobody listens either, and of Peers only the members count.
	Peers *Peers
	// Durable is the revision that this node's view has on the disk: with a log that
	// cannot have reached it a node of several does not start (ErrBehind).
	Durable uint64

	// Remote is a cluster of the operator's own; nil runs etcd in this process.
	Remote *Remote

	// Again is called once when etcd has to be started anew and the disk, which was
	// full, has room again: the process is to stop and to start again. nil: etcd ends
	// the process at once when it cannot write.
	Again func()

	// Window bounds the history that is kept for nodes that are away or behind, in
	// bytes; 64 MiB if 0.
	Window int64

	// UnsafeNoFsync makes a power cut lose what was acknowledged. It is there for
	// the drill that must fail with it.
	UnsafeNoFsync bool

	// For tests.
	segment   int64 // segmentBytes if 0
	recent    int64 // recentBytes if 0
	aliveFor  int64 // aliveFor if 0
	free      func(dir string) (uint64, error)
	wrapStore func(store) store
	// rejoinStep is told each step of taking part anew, and cuts it short if it errs.
	rejoinStep func(step string) error

	// admitted are the members, with their addresses, of a cell that this node is new in.
	admitted map[string]string
}

// etcdJournal is a Journal on etcd.
type etcdJournal struct {
	opts      Options
	log       *slog.Logger
	lock      *dirLock
	host      host
	client    *clientv3.Client
	id        journalID
	appender  *appender
	latest    *latestReads
	window    *window
	space     space
	reserve   *reserve // for what is under way on a full disk
	last      *reserve // for a start on one
	holding   holding
	scrubbing chan struct{} // capacity 1: one at a time, and none after Close
	// readmitting is held while another node is let in anew.
	readmitting sync.Mutex
	again       sync.Once
	removed     atomic.Bool   // etcd has said that this member was
	gone        chan struct{} // closed when this node ends because of that
	roll        *roll         // who is in a cell whose journal is elsewhere; nil: etcd's members are its nodes
	fresh       bool          // the data directory has not been in that cell yet
	hollow      atomic.Uint64 // below it the node has only what its view has

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	close  sync.Once
	closed error

	mu     sync.Mutex
	tailer *etcdTailer
}

// OpenEtcd starts an etcd on opts.Dir, or finds the one elsewhere, and takes the
// writer's key over. It errs when another process uses the directory, when etcd
// finds its data damaged, when the journal belongs to another data directory, or
// when ctx ends before there is a leader.
func OpenEtcd(ctx context.Context, opts Options) (Journal, error) {
	j, err := newEtcdJournal(opts)
	if err != nil {
		return nil, err
	}
	if err := j.open(ctx); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func newEtcdJournal(opts Options) (*etcdJournal, error) {
	if err := checkWriter(opts.Name); err != nil {
		return nil, err
	}
	if opts.Dir == "" || opts.SpoolDir == "" {
		return nil, errors.New("journal: Dir and SpoolDir are required")
	}
	if opts.Peers != nil {
		if err := opts.Peers.check(opts.Name, opts.Remote != nil); err != nil {
			return nil, err
		}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.free == nil {
		opts.free = freeBytes
	}
	setDefault(&opts.MinFree, defaultMinFree)
	setDefault(&opts.Quota, defaultQuota)
	setDefault(&opts.MaxSpool, defaultMaxSpool)
	setDefault(&opts.Window, windowBytes)
	setDefault(&opts.segment, segmentBytes)
	setDefault(&opts.recent, recentBytes)
	setDefault(&opts.aliveFor, aliveFor)
	j := &etcdJournal{opts: opts, log: opts.Log, window: newWindow(opts.Window), scrubbing: make(chan struct{}, 1), gone: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j, nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func checkWriter(name string) error {
	ok := len(name) > 0 && len(name) <= maxWriter
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("journal: %q cannot name a node: use 1 to %d letters, digits, '.', '_' or '-'", name, maxWriter)
	}
	return nil
}

func (j *etcdJournal) open(ctx context.Context) error {
	for _, dir := range []string{j.opts.Dir, j.opts.SpoolDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	var err error
	if j.lock, err = lockDir(j.opts.Dir); err != nil {
		return err
	}
	if err := j.checkRemoved(); err != nil {
		return err
	}
	j.prepareDisk()
	begun, err := j.find(ctx)
	if err != nil {
		return err
	}
	if err := j.clearAlarm(ctx); err != nil {
		return err
	}
	if err := j.identify(ctx); err != nil {
		return err
	}
	if err := j.own(ctx); err != nil {
		return err
	}
	incarnation, err := randomIncarnation()
	if err != nil {
		return err
	}
	var s store = &etcdStore{client: j.client, key: batchPrefix + j.opts.Name}
	if j.opts.wrapStore != nil {
		s = j.opts.wrapStore(s)
	}
	j.appender = newAppender(s, j.opts.Name, incarnation, j.log)
	j.appender.noSpace = j.space.refused
	j.latest = newLatestReads(j.readLatest)
	if err := j.appender.open(ctx); err != nil {
		j.appender = nil
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	j.checkSpace()
	j.wg.Go(j.keepWindow)
	j.wg.Go(j.watchSpace)
	j.wg.Go(j.watchServer)
	if j.roll != nil {
		j.wg.Go(j.keepRoll)
	}
	return nil
}

// find connects to the etcd elsewhere, or starts one. finished is to be called when
// the start is done.
func (j *etcdJournal) find(ctx context.Context) (finished func() error, err error) {
	if j.opts.Remote != nil {
		c, err := connect(ctx, j.opts.Remote, j.log)
		if err != nil {
			return nil, err
		}
		j.host, j.client = c, c.client
		if j.opts.elsewhere() {
			return j.beginElsewhere()
		}
		return func() error { return nil }, nil
	}
	if j.opts.Peers != nil {
		finished, err = j.enter(ctx)
	} else {
		finished, err = j.beginAlone()
	}
	if err != nil {
		return nil, err
	}
	return finished, j.start(ctx, j.opts.Quota)
}

// beginAlone is beginDir, and errs with ErrRotten where etcd would end the process or, worse,
// go on with what is damaged.
func (j *etcdJournal) beginAlone() (finished func() error, err error) {
	finished, err = beginDir(j.opts.Dir, j.opts.etcdDir())
	if err != nil {
		return nil, err
	}
	l, err := readMemberLog(j.opts.etcdDir())
	if err == nil && l != nil {
		l.alone = true
		err = l.checkMember(j.opts.etcdDir(), 0)
	}
	if errors.Is(err, ErrRotten) {
		return nil, err
	}
	return finished, nil
}

// start runs etcd until it is ready for use.
func (j *etcdJournal) start(ctx context.Context, quota int64) error {
	connections := &connections{ids: map[types.ID]bool{}}
	beside := func(log zapcore.Core) zapcore.Core { return zapcore.NewTee(log, connections) }
	log := zapTo(j.log, j.holdUp).WithOptions(zap.WrapCore(beside), zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == removedMessage {
			j.removed.Store(true)
		}
		return nil
	}))
	cfg, err := etcdConfig(&j.opts, log, j.snapshots())
	if err != nil {
		return err
	}
	cfg.QuotaBackendBytes = quota
	etcd, err := embed.StartEtcd(cfg)
	if err != nil && j.opts.admitted != nil {
		// It has asked one of the others who is in the cell, which need not know of this member yet.
		within, cancel := context.WithTimeout(ctx, introducedWithin)
		err = persist(within, func() (err error) {
			etcd, err = embed.StartEtcd(cfg)
			return err
		})
		cancel()
	}
	if err != nil {
		return fmt.Errorf("journal: starting etcd on %s: %w", j.opts.Dir, err)
	}
	e := &embedded{etcd, quota, connections}
	j.host, j.client = e, e.client()
	if err := j.ready(ctx, etcd.Server); err != nil {
		return err
	}
	return j.advertise(ctx)
}

// ready waits until etcd takes part in a majority: alone for startTimeout, among
// others for as long as ctx allows, because they may start much later.
func (j *etcdJournal) ready(ctx context.Context, s *etcdserver.EtcdServer) error {
	if j.opts.Peers == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	begun := time.Now()
	tick := time.NewTicker(waitingEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ReadyNotify():
			return nil
		case <-s.StopNotify():
			return j.stopped()
		case <-ctx.Done():
			return fmt.Errorf("journal: etcd is not ready: %w", ctx.Err())
		case <-tick.C:
			waits := []any{"since", time.Since(begun).Round(time.Second)}
			if p := j.opts.Peers; p != nil {
				waits = append(waits, "others", p.others(j.opts.Name))
			}
			j.log.Warn("journal: waiting for a majority of the cell's nodes", waits...)
		}
	}
}

// identify reads the journal's id, and gives it one when it is new.
func (j *etcdJournal) identify(ctx context.Context) error {
	var fresh journalID
	if _, err := rand.Read(fresh[:]); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	resp, err := insist(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return j.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(idKey), "=", 0)).
			Then(clientv3.OpPut(idKey, string(fresh[:]))).
			Else(clientv3.OpGet(idKey)).Commit()
	})
	if err != nil {
		return fmt.Errorf("journal: reading its id: %w", err)
	}
	if resp.Succeeded {
		j.id = fresh
		return nil
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) != 1 || len(kvs[0].Value) != len(j.id) {
		return damagef(0, "the journal's id is not %d bytes", len(j.id))
	}
	copy(j.id[:], kvs[0].Value)
	return nil
}

func randomIncarnation() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("journal: %w", err)
		}
		if n := binary.LittleEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}

func (j *etcdJournal) Submit(ctx context.Context, cmd []byte, settled Settled) error {
	return j.appender.submit(ctx, cmd, settled)
}

// ID is Journal.ID.
func (j *etcdJournal) ID() []byte { return j.id[:] }

func (j *etcdJournal) Incarnation() uint64 { return j.appender.incarnation }

func (j *etcdJournal) Latest(ctx context.Context) (uint64, error) { return j.latest.get(ctx) }

// readLatest gives the revision of the newest batch, from etcd's index in memory.
func (j *etcdJournal) readLatest(ctx context.Context) (uint64, error) {
	resp, err := j.client.Get(ctx, batchPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	var latest uint64
	for _, kv := range resp.Kvs {
		latest = max(latest, uint64(kv.ModRevision))
	}
	return latest, nil
}

func (j *etcdJournal) Release(revision uint64) { j.window.release(revision) }

func (j *etcdJournal) Stats() Stats {
	var s Stats
	j.appender.fill(&s)
	j.window.fill(&s)
	s.HasLeader = j.host.hasLeader()
	s.DatabaseSize = j.host.size()
	s.Host = j.host.describe()
	s.Others = j.others()
	s.Full = j.space.why()
	if t := j.currentTailer(); t != nil {
		s.SpoolBytes = t.spool.bytes()
	}
	return s
}

// watchServer ends the journal when etcd stops by itself.
func (j *etcdJournal) watchServer() {
	select {
	case <-j.ctx.Done():
	case <-j.host.ended():
		if err := j.stopped(); errors.Is(err, ErrRemoved) {
			j.log.Warn("journal: this node was removed from the cell, and ends", "cause", err)
			close(j.gone)
		} else {
			j.log.Error("journal: this node can store nothing any more", "cause", err)
		}
		j.appender.cancel()
	}
}

// Close is Journal.Close.
func (j *etcdJournal) Close() error {
	j.close.Do(func() { j.closed = j.shut() })
	return j.closed
}

func (j *etcdJournal) shut() error {
	j.cancel()
	if j.appender != nil {
		j.appender.stop()
		j.latest.stop()
	}
	j.mu.Lock()
	t := j.tailer
	j.mu.Unlock()
	if t != nil {
		_ = t.Close() // never fails
	}
	j.wg.Wait()
	j.awaitScrub()
	errs := []error{j.leave()}
	if j.lock != nil {
		errs = append(errs, j.lock.release())
	}
	return errors.Join(errs...)
}

// leave gives etcd up.
func (j *etcdJournal) leave() error {
	if j.host == nil {
		return nil
	}
	err := j.client.Close()
	if j.holding.held.Load() {
		return nil // it would wait for what is held
	}
	j.host.close()
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("journal: %w", err)
}

// etcdDir is etcd's own directory: nothing else lies in it.
func (o *Options) etcdDir() string { return filepath.Join(o.Dir, "etcd") }
