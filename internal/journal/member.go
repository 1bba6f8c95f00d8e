// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// memberLog is what an etcd that does not run has in its log.
type memberLog struct {
	last uint64 // index of the newest entry
	term uint64 // of the newest entry, or of a vote
	// snapshot is the index of the snapshot from which etcd begins.
	snapshot uint64
	// bootstrap: it holds at most the entries that each member makes for itself when
	// a cell begins, and it has never voted.
	bootstrap bool
	alone     bool // there is no other copy of it
}

// readMemberLog reads and checks the log in etcdDir as etcd does when it starts, and cuts off what
// was never finished of it; a nil *memberLog: there is none.
func readMemberLog(etcdDir string) (l *memberLog, err error) {
	dir := filepath.Join(etcdDir, "member", "wal")
	if !wal.Exist(dir) {
		return nil, nil
	}
	err = guarded(func() error {
		l, err = loadMemberLog(dir, filepath.Join(etcdDir, "member", "snap"))
		return err
	})
	if err != nil {
		return nil, rotten("etcd's log in "+dir, err)
	}
	return l, nil
}

func loadMemberLog(dir, snapDir string) (*memberLog, error) {
	end, err := checkLogFiles(dir)
	if err != nil {
		return nil, err
	}
	// What else is there, as what etcd has kept of a log that it has repaired, is no concern of ours.
	silent := zap.NewNop()
	known, err := wal.ValidSnapshotEntries(silent, dir)
	if err != nil {
		return nil, err
	}
	// A snapshot that is damaged is passed over, as long as the log goes back to the one before.
	l := &memberLog{}
	from := &walpb.Snapshot{}
	newest, err := snap.New(silent, snapDir).LoadNewestAvailable(known)
	switch {
	case err == nil:
		l.snapshot = newest.GetMetadata().GetIndex()
		from.Index, from.Term = proto.Uint64(l.snapshot), proto.Uint64(newest.GetMetadata().GetTerm())
	case !errors.Is(err, snap.ErrNoSnapshot) && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	w, err := wal.OpenForRead(silent, dir, from)
	if err != nil {
		return nil, err
	}
	// It closes what it has read, and w cannot be closed when it was opened to be read.
	_, state, entries, err := w.ReadAll()
	if errors.Is(err, wal.ErrSliceOutOfRange) {
		return nil, withoutStart(err, end, snapDir)
	}
	if err != nil {
		return nil, err
	}
	l.last, l.term = from.GetIndex(), max(from.GetTerm(), state.GetTerm())
	l.bootstrap = from.GetIndex() == 0 && state.GetVote() == 0
	for _, e := range entries {
		l.last, l.term = e.GetIndex(), max(l.term, e.GetTerm())
		l.bootstrap = l.bootstrap && e.GetType() == raftpb.EntryConfChange
	}
	l.bootstrap = l.bootstrap && l.term <= 1
	return l, nil
}

// withoutStart tells why a log has no snapshot from which its entries go on, of which the last has the
// index end. etcd keeps the newest snapshots, of which it writes in the log: where the database has
// more than the log, what was written of them is lost with the log's end, and those before were
// no longer needed.
func withoutStart(cause error, end uint64, snapDir string) error {
	d, err := readMemberDatabase(filepath.Join(snapDir, "db"), true)
	if err == nil && end < d.applied {
		return fmt.Errorf("%w: it ends at entry %d, the database has entry %d: %w", ErrBehind, end, d.applied, cause)
	}
	return cause
}

// checkMember errs with ErrBehind when the log of this node, before it is
// started, lacks what the node is known to have had: what is in its database, or
// up to the revision durable, which its view has. Were it to vote, a majority
// could be found that has forgotten what was acknowledged.
func (l *memberLog) checkMember(etcdDir string, durable uint64) error {
	d, err := l.readDatabase(filepath.Join(etcdDir, "member", "snap"))
	if err != nil {
		return err
	}
	if l.last < d.applied {
		return fmt.Errorf("%w: it ends at entry %d, the database has entry %d", ErrBehind, l.last, d.applied)
	}
	// An entry makes one revision at most.
	if reach := d.revision + (l.last - d.applied); reach < durable {
		return fmt.Errorf("%w: it cannot reach beyond revision %d, the view has revision %d", ErrBehind, reach, durable)
	}
	return nil
}

// readDatabase reads the database that belongs to the log: etcd's own, or, when that is older
// than the log's beginning, one that the leader has sent, which etcd then puts in its place.
func (l *memberLog) readDatabase(snapDir string) (memberDatabase, error) {
	d, err := readMemberDatabase(filepath.Join(snapDir, "db"), l.alone)
	if err != nil || d.applied >= l.snapshot && d.exists {
		return d, err
	}
	sent, err := readMemberDatabase(filepath.Join(snapDir, fmt.Sprintf("%016x.snap.db", l.snapshot)), l.alone)
	if err == nil && !sent.exists {
		err = fmt.Errorf("%w: etcd's database has entry %d at most, and its log begins at entry %d", ErrRotten, d.applied, l.snapshot)
	}
	return sent, err
}

// beginMember prepares the directory of one member of a cell for its start. A
// first start that was cut short is begun anew if this node has told nobody
// anything yet; otherwise etcd goes on with what it has, if that is all of what it
// had: see checkMember.
func beginMember(dir, etcdDir string, begin bool, durable uint64) (finished func() error, err error) {
	path := filepath.Join(dir, startingFile)
	_, startingErr := os.Lstat(path)
	l, err := readMemberLog(etcdDir)
	started := startingErr == nil
	switch {
	case startingErr != nil && !errors.Is(startingErr, fs.ErrNotExist):
		return nil, fmt.Errorf("journal: %w", startingErr)
	case err != nil:
		return nil, err
	case !started && l != nil:
		return func() error { return nil }, cmp.Or(l.checkMember(etcdDir, durable), checkOwner(dir))
	case !started && !begin:
		return nil, fmt.Errorf("%w in %s: if it does not begin with the cell, it has to take part anew", ErrWiped, etcdDir)
	case started && (l == nil || l.bootstrap):
		if err := os.RemoveAll(etcdDir); err != nil {
			return nil, fmt.Errorf("journal: clearing a first start that was cut short: %w", err)
		}
	case started:
		if err := l.checkMember(etcdDir, durable); err != nil {
			return nil, err
		}
	}
	return markStarting(dir)
}
