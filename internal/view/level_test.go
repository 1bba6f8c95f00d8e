// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"testing"

	"bavard/internal/command"
)

func raise(level uint32) *command.Command {
	return &command.Command{Level: level, Request: &command.Command_LevelRaise{LevelRaise: &command.LevelRaise{Level: level}}}
}

// TestLevel: a cell's feature level rises, and never falls; a version that does not know it
// does not open the view, nor applies the command.
func TestLevel(t *testing.T) {
	c := newCell(t)
	if l := c.v.CellLevel(); l != 1 {
		t.Fatalf("a new cell has level %d", l)
	}
	c.accept(raise(2))
	at := c.v.Applied()
	for _, o := range c.apply(raise(2), raise(1)).Outcomes {
		if o.Verdict != command.Duplicate || o.Original != at {
			t.Errorf("raised once more: %+v", o)
		}
	}
	c.reopen()
	if l := c.v.CellLevel(); l != 2 {
		t.Errorf("after a start the level is %d", l)
	}
	c.scrub()
	if err := errors.Join(c.v.Flush(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	older := Options{FS: c.fs, Domain: domain, Level: 1}
	if _, err := Open("/view", older); !errors.Is(err, ErrLevel) {
		t.Errorf("an older version opens it: %v", err)
	}
	if _, err := DurableIn("/view", older); !errors.Is(err, ErrLevel) {
		t.Errorf("an older version would start: %v", err)
	}

	old := newCell(t)
	old.v.opts.Level = 1
	for name, cmd := range map[string]*command.Command{"as it is appended": raise(2), "without its level": {Request: raise(2).Request}} {
		if _, err := old.v.Apply(Batch{Revision: old.v.Applied().Revision + 1, Commands: encode(t, cmd)}); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("an older version applies it %s: %v", name, err)
		}
	}
	if l := old.v.CellLevel(); l != 1 {
		t.Errorf("its level is %d", l)
	}
}
