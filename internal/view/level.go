// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"bavard/internal/command"
)

// firstLevel is that of a cell that has none yet.
const firstLevel = 1

// levelRecord is the cell's feature level, since when.
type levelRecord struct {
	position command.Position
	level    uint32
}

func (l *levelRecord) append(dst []byte) []byte {
	return binary.AppendUvarint(l.position.AppendTo(append(dst, recordVersion)), uint64(l.level))
}

func parseLevel(b []byte) (levelRecord, error) {
	r := read(b)
	l := levelRecord{position: r.position()}
	n := r.uvarint()
	if l.level = uint32(n); uint64(l.level) != n {
		r.fail("a feature level of %d", n)
	}
	return l, r.end()
}

// CellLevel is the feature level of the cell: what all its nodes know.
func (v *View) CellLevel() uint32 { return v.level.Load().level }

// loadLevel reads the cell's level, and errs with ErrLevel when this version does not know it.
func (v *View) loadLevel() error {
	l := levelRecord{level: firstLevel}
	b, err := v.get(v.db, []byte{tableLevel})
	if err == nil {
		l, err = parseLevel(b)
	}
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return v.damaged(err)
	}
	if l.level > v.opts.Level {
		return fmt.Errorf("%w: it has feature level %d, this version knows up to %d; install a newer version",
			ErrLevel, l.level, v.opts.Level)
	}
	v.level.Store(&l)
	return nil
}

// levelRaise raises the cell's level. What comes after it in the same batch is applied
// accordingly.
func (t *txn) levelRaise(c *command.LevelRaise) (command.Outcome, error) {
	switch {
	case c.Level <= t.level.level:
		return duplicate(t.level.position), nil
	case c.Level > t.a.v.opts.Level: // nor may it be refused here: others accept it
		return command.Outcome{}, fmt.Errorf("%w: the cell is raised to feature level %d: upgrade this node", ErrUnknownCommand, c.Level)
	}
	t.level = levelRecord{position: t.pos, level: c.Level}
	t.put([]byte{tableLevel}, t.level.append(nil))
	return accept(), nil
}

// publishLevel is called when the batch is in the database.
func (t *txn) publishLevel() {
	v := t.a.v
	if v.level.Load().level == t.level.level {
		return
	}
	l := t.level
	v.level.Store(&l)
	v.log.Info("the cell's feature level was raised", "level", l.level)
	// So that a start of an older version finds it before it takes part.
	if _, err := v.db.AsyncFlush(); err != nil {
		v.log.Warn("view: flush the feature level", "err", err)
	}
}
