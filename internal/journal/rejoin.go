// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Rejoining is what a node says that takes part anew: it has forgotten what it had
// acknowledged and how it had voted, so it must not come back as the member it was.
type Rejoining struct {
	// Owner is the name of its data directory, Address the "host:port" at which the
	// others reach its etcd.
	Owner, Address string
	// Behind: its disk has lost what was synced. What else is on it is not to be trusted.
	Behind bool
}

const (
	// rejoiningFile is there from when a node begins to take part anew until it has a vote.
	rejoiningFile   = "rejoining"
	rejoiningFormat = 1
	// promoteEvery is how long a learner waits before it asks again for its vote.
	promoteEvery = 500 * time.Millisecond
)

// marker is the content of rejoiningFile; docs/formats/cell.md.
type marker struct {
	Format int  `json:"format"`
	Behind bool `json:"behind"`
	// Admitted: etcd's directory is that of the new member, not of the old one.
	Admitted bool `json:"admitted"`
	// Aside: what the old member had was put out of the way.
	Aside bool `json:"aside"`
}

// readMarker gives nil when there is none.
func readMarker(dir string) (*marker, error) {
	path := filepath.Join(dir, rejoiningFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, rotten(path, err)
	}
	if m.Format != rejoiningFormat {
		return nil, fmt.Errorf("journal: %s cannot be read by this version: with this node stopped, delete the directory %s: the node takes part anew at its next start", path, dir)
	}
	return &m, nil
}

func (m *marker) write(dir string) error {
	m.Format = rejoiningFormat
	text, err := json.Marshal(m)
	if err == nil {
		err = replaceFile(filepath.Join(dir, rejoiningFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("journal: noting that this node takes part anew: %w", err)
	}
	return nil
}

// enter prepares the start of one member of a cell, as beginMember does; one that has
// lost its data, or the end of its log, takes part anew if it can ask for it.
func (j *etcdJournal) enter(ctx context.Context) (finished func() error, err error) {
	p, dir, etcdDir := j.opts.Peers, j.opts.Dir, j.opts.etcdDir()
	m, err := readMarker(dir)
	switch {
	case errors.Is(err, ErrRotten) && p.Rejoin != nil:
		j.log.Error("journal: what this node had noted of taking part anew is damaged: it begins again", "cause", err)
		m = &marker{Behind: true} // it may have been
	case err != nil:
		return nil, err
	case m == nil:
		finished, err = beginMember(dir, etcdDir, p.Begin, j.opts.Durable)
		if err == nil || p.Rejoin == nil || !errors.Is(err, ErrWiped) && !errors.Is(err, ErrBehind) && !errors.Is(err, ErrRotten) {
			return finished, err
		}
		if sole, _ := Sole(dir); sole { // there is nobody to ask
			return nil, err
		}
		level := slog.LevelWarn
		if errors.Is(err, ErrRotten) && !errors.Is(err, ErrBehind) {
			level = slog.LevelError // the disk is to be looked at
		}
		j.log.Log(ctx, level, "journal: this node is new, or has lost or forgotten what it had acknowledged: it takes part anew, as a learner at first", "cause", err)
		m = &marker{Behind: errors.Is(err, ErrBehind)}
	case m.Admitted:
		// The view may have more than the log as long as that catches up.
		l, err := readMemberLog(etcdDir)
		if err == nil && l != nil && l.last > 0 {
			err = cmp.Or(l.checkMember(etcdDir, 0), checkOwner(dir))
			if err == nil {
				return func() error { return j.vote(ctx) }, nil
			}
		}
		j.log.Warn("journal: taking part anew was cut short and begins again", "cause", err)
		m.Behind = m.Behind || errors.Is(err, ErrBehind)
	}
	if p.Rejoin == nil {
		return nil, fmt.Errorf("%w in %s, and nobody can be asked to let it take part anew", ErrWiped, etcdDir)
	}
	return j.rejoin(ctx, m)
}

// rejoin has the cell take this node for a new member and gives up the one that it was.
// Only then, because what it has may be all that there is: if all have lost the end of
// their logs, none is let in. Cut short at any point it is begun again: a member whose
// answer was lost has never run.
func (j *etcdJournal) rejoin(ctx context.Context, m *marker) (finished func() error, err error) {
	dir := j.opts.Dir
	m.Admitted = false
	if err := m.write(dir); err != nil {
		return nil, err
	}
	ours, err := j.name()
	if err != nil {
		return nil, err
	}
	if err := j.rejoinStep("asking"); err != nil {
		return nil, err
	}
	j.opts.admitted, err = j.opts.Peers.Rejoin(ctx, Rejoining{Owner: ours, Address: j.opts.Peers.Members[j.opts.Name], Behind: m.Behind})
	if err != nil {
		return nil, fmt.Errorf("journal: taking part anew: %w", err)
	}
	if err := j.rejoinStep("answered"); err != nil {
		return nil, err
	}
	if err := j.giveUp(m); err != nil {
		return nil, err
	}
	m.Admitted, m.Aside = true, true
	if err := m.write(dir); err != nil {
		return nil, err
	}
	if err := j.rejoinStep("admitted"); err != nil {
		return nil, err
	}
	return func() error { return j.vote(ctx) }, nil
}

// giveUp removes what the member had that this node was. etcd's directory is kept beside the
// journal's, the last one that was given up, for who wants to look at it.
func (j *etcdJournal) giveUp(m *marker) error {
	if !m.Aside {
		if err := j.setAside(); err != nil {
			return fmt.Errorf("journal: setting aside what this node had: %w", err)
		}
	}
	gone := []string{j.opts.etcdDir(), filepath.Join(j.opts.Dir, startingFile)}
	if m.Behind {
		gone = append(gone, j.opts.SpoolDir)
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("journal: removing what this node has forgotten the end of: %w", err)
		}
	}
	if err := os.MkdirAll(j.opts.SpoolDir, 0o700); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return syncDir(j.opts.Dir)
}

// setAside moves etcd's directory out of the way, where there is room for another one beside what
// is kept free. What was set aside before goes.
func (j *etcdJournal) setAside() error {
	dir := j.opts.etcdDir()
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	kept := j.opts.Dir + damagedExt
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	// What it takes the place of has given its room back. The new one grows as large, at most.
	free, err := j.opts.free(j.opts.Dir)
	if err != nil {
		return err
	}
	size, err := DirSize(dir)
	if err != nil || free < size+2*j.opts.MinFree {
		j.log.Warn("journal: there is no room to keep what this node had", "bytes", size, "free", free, "error", err)
		return nil
	}
	if err := os.Rename(dir, kept); err != nil {
		return err
	}
	j.log.Warn("journal: what this node had is out of the way, to be looked at", "at", kept)
	return errors.Join(syncDir(filepath.Dir(kept)), syncDir(j.opts.Dir))
}

// damagedExt is what the name of the journal's directory has behind it where etcd's files are kept
// that were given up.
const damagedExt = ".damaged"

// condemn has the next start take part anew, because what this node has read of its journal is not
// what was written. It may be called by a node that runs, once or more.
func (j *etcdJournal) condemn(cause error) error {
	if j.opts.Peers == nil || j.opts.Peers.Rejoin == nil {
		return nil
	}
	if members, _ := j.sizes(); members < 2 { // it would ask for ever, and have nothing
		return nil
	}
	j.log.Error("journal: what this node has of it is damaged: the next start takes part anew", "cause", cause)
	return (&marker{}).write(j.opts.Dir)
}

// rejoinStep is where tests cut it short.
func (j *etcdJournal) rejoinStep(step string) error {
	if j.opts.rejoinStep == nil {
		return nil
	}
	return j.opts.rejoinStep(step)
}

// name is that of the data directory, made if need be.
func (j *etcdJournal) name() (string, error) {
	path := filepath.Join(j.opts.Dir, ownerFile)
	ours, err := readOwner(path)
	if errors.Is(err, ErrRotten) && j.opts.Peers != nil { // it takes part anew, under another one
		ours, err = "", nil
	}
	if err != nil || ours != "" {
		return ours, err
	}
	ours = strings.ToLower(rand.Text())
	return ours, writeOwner(path, ours)
}

// vote makes a voter of a learner, once its log has all that was committed before, and
// ends what rejoin has begun. As long as it is a learner the cell can miss nobody else
// of three, so it does not wait for the view.
func (j *etcdJournal) vote(ctx context.Context) error {
	e, ok := j.host.(*embedded)
	if !ok {
		return errors.New("journal: only a member of a cell takes part anew")
	}
	told := time.Now()
	if err := j.rejoinStep("learner"); err != nil {
		return err
	}
	for {
		err := j.tryVote(ctx, e)
		if err == nil {
			break
		}
		if now := time.Now(); now.Sub(told) > waitingEvery {
			told = now
			j.log.Warn("journal: this node is a learner and waits for its vote", "cause", err)
		}
		if e.ending() {
			return fmt.Errorf("journal: etcd has stopped while this node was a learner: %w", err)
		}
		if !sleep(ctx, promoteEvery) {
			return fmt.Errorf("journal: this node is a learner and has got no vote: %w", err)
		}
	}
	if err := j.rejoinStep("promoted"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(j.opts.Dir, rejoiningFile)); err != nil {
		return fmt.Errorf("journal: noting that this node takes part: %w", err)
	}
	j.log.Info("journal: this node takes part again, with a vote")
	return syncDir(j.opts.Dir)
}

// tryVote errs unless this node has a vote, and in its log all that had been committed
// when it was called.
func (j *etcdJournal) tryVote(ctx context.Context, e *embedded) error {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if _, err := j.readLatest(ctx); err != nil {
		return err
	}
	if !e.etcd.Server.IsLearner() {
		return nil
	}
	_, err := j.client.MemberPromote(ctx, uint64(e.etcd.Server.MemberID()))
	return err
}

func (e *embedded) ending() bool {
	select {
	case <-e.etcd.Server.StoppingNotify():
		return true
	default:
		return false
	}
}
