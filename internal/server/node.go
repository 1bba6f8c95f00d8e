// SPDX-License-Identifier: Apache-2.0

// Package server puts a node together from its parts, from the data directory
// to the listeners, and takes it apart again in the right order.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/account"
	"bavard/internal/admin"
	"bavard/internal/cell"
	"bavard/internal/charter"
	"bavard/internal/config"
	"bavard/internal/dashboard"
	"bavard/internal/datadir"
	"bavard/internal/dispatch"
	"bavard/internal/handover"
	"bavard/internal/health"
	"bavard/internal/journal"
	"bavard/internal/mesh"
	"bavard/internal/pubsub"
	"bavard/internal/push"
	"bavard/internal/room"
	"bavard/internal/state"
	"bavard/internal/upload"
	"bavard/internal/view"
)

// openWithin bounds the start of journal and view, replay included.
const openWithin = 2 * time.Minute

// node is what survives of a server: data directory, journal, view. It has no
// listener and no session.
type node struct {
	cfg      config.Config
	log      *slog.Logger
	dir      *datadir.Dir
	member   *charter.Member // nil: there is no other node
	identity *charter.Identity
	link     *handover.Link // nil: the same
	admitter handover.Admitter
	leader   journal.Leader // nil: there is no other node
	// membership says which of the nodes that are named are in the cell; nil until the journal is open, and alone.
	membership atomic.Pointer[journal.Membership]
	cell       *cell.Cell
	accounts   *account.Service
	warnings   *health.Warnings
	hub        atomic.Pointer[dispatch.Hub] // nil until the server has one
	notifier   atomic.Pointer[pubsub.Notifier]
	rooms      atomic.Pointer[room.Hub]
	pusher     atomic.Pointer[push.Pusher]
	uploads    atomic.Pointer[upload.Service]
	recorder   atomic.Pointer[dashboard.Recorder] // nil: nobody asks for this node's figures
	epoch      uint16                             // of the positions that the journal gives
	copying    sync.Mutex                         // guards the checkpoint
	o          nodeOptions
	rotten     atomic.Bool               // the view has failed a checksum, and another node's can take its place
	clock      atomic.Pointer[mesh.Mesh] // what the others' clocks are known by; nil: there is none
	// rottenJournal: the journal's database has failed a check, and this node can take part anew.
	rottenJournal atomic.Bool
	// divergent: most nodes have the same view, which is not this one's.
	divergent atomic.Bool
}

// nodeOptions are those of a node's journal: journal.Options.
type nodeOptions struct {
	again         func()
	window        int64
	unsafeNoFsync bool
	level         uint32 // view.Options.Level
	unsafeClock   time.Duration
	opened        func(*datadir.Dir) // is told of the data directory before anything is done with it; may be nil
}

// aloneName is what a node calls itself when there is no other.
const aloneName = "a"

// name is this node's among those of the cell.
func (n *node) name() string {
	if n.member != nil {
		return n.member.Node
	}
	return aloneName
}

func openNode(ctx context.Context, cfg config.Config, log *slog.Logger, o nodeOptions) (*node, error) {
	dir, err := datadir.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	if o.opened != nil {
		o.opened(dir)
	}
	n := &node{cfg: cfg, log: log, dir: dir, warnings: health.NewWarnings(time.Now), o: o}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return n, nil
}

func (n *node) open(ctx context.Context) error {
	var err error
	if n.member, err = memberOf(&n.cfg, n.dir.Path()); err != nil {
		return err
	}
	if n.member == nil { // else it waits for the others
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openWithin)
		defer cancel()
	}
	if err := n.makeLink(); err != nil {
		return err
	}
	if n.epoch, err = n.dir.Epoch(); err != nil {
		return err
	}
	secret, err := loginSecret(n.dir.Keys())
	if err != nil {
		return err
	}
	remote, err := remoteEtcd(&n.cfg.Journal)
	if err != nil {
		return err
	}
	options := journal.Options{
		Name: n.name(), Dir: n.dir.Journal(), SpoolDir: n.dir.Spool(), Log: n.log, Remote: remote,
		MinFree: uint64(n.cfg.Journal.MinFreeMiB) << 20, Again: n.o.again, Window: n.o.window, UnsafeNoFsync: n.o.unsafeNoFsync,
	}
	if err := n.amongOthers(&options); err != nil {
		return err
	}
	j, err := journal.OpenEtcd(ctx, options)
	if err != nil {
		return n.hint(fmt.Errorf("open the journal: %w", err))
	}
	if n.member != nil {
		if err := n.member.Begun(); err != nil {
			return errors.Join(err, j.Close())
		}
		n.admitter, _ = j.(journal.Readmitter) // as OpenEtcd's journals are
		n.leader, _ = j.(journal.Leader)
		if m, ok := j.(journal.Membership); ok {
			n.membership.Store(&m)
		}
	}
	n.cell, err = cell.Open(ctx, n.cellOptions(j, remote == nil && n.member == nil))
	if err != nil {
		return n.replaceable(n.hint(fmt.Errorf("open the view: %w", err)))
	}
	// One of a backup that was not made to its end keeps what nobody needs.
	if err := n.dropCheckpoint(); err != nil {
		n.log.Warn("remove an old checkpoint", "err", err)
	}
	n.accounts = account.New(account.Config{Store: refusing{n.cell}, Domain: n.cfg.Domain, Secret: secret, Open: open(n.cfg.Registration)})
	return nil
}

func (n *node) cellOptions(j journal.Journal, alone bool) cell.Options {
	return cell.Options{
		Journal: j, Alone: alone, ViewDir: n.dir.View(), Logger: n.log, View: n.viewOptions(), Fetch: n.fetcher(), Now: n.now,
		OnJournalDamage: n.journalDamaged,
		Events: func(events []state.Event) {
			// Rooms first: whoever is removed from one with their account is seen as
			// removed, not as somebody whose session has ended.
			if n := n.rooms.Load(); n != nil {
				n.Offer(events)
			}
			if hub := n.hub.Load(); hub != nil {
				hub.Offer(events)
			}
			if n := n.notifier.Load(); n != nil {
				n.Offer(events)
			}
			if n := n.uploads.Load(); n != nil {
				n.Offer(events)
			}
		},
		Own: func(events []state.Event) { // one node notifies of what has come
			if n := n.pusher.Load(); n != nil {
				n.Offer(events)
			}
		},
	}
}

func (n *node) viewOptions() view.Options {
	return view.Options{Domain: n.cfg.Domain, Epoch: n.epoch, Level: n.o.level, Logger: n.log, OnDamage: n.viewDamaged}
}

// fetcher is nil when there is nobody to fetch a view from.
func (n *node) fetcher() func(context.Context, uint64) error {
	if n.link == nil {
		return nil
	}
	return n.fetchView
}

// remoteEtcd is nil when etcd is to run in this process.
func remoteEtcd(c *config.Journal) (*journal.Remote, error) {
	if len(c.Endpoints) == 0 {
		return nil, nil
	}
	r := &journal.Remote{Endpoints: c.Endpoints, CA: c.CA, Certificate: c.Certificate, Key: c.Key, Username: c.Username, Prefix: c.Prefix}
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("the password for etcd: %w", err)
		}
		r.Password, _, _ = strings.Cut(string(text), "\n")
	}
	return r, nil
}

// open gives the limits of open registration, nil while it is closed.
func open(r config.Registration) *account.Limits {
	if !r.Open {
		return nil
	}
	return &account.Limits{AddressHourly: r.AddressHourly, AddressDaily: r.AddressDaily, Hourly: r.Hourly, Daily: r.Daily}
}

// close stops the cell and gives the data directory back.
func (n *node) close() error {
	return errors.Join(n.cell.Close(), n.dir.Close())
}

// loginSecret is what makes answers about unknown users stable over restarts.
func loginSecret(dir string) ([]byte, error) {
	const size = 32
	name := filepath.Join(dir, "login.key")
	b, err := os.ReadFile(name)
	switch {
	case err == nil && len(b) == size:
		return b, nil
	case err == nil:
		return nil, fmt.Errorf("%s has %d bytes, want %d: restore it or delete it", name, len(b), size)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the login key: %w", err)
	}
	b = make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make the login key: %w", err)
	}
	if err := datadir.WriteFile(name, b, 0o600); err != nil {
		return nil, fmt.Errorf("write the login key: %w", err)
	}
	return b, nil
}

// backend answers the admin's commands; s is nil while no server runs.
func (n *node) backend(version string, base func() string, s *server) admin.Backend {
	o := admin.Options{
		Domain: n.cfg.Domain, Version: version, Accounts: n.accounts, Manage: n.accounts, Account: n.cell.Account, List: n.cell.Accounts, Reports: n.cell.Reports, Invites: n.cell.Invites,
		Base: base, Warnings: n.warnings, Checkpoint: n.checkpoint, DropCheckpoint: n.dropCheckpoint,
		Report: func(_ context.Context, st *admin.Status) error {
			j, v := n.cell.JournalStats(), n.cell.Stats()
			st.Accounts = int(v.Accounts)
			var err error
			if _, st.Reports, err = n.cell.Reports(0, 0); err != nil {
				return err
			}
			st.Journal = admin.JournalStatus{
				HasLeader: j.HasLeader, Latest: j.Latest, Released: j.Released, Queued: j.Queued, Commands: j.Commands,
				Retries: j.Retries, WindowBytes: j.WindowBytes, DatabaseBytes: j.DatabaseSize,
				Endpoints: j.Host.Endpoints, Version: j.Host.Version,
			}
			if n.member != nil {
				st.Journal.Node = n.member.Node
			}
			for _, o := range j.Others {
				st.Journal.Others = append(st.Journal.Others, admin.OtherNode{Node: o.Name, Address: o.Address, Reached: o.Reached, Leads: o.Leads, Learner: o.Learner, Absent: o.Absent})
			}
			st.Level = n.cell.CellLevel()
			st.View = admin.ViewStatus{Applied: n.cell.Applied().String(), DiskBytes: int64(v.DiskBytes)}
			scrubs := n.cell.ScrubStats()
			st.Scrub = admin.ScrubStatus{Passes: scrubs.Passes, Found: scrubs.Found, Bytes: scrubs.Bytes, Last: scrubs.Last}
			if s != nil {
				s.report(st)
				s.reportComparison(&st.View)
			}
			return nil
		},
	}
	if s != nil {
		o.RemoveNode, o.AddNode = s.removeNode, n.addNode
		o.Checks, o.Drain, o.Undrain, o.PageLink = s.checks, s.drain, s.undrain, s.pageLink
	}
	return admin.New(o)
}

// Offline opens the data of a server that is not running, for the commands that
// work on it. The error is a *datadir.InUseError when a server runs. The caller
// closes what it got.
func Offline(ctx context.Context, cfg config.Config, version string, log *slog.Logger) (admin.Backend, func() error, error) {
	if m, err := charter.Read(cfg.Data); err == nil {
		dir, err := datadir.Open(cfg.Data)
		if err == nil {
			err = fmt.Errorf("%s is that of node %s of a cell: this works while that runs, or on another node that does", cfg.Data, m.Node)
			err = errors.Join(err, dir.Close())
		}
		return nil, nil, err
	}
	n, err := openNode(ctx, cfg, log, nodeOptions{})
	if err != nil {
		return nil, nil, err
	}
	base := func() string { return cfg.LinkBase(cfg.Listen.HTTPS, cfg.Listen.HTTP) }
	return n.backend(version, base, nil), n.close, nil
}
