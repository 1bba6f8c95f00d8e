// SPDX-License-Identifier: Apache-2.0

package cell

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"bavard/internal/command"
	"bavard/internal/journal"
	"bavard/internal/view"
)

// start opens the view and finds where the journal goes on behind it. A view that is
// so old that the journal has dropped what comes next is replaced by another node's.
func (c *Cell) start(ctx context.Context) (journal.Tailer, error) {
	if err := c.openView(); err != nil {
		return nil, err
	}
	if c.o.Fetch != nil {
		// So that the journal here knows what the cell has dropped meanwhile.
		if _, err := c.o.Journal.Latest(ctx); err != nil {
			return nil, fmt.Errorf("cell: ask the journal how far it is: %w", err)
		}
	}
	if c.o.Fetch != nil && c.o.View.Epoch > 0 && c.Applied() == (command.Position{}) {
		// The journal has only what came after the backup.
		c.o.Logger.Info("this node has no view yet, and the cell was restored from a backup: another node's view is fetched")
		return c.replace(ctx)
	}
	tail, err := c.o.Journal.Tail(c.ctx, c.revision(c.Applied()))
	if errors.Is(err, journal.ErrCompacted) && c.o.Fetch != nil {
		c.o.Logger.Warn("the journal has no more what the view lacks: another node's view is fetched", "view", c.Applied().String())
		return c.replace(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cell: tail the journal: %w", err)
	}
	return tail, nil
}

func (c *Cell) openView() (err error) {
	if c.View, err = view.Open(c.o.ViewDir, c.o.View); err != nil {
		return err
	}
	return c.belongs()
}

// ErrOtherJournal: the view is of another cell than the journal.
var ErrOtherJournal = errors.New("cell: the view belongs to another journal")

// revision of a position in the journal that the cell has now: none of an earlier
// epoch, of which a restored view is, has one.
func (c *Cell) revision(p command.Position) uint64 {
	if p.Epoch < c.o.View.Epoch {
		return 0
	}
	return p.Revision
}

// belongs errs when the view has been folded from another journal, or, restored, is
// to go on with the journal of before, which would repeat what it has.
func (c *Cell) belongs() error {
	known, epoch, err := c.Journal()
	same := bytes.Equal(known, c.o.Journal.ID())
	switch restored := epoch < c.o.View.Epoch; {
	case err != nil || known == nil || same != restored:
		return err
	case restored:
		return fmt.Errorf("%w: it was restored from a backup, and journal %x is the one of before: it needs an empty one; with an etcd elsewhere, another prefix",
			ErrOtherJournal, known)
	}
	return fmt.Errorf("%w: it was folded from journal %x, this is %x: the data directory's parts, or the directory and the etcd that it names, do not belong together",
		ErrOtherJournal, known, c.o.Journal.ID())
}

// begin catches up and, when the cell is new, gives it its archive key.
func (c *Cell) begin(ctx context.Context) error {
	if err := c.catchUp(ctx); err != nil {
		return fmt.Errorf("cell: catch up with the journal: %w", err)
	}
	if _, ok := c.ArchiveKey(); !ok {
		if err := c.initialise(ctx); err != nil {
			return err
		}
	}
	known, epoch, err := c.Journal()
	if err != nil || known != nil && epoch == c.o.View.Epoch {
		return errors.Join(err, c.belongs())
	}
	// A full disk must not keep a server from starting: the next one does it.
	_, err = c.Do(ctx, &command.Command{Request: &command.Command_CellJournal{CellJournal: &command.CellJournal{Id: c.o.Journal.ID()}}})
	if err != nil && !errors.Is(err, journal.ErrFull) {
		return fmt.Errorf("cell: bind to the journal: %w", err)
	}
	return nil
}

func (c *Cell) initialise(ctx context.Context) error {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("cell: make the archive key: %w", err)
	}
	_, err := c.Do(ctx, &command.Command{Request: &command.Command_CellInit{
		CellInit: &command.CellInit{ArchiveKey: key, Domain: c.o.View.Domain},
	}})
	if err != nil {
		return fmt.Errorf("cell: initialise: %w", err)
	}
	return nil
}

// replace fetches a view. What the journal gets meanwhile is kept from before it is
// asked for, so that nothing is missing in between.
func (c *Cell) replace(ctx context.Context) (journal.Tailer, error) {
	tail, after, err := c.o.Journal.TailNewest(ctx)
	if err != nil {
		return nil, fmt.Errorf("cell: tail the journal: %w", err)
	}
	err = c.exchange(ctx, after)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cell: fetch a view: %w", err), tail.Close())
	}
	c.o.Logger.Info("the view has been replaced by another node's", "view", c.Applied().String())
	return tail, nil
}

func (c *Cell) exchange(ctx context.Context, after uint64) error {
	err := c.View.Close()
	c.View = nil
	if err != nil {
		return err
	}
	if err := c.o.Fetch(ctx, after); err != nil {
		return err
	}
	if err := c.openView(); err != nil {
		return err
	}
	durable, err := c.Durable()
	if err != nil {
		return err
	}
	if c.revision(durable) < after {
		return fmt.Errorf("it is at %v, before revision %d", durable, after)
	}
	c.o.Journal.Release(c.revision(durable))
	return nil
}

// CheckpointAfter writes the view, as it is at a revision of at least after, into a
// directory that does not exist, on the same file system.
func (c *Cell) CheckpointAfter(ctx context.Context, dir string, after uint64) error {
	if err := c.wait(ctx, after); err != nil {
		return err
	}
	at, err := c.View.Checkpoint(dir)
	if err == nil && c.revision(at) < after {
		err = fmt.Errorf("cell: the checkpoint is at %v, before revision %d", at, after)
	}
	return err
}
