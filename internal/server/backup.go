// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bavard/internal/admin"
	"bavard/internal/backup"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/view"
)

// What of the data directory a backup has, besides the view: what is soft, or made
// anew, is not in it. etcd's own files are not: the view is all that they say, and a
// restored server begins a new journal.
const (
	backupView   = "view"
	backupConfig = "bavard.toml"
)

// checkpoint sets the state apart that a backup is to be made of.
func (n *node) checkpoint(context.Context) (admin.Checkpoint, error) {
	if !n.copying.TryLock() {
		return admin.Checkpoint{}, errors.New("a backup is being made already")
	}
	defer n.copying.Unlock()
	dir := n.dir.Checkpoint()
	if err := os.RemoveAll(dir); err != nil {
		return admin.Checkpoint{}, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return admin.Checkpoint{}, err
	}
	made := time.Now()
	p, err := n.cell.Checkpoint(filepath.Join(dir, backupView))
	if err != nil {
		return admin.Checkpoint{}, errors.Join(err, os.RemoveAll(dir))
	}
	c := admin.Checkpoint{Dir: dir, Made: made, Domain: n.cfg.Domain, Epoch: n.epoch, Position: p.String(), Accounts: n.cell.Stats().Accounts}
	if n.member != nil {
		c.Node = n.member.Node
	}
	return c, nil
}

// dropCheckpoint removes what checkpoint made.
func (n *node) dropCheckpoint() error {
	n.copying.Lock()
	defer n.copying.Unlock()
	return os.RemoveAll(n.dir.Checkpoint())
}

// BackupSources are what a backup of the data directory at data consists of, beside
// the checkpoint of its view. The view comes first: a file that it knows of is there
// after it, unless its time is over; one that it does not know is removed when a
// restored server starts.
func BackupSources(c *admin.Checkpoint, data, configFile string) []backup.Source {
	sources := []backup.Source{
		{Path: filepath.Join(c.Dir, backupView), As: backupView},
		{Path: filepath.Join(data, "keys"), As: "keys"},
		{Path: filepath.Join(data, "tls"), As: "tls", Moving: true},
		// Before the others: with its record a file goes from here to them.
		{Path: filepath.Join(data, "uploads", "unrecorded"), As: "uploads/unrecorded", Moving: true},
		{Path: filepath.Join(data, "uploads"), As: "uploads", Moving: true, Skip: func(path string) bool { return path == "arriving" || path == "unrecorded" }},
	}
	if configFile != "" {
		sources = append(sources, backup.Source{Path: configFile, As: backupConfig})
	}
	return sources
}

// Restore makes the data directory of cfg, in which there must be nothing yet, that
// of a server with the state m. Its epoch has to be one that no other server which
// came of that state has. With logOut no device comes in without the password.
func Restore(ctx context.Context, cfg *config.Config, store *backup.Store, m *backup.Manifest, epoch uint16, logOut bool, report func(backup.Progress)) error {
	dir, err := datadir.OpenEmpty(cfg.Data)
	if err != nil {
		return err
	}
	err = func() error {
		if err := store.Extract(ctx, m, dir.Path(), report); err != nil {
			return err
		}
		o := view.Options{Domain: m.Domain, Epoch: epoch}
		p, err := view.DurableIn(dir.View(), o)
		if err != nil {
			return err
		}
		if p.String() != m.Position {
			return fmt.Errorf("%w: its view is at %s, and was to be at %s", backup.ErrDamaged, p, m.Position)
		}
		if logOut {
			if err := view.LogOut(dir.View(), o); err != nil {
				return err
			}
		}
		return dir.Restored(epoch)
	}()
	return errors.Join(err, dir.Close())
}
