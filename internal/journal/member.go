// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// memberLog is what an etcd that does not run has in its log.
type memberLog struct {
	last uint64 // index of the newest entry
	term uint64 // of the newest entry, or of a vote
	// bootstrap: it holds at most the entries that each member makes for itself when
	// a cell begins, and it has never voted.
	bootstrap bool
}

// readMemberLog reads the log in etcdDir; a nil *memberLog: there is none.
func readMemberLog(etcdDir string) (*memberLog, error) {
	dir := filepath.Join(etcdDir, "member", "wal")
	if !wal.Exist(dir) {
		return nil, nil
	}
	// What else is there, as what etcd has kept of a log that it has repaired, is no concern of ours.
	silent := zap.NewNop()
	snaps, err := wal.ValidSnapshotEntries(silent, dir)
	if err != nil {
		return nil, fmt.Errorf("journal: reading etcd's log in %s: %w", dir, err)
	}
	snap := &walpb.Snapshot{}
	if n := len(snaps); n > 0 {
		snap = snaps[n-1]
	}
	w, err := wal.OpenForRead(silent, dir, snap)
	if err != nil {
		return nil, fmt.Errorf("journal: reading etcd's log in %s: %w", dir, err)
	}
	// It closes what it has read, and w cannot be closed when it was opened to be read.
	_, state, entries, err := w.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("journal: reading etcd's log in %s: %w", dir, err)
	}
	l := &memberLog{last: snap.GetIndex(), term: max(snap.GetTerm(), state.GetTerm())}
	l.bootstrap = snap.GetIndex() == 0 && state.GetVote() == 0
	for _, e := range entries {
		l.last, l.term = e.GetIndex(), max(l.term, e.GetTerm())
		l.bootstrap = l.bootstrap && e.GetType() == raftpb.EntryConfChange
	}
	l.bootstrap = l.bootstrap && l.term <= 1
	return l, nil
}

// memberDatabase is what an etcd that does not run has in its database.
type memberDatabase struct {
	applied  uint64 // index of the newest entry in it
	revision uint64 // its newest revision
}

// readMemberDatabase reads etcd's database file; zero when there is none.
func readMemberDatabase(etcdDir string) (d memberDatabase, err error) {
	path := filepath.Join(etcdDir, "member", "snap", "db")
	// bbolt trusts its pages: what is damaged makes it panic, or read behind the end of
	// the file that it has mapped.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damagef(0, "etcd's database %s: %v", path, r)
		}
	}()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return memberDatabase{}, nil
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: dialTimeout})
	if err != nil {
		return memberDatabase{}, fmt.Errorf("journal: reading etcd's database %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(schema.Meta.Name()); b != nil {
			if v := b.Get(schema.MetaConsistentIndexKeyName); len(v) == 8 {
				d.applied = binary.BigEndian.Uint64(v)
			}
		}
		if b := tx.Bucket(schema.Key.Name()); b != nil {
			if k, _ := b.Cursor().Last(); len(k) >= 8 {
				d.revision = binary.BigEndian.Uint64(k)
			}
		}
		return nil
	})
	return d, err
}

// checkMember errs with ErrBehind when the log of this node, before it is
// started, lacks what the node is known to have had: what is in its database, or
// up to the revision durable, which its view has. Were it to vote, a majority
// could be found that has forgotten what was acknowledged.
func (l *memberLog) checkMember(etcdDir string, durable uint64) error {
	d, err := readMemberDatabase(etcdDir)
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
		return func() error { return nil }, l.checkMember(etcdDir, durable)
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
