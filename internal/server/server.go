// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"bavard/internal/access"
	"bavard/internal/account"
	"bavard/internal/admin"
	"bavard/internal/administration"
	"bavard/internal/archive"
	"bavard/internal/blocking"
	"bavard/internal/cell"
	"bavard/internal/cert"
	"bavard/internal/chat"
	"bavard/internal/config"
	"bavard/internal/dashboard"
	"bavard/internal/datadir"
	"bavard/internal/dispatch"
	"bavard/internal/handover"
	"bavard/internal/health"
	"bavard/internal/host"
	"bavard/internal/inbox"
	"bavard/internal/invite"
	"bavard/internal/jid"
	"bavard/internal/journal"
	"bavard/internal/lastactivity"
	"bavard/internal/listen"
	"bavard/internal/mesh"
	"bavard/internal/people"
	"bavard/internal/private"
	"bavard/internal/pubsub"
	"bavard/internal/room"
	"bavard/internal/roster"
	"bavard/internal/route"
	"bavard/internal/session"
	"bavard/internal/stanza"
	"bavard/internal/upload"
	"bavard/internal/vcard"

	"bavard/internal/command"
)

// Options of a server.
type Options struct {
	Config  config.Config // validated
	Logger  *slog.Logger
	Version string
	// Ready is called once: all listeners are open and the view is current.
	Ready func(Running)
	// UnsafeNoDedupe is for the drills' negative control alone: repeated
	// messages are stored twice.
	UnsafeNoDedupe bool
	// UnsafeEarlyUploads is for the same: a file is told 201 before it is safe.
	UnsafeEarlyUploads bool
	// UnsafeNoFsync is for the same: what has its tick is lost by a power cut.
	UnsafeNoFsync bool
	// UnsafeClock is added to the machine's clock where commands are stamped, for a drill.
	UnsafeClock time.Duration
	// UnsafeLevel is view.Options.Level, for a drill: that of an older version.
	UnsafeLevel uint32
	// noMajority, for tests, takes the place of the constants; 0 does not.
	noMajority time.Duration
	// window is journal.Options.Window, for tests.
	window int64
	// started lets tests look at a server that is ready.
	started func(*server)
	// meshed lets tests change the mesh.
	meshed func(*mesh.Options)
}

// Running is what a started server tells.
type Running struct {
	Addresses datadir.Addresses
	Admin     admin.Backend
	// CA is the file of the self-made authority, "" while another's certificate
	// is served.
	CA string
}

// stopWithin bounds a clean stop of the sessions and listeners.
const stopWithin = 4 * time.Second

// Run serves until ctx ends; then it stops cleanly and returns nil. It returns
// early, with an error, when the node cannot go on; whoever supervises it
// starts it again. ErrStartAgain asks for that at once.
func Run(ctx context.Context, o Options) error {
	if o.noMajority == 0 {
		o.noMajority = noMajority
		if o.Config.Cell.Several() {
			o.noMajority = cutOff
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begins := &starting{since: time.Now()}
	o.Logger = slog.New(heard{o.Logger.Handler(), begins})
	n, err := openNode(ctx, o.Config, o.Logger, nodeOptions{opened: begins.opened, level: o.UnsafeLevel, again: func() { cancel(ErrStartAgain) }, window: o.window, unsafeNoFsync: o.UnsafeNoFsync, unsafeClock: o.UnsafeClock})
	if err == nil {
		s := &server{node: n, o: o, started: time.Now(), quit: cancel, begins: begins, missing: make(chan string, departuresMost)}
		err = errors.Join(s.run(ctx), n.condemn(), n.close())
	}
	// A node of several that was held up for so long that the journal has no more what
	// comes next: its next start fetches a view. One whose view is damaged does the same, and
	// one that has read damage in its journal takes part anew.
	behind := o.Config.Cell.Several() && (errors.Is(err, journal.ErrCompacted) || errors.Is(err, journal.ErrRotten))
	damaged := n != nil && n.rotten.Load() && ctx.Err() == nil
	if behind || damaged || errors.Is(context.Cause(ctx), ErrStartAgain) {
		return errors.Join(ErrStartAgain, err)
	}
	return err
}

// ErrStartAgain: there is room on the disk again, but what was in the middle of
// writing when it was full cannot go on in this process; or the node has fallen so far
// behind the others, or its view or its journal is so damaged, that it needs another one's, which a start fetches.
var ErrStartAgain = errors.New("the server has to start anew")

// server is a node with sessions and listeners.
type server struct {
	*node
	o        Options
	started  time.Time
	begins   *starting
	certs    *cert.Store
	hub      *dispatch.Hub
	mesh     *mesh.Mesh // nil: there is no other node
	handover *handover.Server
	notifier *pubsub.Notifier
	rooms    *room.Hub
	pushes   *pushes // nil while they are off
	uploads  *upload.Service
	table    *route.Table
	ids      *archive.IDs
	sessions *session.Manager
	front    *listen.Server
	checks   []health.Check
	addrs    datadir.Addresses
	leaving  departures
	missing  chan string // accounts that have gone with a node
	// outvoted: nothing could be stored for noMajority. One node of several takes nobody then.
	outvoted   atomic.Bool
	comparison comparison
	doors      doors
	reach      reach
	pace       pace
	drains     drains
	access     *dashboard.Access // to the admin page; nil: there is none
	life       context.Context   // while it serves
	quit       context.CancelCauseFunc
}

func (s *server) run(ctx context.Context) error {
	if err := s.build(); err != nil {
		return err
	}
	defer s.notifier.Close()
	defer s.hub.Close()
	defer s.rooms.Close()
	defer s.pushes.close()
	defer s.uploads.Close()
	if err := s.settleComparison(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	s.life = ctx
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.cell.Stopped():
			return fmt.Errorf("the node cannot go on: %w", s.cell.Err())
		case <-s.removed():
			return s.hint(journal.ErrRemoved)
		}
	})
	group.Go(func() error { s.watch(ctx); return nil })
	group.Go(func() error { s.watchMajority(ctx); return nil })
	group.Go(func() error { s.watchReach(ctx); return nil })
	group.Go(func() error { s.watchPace(ctx); return nil })
	group.Go(func() error { s.trim(ctx); return nil })
	group.Go(func() error { s.noteSeen(ctx); return nil })
	group.Go(func() error { s.noteLost(ctx); return nil })
	if s.member == nil {
		s.raiseLevel(ctx)
	}
	if err := errors.Join(s.startMesh(ctx), s.startHandover(ctx), s.openDoors(ctx, group)); err != nil {
		return errors.Join(err, s.stop())
	}
	// Only now: an authority comes to the listeners.
	group.Go(func() error { s.certs.Watch(ctx); return nil })
	if err := s.dir.WriteAddresses(s.addrs); err != nil {
		return errors.Join(err, s.stop())
	}
	backend := s.backend(s.o.Version, s.base, s)
	registry := health.NewRegistry(s.o.Version, s.warnings)
	s.collect(registry)
	group.Go(func() error {
		return admin.Serve(ctx, s.dir.AdminSocket(), admin.Handler(backend, registry, s.log), s.log)
	})
	if err := s.metrics(ctx, group, registry); err != nil {
		return errors.Join(err, s.stop())
	}
	s.begins.ended()
	if s.o.started != nil {
		s.o.started(s)
	}
	if s.o.Ready != nil {
		s.o.Ready(Running{Addresses: s.addrs, Admin: backend, CA: s.certs.CAFile()})
	}
	<-ctx.Done()
	err := s.stop()
	return errors.Join(group.Wait(), err)
}

// openDoors lets people and operators in.
func (s *server) openDoors(ctx context.Context, group *errgroup.Group) error {
	s.awaitClock(ctx)
	return errors.Join(s.listen(ctx, group), s.startDashboard(ctx, group))
}

// build makes everything that needs no listener.
func (s *server) build() (err error) {
	defer func() {
		if err != nil {
			s.dismantle()
		}
	}()
	key, ok := s.cell.ArchiveKey()
	if !ok {
		return errors.New("the cell has no archive key") // cell.Open has made one
	}
	ids, err := archive.NewIDs(key)
	if err != nil {
		return err
	}
	s.ids = ids
	calls, err := s.makeCalls()
	if err != nil {
		return err
	}
	s.certs, err = cert.Open(cert.Options{
		Domain: s.cfg.Domain, Dir: s.dir.TLS(), Certificate: s.cfg.TLS.Certificate, Key: s.cfg.TLS.Key,
		ACME: s.acme(), Warnings: s.warnings, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.notifier, err = pubsub.NewNotifier(pubsub.NotifierOptions{
		Domain: s.cfg.Domain, View: s.cell, Logger: s.log,
		Deliver: func(from jid.JID, d route.Deliver) { s.hub.Deliver(from, d, nil) },
	})
	if err != nil {
		return err
	}
	if err := s.makeMesh(); err != nil {
		return err
	}
	s.hub = dispatch.New(dispatch.Options{
		Domain: s.cfg.Domain, View: s.cell, IDs: ids, Save: s.saveCursor, Left: s.left, Lost: s.lost, Logger: s.log,
		Watch: s.notifier.Watch, Elsewhere: s.elsewhere(), Node: s.name(),
		InRoom: func(room, device jid.JID) bool { return s.rooms.Inside(room, device) },
	})
	rooms := s.makeRooms(key, ids)
	pushes, err := s.makePushes(key)
	if err != nil {
		return err
	}
	uploads, err := s.makeUploads(key)
	if err != nil {
		return err
	}
	s.table, err = s.makeTable(rooms, uploads, pushes, calls)
	if err != nil {
		return err
	}
	s.sessions = session.NewManager(session.Options{
		Cell: s.cell, Hub: s.hub, Table: s.table, Logger: s.log, ResumeTime: s.cfg.Limits.ResumeTime.Std(),
		Refusal: refusal, Answered: s.notifier.Answered, Gone: s.rooms.Gone, Missed: s.pushes.missed(), NoDedupe: s.o.UnsafeNoDedupe,
		Pace:        session.Pace{Stanzas: s.cfg.Limits.SessionStanzas, Bytes: s.cfg.Limits.SessionKiB << 10},
		AccountPace: session.Pace{Stanzas: s.cfg.Limits.AccountStanzas, Bytes: s.cfg.Limits.AccountKiB << 10},
		Crowd:       s.crowd,
	})
	s.node.hub.Store(s.hub)
	s.node.notifier.Store(s.notifier)
	s.node.rooms.Store(s.rooms)
	if s.pushes != nil {
		s.node.pusher.Store(s.pushes.pusher)
	}
	s.node.uploads.Store(s.uploads)
	return nil
}

// dismantle ends what build had made when it failed.
func (s *server) dismantle() {
	if s.uploads != nil {
		s.uploads.Close()
	}
	s.pushes.close()
	if s.hub != nil {
		s.hub.Close()
	}
	if s.notifier != nil {
		s.notifier.Close()
	}
}

// makeTable makes the table of handlers, in the order in which service discovery lists
// them: of the features that were prepared, and of all others.
func (s *server) makeTable(rooms, uploads, pushes, calls route.Feature) (*route.Table, error) {
	return route.NewTable(s.cfg.Domain,
		rooms,
		uploads,
		host.Feature(s.o.Version, time.Now),
		host.Contacts(host.Contact(s.cfg.Contact)),
		chat.Feature(chat.Options{NoDedupe: s.o.UnsafeNoDedupe}),
		roster.Feature(s.cell, s.hub),
		archive.Feature(s.cell, s.ids),
		inbox.Feature(inbox.Options{View: s.cell, IDs: s.ids, Rooms: s.rooms, Do: refusing{s.cell}.Do, Now: time.Now}),
		people.Feature(people.Options{Domain: "people." + s.cfg.Domain, View: s.cell, Now: time.Now}),
		blocking.Feature(s.cell),
		pubsub.Feature(s.cell, s.ids, rand.Text),
		vcard.Feature(s.cell, rand.Text),
		private.Feature(s.cell),
		access.Feature(s.cell, s.accounts, s.devices, time.Now),
		lastactivity.Feature(s.cell, s.hub, time.Now),
		pushes,
		calls,
		administration.Feature(administration.Options{
			Admins: s.cfg.Admins, Accounts: s.accounts, List: s.cell.Accounts, Online: s.hub.Online, Reports: s.cell.Reports,
			Count: func() int { return int(s.cell.Stats().Accounts) },
		}),
		invite.Feature(s.cfg.Domain, inviter{s.accounts, s.hub}, s.inviteLink),
	)
}

// devices gives the sessions of an account.
func (s *server) devices(account string) []access.Session {
	var all []access.Session
	for _, d := range s.hub.Connected(account) {
		all = append(all, access.Session(d))
	}
	return all
}

// noteSeen writes down when clients were here: one command in a second, at most.
func (s *server) noteSeen(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.accounts.NoteSeen(ctx); err != nil && ctx.Err() == nil {
				s.log.Debug("it was not noted when devices were here", "err", err)
			}
		}
	}
}

// acme is nil unless it is configured.
func (s *server) acme() *cert.ACME {
	a := s.cfg.TLS.ACME
	if a.Directory == "" {
		return nil
	}
	return &cert.ACME{
		Directory: a.Directory, Email: a.Email, Challenge: a.Challenge, Roots: a.Roots,
		Names: s.cfg.CertificateNames(), UserAgent: "bavard/" + s.o.Version,
	}
}

// refusal tells what a client is answered when a command could not be
// appended; nil when what became of it is unknown.
func refusal(err error) *stanza.Error {
	switch {
	case errors.Is(err, journal.ErrFull):
		return stanza.Err(stanza.Wait, stanza.ResourceConstraint, "this server has no room left; nothing new is stored")
	case errors.Is(err, journal.ErrTooLarge):
		return stanza.Err(stanza.Modify, stanza.PolicyViolation, "the stanza is too large")
	}
	return nil
}

// refusing is the cell for what waits for its commands to be decided: what the
// journal does not take is refused like anything else, with its reason.
type refusing struct{ *cell.Cell }

// Do is that of the cell.
func (r refusing) Do(ctx context.Context, cmd *command.Command) (command.Outcome, error) {
	out, err := r.Cell.Do(ctx, cmd)
	if refused := refusal(err); refused != nil {
		return command.Outcome{Verdict: command.Refused, Err: refused}, nil
	}
	return out, err
}

// saveCursor moves an account's offline cursor; a lost move means that
// messages are handed over once more.
func (s *server) saveCursor(account string, p command.Position, wait bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	cmd := &command.Command{Request: &command.Command_OfflineCursor{
		OfflineCursor: &command.OfflineCursor{Account: account, Position: p.AppendTo(nil)},
	}}
	var err error
	if wait {
		_, err = s.cell.Do(ctx, cmd)
	} else {
		err = s.cell.Submit(ctx, cmd, func(command.Outcome, error) {})
	}
	if err != nil {
		s.log.Debug("an offline cursor was not saved", "err", err)
	}
}

// base of the app's links.
func (s *server) base() string { return s.cfg.LinkBase(s.addrs.HTTPS, s.addrs.HTTP) }

func (s *server) report(st *admin.Status) {
	st.Running, st.PID, st.Started = true, os.Getpid(), s.started
	st.Sessions = s.sessions.Stats().Sessions
	s.reportNodes(st)
}

// stop ends listeners and sessions; the node is closed by Run.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if s.front != nil {
		s.front.Stop()
	}
	// Before sessions end, whose last commands then do not wait for it.
	if _, err := s.moveLeadership(ctx); err != nil {
		s.log.Warn("leadership was not handed over before the end", "err", err)
	}
	if s.handover != nil { // first: what other nodes send is not waited for
		if err := s.handover.Close(); err != nil {
			s.log.Warn("handing over", "err", err)
		}
	}
	s.uploads.Close()
	if s.link != nil {
		s.link.Close()
	}
	if s.mesh != nil { // first: the others know the sessions for a while, in which they come back
		s.mesh.Close()
	}
	err := s.sessions.Shutdown(ctx)
	if s.front != nil {
		err = errors.Join(err, s.front.Shutdown(ctx))
	}
	if err != nil {
		s.log.Warn("not everything stopped in time", "err", err)
	}
	return nil
}

// inviter adapts the account service to package invite.
type inviter struct {
	accounts *account.Service
	hub      *dispatch.Hub
}

func (i inviter) Invite(ctx context.Context, by string, ttl time.Duration) (string, time.Time, error) {
	return i.accounts.NewInvite(ctx, account.Invitation{Inviter: by, Uses: 1, TTL: ttl})
}

func (i inviter) ChangeOwnPassword(ctx context.Context, by jid.JID, password string) error {
	client := ""
	for _, d := range i.hub.Connected(by.Bare().String()) {
		if d.JID == by {
			client = d.Client
		}
	}
	return i.accounts.ChangeOwnPassword(ctx, by, client, password)
}
