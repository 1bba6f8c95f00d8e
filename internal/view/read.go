// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
	"bavard/internal/state"
)

// accountID reads the id of an account; state.ErrNotFound when there is none.
func (v *View) accountID(r pebble.Reader, jid string) (_ uint64, err error) {
	b, closer, err := r.Get(accountKey(jid))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, state.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	rd := read(b)
	return rd.uint64(), rd.err
}

// Account reads an account; state.ErrNotFound when there is none.
func (v *View) Account(jid string) (state.Account, error) {
	if err := v.enter(); err != nil {
		return state.Account{}, err
	}
	defer v.leave()
	b, err := v.get(v.db, accountKey(jid))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Account{}, state.ErrNotFound
	}
	if err != nil {
		return state.Account{}, v.damaged(err)
	}
	rec, err := parseAccount(b)
	if err != nil {
		return state.Account{}, v.damaged(err)
	}
	a, err := rec.account(jid)
	return a, v.damaged(err)
}

// Accounts lists accounts with a JID above after, sorted by JID; at most limit,
// and at most 1,000.
func (v *View) Accounts(after string, limit int) (_ []state.Account, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	lower := accountKey(after)
	if after != "" {
		lower = append(lower, 0)
	}
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: []byte{tableAccount + 1}})
	if err != nil {
		return nil, v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	var out []state.Account
	for ok := it.First(); ok && len(out) < min(limit, 1000); ok = it.Next() {
		rec, err := parseAccount(it.Value())
		if err != nil {
			return nil, v.damaged(err)
		}
		a, err := rec.account(string(it.Key()[1:]))
		if err != nil {
			return nil, v.damaged(err)
		}
		out = append(out, a)
	}
	return out, v.damaged(it.Error())
}

// Roster returns the items and waiting requests of an account, sorted by JID,
// and the position of the roster's last change. A request whose sender is no
// item has Listed false.
func (v *View) Roster(account string) (_ []state.RosterItem, version command.Position, err error) {
	if err := v.enter(); err != nil {
		return nil, version, err
	}
	defer v.leave()
	snap := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, v.damaged(snap.Close())) }()
	id, err := v.accountID(snap, account)
	if err != nil {
		return nil, version, v.readError(err)
	}
	switch b, err := v.get(snap, idKey(tableRosterOf, id)); {
	case err == nil:
		of, err := parseRosterOf(b)
		if err != nil {
			return nil, version, v.damaged(err)
		}
		version = of.version
	case !errors.Is(err, pebble.ErrNotFound):
		return nil, version, v.damaged(err)
	}
	prefix := idKey(tableRoster, id)
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, version, v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	var items []state.RosterItem
	for ok := it.First(); ok; ok = it.Next() {
		c, err := parseContact(it.Value())
		if err != nil {
			return nil, version, v.damaged(err)
		}
		items = append(items, c.rosterItem(account, string(it.Key()[len(prefix):])))
	}
	return items, version, v.damaged(it.Error())
}

// RosterItem reads what an account has of a peer; state.ErrNotFound when that
// is nothing.
func (v *View) RosterItem(account, peer string) (_ state.RosterItem, err error) {
	if err := v.enter(); err != nil {
		return state.RosterItem{}, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return state.RosterItem{}, v.readError(err)
	}
	b, err := v.get(v.db, rosterKey(id, peer))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.RosterItem{}, state.ErrNotFound
	}
	if err != nil {
		return state.RosterItem{}, v.damaged(err)
	}
	c, err := parseContact(b)
	if err != nil {
		return state.RosterItem{}, v.damaged(err)
	}
	return c.rosterItem(account, peer), nil
}

// OfflineCursor returns an account's offline cursor, zero when it never moved.
func (v *View) OfflineCursor(account string) (command.Position, error) {
	if err := v.enter(); err != nil {
		return command.Position{}, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return command.Position{}, v.readError(err)
	}
	b, err := v.get(v.db, idKey(tableCursor, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return command.Position{}, nil
	}
	if err != nil {
		return command.Position{}, v.damaged(err)
	}
	p, err := parsePosition(b)
	return p, v.damaged(err)
}

// StreamH returns the truthful lower bound of what was handled of an inbound
// stream: all stanzas up to it were accepted, or lost nothing by being counted.
// It stops before the first refused one, whose error may have been lost; where
// that is not known, there is none.
func (v *View) StreamH(id []byte) (uint32, bool) {
	if len(id) != streamSize || v.enter() != nil {
		return 0, false
	}
	defer v.leave()
	newest := v.published.Load().bucket
	for i := range uint32(liveBuckets) {
		if i > newest {
			break
		}
		b, err := v.get(v.db, appendStreamKey(nil, newest-i, id))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err == nil {
			var st streamState
			if st, err = parseStreamRecord(b); err == nil {
				return st.bound, !st.boundless
			}
		}
		_ = v.damaged(err)
		return 0, false
	}
	return 0, false
}

// AccountID gives what tells an account from others that had its name, by its
// bare JID; 0 when there is none.
func (v *View) AccountID(jid string) (uint64, error) {
	if err := v.enter(); err != nil {
		return 0, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, jid)
	if errors.Is(err, state.ErrNotFound) {
		return 0, nil
	}
	return id, v.readError(err)
}

// Invite reads an invite by the SHA-256 of its token; state.ErrNotFound when
// there is none. One that has no uses left or has expired is returned as it is.
func (v *View) Invite(tokenHash []byte) (state.Invite, error) {
	if err := v.enter(); err != nil {
		return state.Invite{}, err
	}
	defer v.leave()
	b, err := v.get(v.db, inviteKey(tokenHash))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Invite{}, state.ErrNotFound
	}
	if err != nil {
		return state.Invite{}, v.damaged(err)
	}
	return v.invite(b)
}

// invite reads the record of an invite; state.ErrNotFound when its room or who
// made it has gone.
func (v *View) invite(b []byte) (state.Invite, error) {
	i, err := parseInvite(b)
	if err == nil && i.Room != "" {
		r, err := v.readRoom(v.db, i.Room)
		if err == nil && r.id != i.RoomID {
			err = state.ErrNotFound
		}
		if err != nil {
			return state.Invite{}, v.readError(err)
		}
		i.RoomName = r.config.GetName()
	}
	if err != nil || i.InviterID == 0 {
		return i, v.damaged(err)
	}
	b, err = v.get(v.db, accountKey(i.Inviter))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return state.Invite{}, state.ErrNotFound // it has gone with who made it
	case err != nil:
		return state.Invite{}, v.damaged(err)
	}
	inviter, err := parseAccount(b)
	if err == nil && inviter.id != i.InviterID {
		return state.Invite{}, state.ErrNotFound
	}
	return i, v.damaged(err)
}

// invitesMost bounds the invites that are looked at for one page.
const invitesMost = 1000

// Invites gives invites, sorted by the SHA-256 of their tokens, from the one
// of from on (nil: the first), which may be the beginning of a hash. It looks at
// most at most of them, and at 1,000; next is where to go on, nil after the last.
// Those whose room or inviter has gone are left out; those that have expired or
// are used up are there until they are removed.
func (v *View) Invites(from []byte, most int) (page []state.ListedInvite, next []byte, err error) {
	if err := v.enter(); err != nil {
		return nil, nil, err
	}
	defer v.leave()
	most = max(1, min(most, invitesMost))
	looked := 0
	err = v.rangeOver([]byte{tableInvite}, inviteKey(from), func(key, value []byte) (bool, error) {
		hash := bytes.Clone(key[1:])
		if looked == most {
			next = hash
			return false, nil
		}
		looked++
		i, err := v.invite(value)
		switch {
		case err == nil:
			page = append(page, state.ListedInvite{Hash: hash, Invite: i})
		case errors.Is(err, state.ErrNotFound):
			err = nil
		}
		return true, err
	})
	return page, next, err
}

// ArchiveKey returns the cell's key for archive ids; false until CellInit is
// applied.
func (v *View) ArchiveKey() ([]byte, bool) {
	if c := v.cell.Load(); c != nil {
		return bytes.Clone(c.archiveKey), true
	}
	return nil, false
}

// Domain returns the domain that the cell serves, "" until CellInit is applied.
func (v *View) Domain() string {
	if c := v.cell.Load(); c != nil {
		return c.domain
	}
	return ""
}

// Stats of a view.
type Stats struct {
	Applied  command.Position
	Durable  command.Position
	Time     time.Time // of the last command applied
	Accounts int64
	Records  uint64 // of the archive: messages and index entries
	// Since Open.
	Batches, Commands, Duplicates, Refused uint64
	Flushes, Damages                       uint64
	CacheHits, CacheMisses                 int64
	DiskBytes                              uint64
	MemTableBytes                          uint64
	ReadAmplification                      int
	CompactionDebt                         uint64 // bytes
	Stuck                                  string // why nothing can be written now; "" when it can
}

// Stats for health and metrics; zero when the view is closed.
func (v *View) Stats() Stats {
	durable, _ := v.Durable() // damage is told to the hook
	if v.enter() != nil {
		return Stats{}
	}
	defer v.leave()
	p, m, c := v.published.Load(), v.db.Metrics(), &v.counters
	stuck := ""
	if s := v.stuck.Load(); s != nil {
		stuck = *s
	}
	return Stats{
		Stuck:   stuck,
		Applied: p.applied, Durable: durable, Time: time.UnixMilli(p.time).UTC(), Accounts: c.accounts.Load(), Records: p.records,
		Batches: c.batches.Load(), Commands: c.commands.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Flushes: c.flushes.Load(), Damages: c.damages.Load(),
		CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses,
		DiskBytes: m.DiskSpaceUsage(), MemTableBytes: m.MemTable.Size,
		ReadAmplification: m.ReadAmp(), CompactionDebt: m.Compact.EstimatedDebt,
	}
}
