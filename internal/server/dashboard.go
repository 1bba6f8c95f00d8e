// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/dashboard"
	"bavard/internal/handover"
	"bavard/internal/health"
	"bavard/internal/journal"
)

const (
	// pageConnections bounds those to the admin page: what is more waits.
	pageConnections = 64
	// pageStall ends a request that takes longer to come, or its answer to go.
	pageStall = 10 * time.Second
)

// gauge takes samples of the node; it is one goroutine's.
type gauge struct {
	s        *server
	at       time.Time // of the last one; at first when the node was started
	commands uint64
	times    journal.Times
}

func (g *gauge) sample() dashboard.Sample {
	s, now := g.s, time.Now()
	j, hub, front := s.cell.JournalStats(), s.hub.Stats(), s.front.Stats()
	times := j.Times.Since(g.times)
	is := dashboard.Sample{
		At: now.UnixMilli(), Sessions: int(hub.Resources), Lag: s.cell.Lag(), Commands: s.cell.InFlight(), Deliveries: hub.Queued,
		Logins: front.Waiting + front.WaitingBehind, AppendP50: milliseconds(times.Quantile(0.5)), AppendP99: milliseconds(times.Quantile(0.99)),
		Stored: float64(j.Commands-g.commands) / now.Sub(g.at).Seconds(),
	}
	is.DiskFree, _ = s.dir.Free() // 0: watch says what is wrong
	g.at, g.commands, g.times = now, j.Commands, j.Times
	return is
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// aboutNode is how this node is now.
func (s *server) aboutNode() dashboard.About {
	j := s.cell.JournalStats()
	return dashboard.About{
		Version: s.o.Version, Level: s.cell.CellLevel(), Started: s.started.UnixMilli(), Leader: j.HasLeader,
		Failing: health.Failing(s.checks), Warnings: s.warnings.Active(), Latest: j.Latest, Applied: s.cell.Applied().Revision,
		Least: uint64(s.cfg.Journal.MinFreeMiB) << 20, Journal: j.DatabaseSize, View: int64(s.cell.Stats().DiskBytes),
	}
}

// allNodes are those of the cell, as this one knows them.
func (s *server) allNodes() []dashboard.Node {
	own := dashboard.Node{Name: s.name(), Self: true, Reached: true, Version: s.o.Version, Level: s.level(), Drained: s.drains.now.Load() != nil}
	if s.member == nil {
		return []dashboard.Node{own}
	}
	j, meshed, all := s.cell.JournalStats(), s.meshed(), map[string]dashboard.Node{}
	own.Address, own.Leads = s.cfg.Cell.Members()[own.Name], j.Leads()
	for _, o := range j.Others {
		n := meshed[o.Name]
		all[o.Name] = dashboard.Node{
			Name: o.Name, Address: o.Address, Reached: o.Reached, Leads: o.Leads, Learner: o.Learner, Absent: o.Absent, Drained: n.Drained, Diverged: n.Diverged, Version: n.Version, Level: n.Level,
		}
	}
	all[own.Name] = own
	var sorted []dashboard.Node
	for _, name := range s.cfg.Cell.Names() {
		n := all[name]
		n.Name = name
		sorted = append(sorted, n)
	}
	return sorted
}

// figures is handover.Options.Figures.
func (n *node) figures(run string, next uint64) any {
	if r := n.recorder.Load(); r != nil {
		return r.Report(run, next)
	}
	return nil
}

// askNode has a node's figures.
func (s *server) askNode(ctx context.Context, node, run string, next uint64) (r dashboard.Report, err error) {
	if node == s.name() {
		return s.recorder.Load().Report(run, next), nil
	}
	err = s.link.Figures(ctx, node, run, next, &r)
	if errors.Is(err, handover.ErrOlder) {
		err = dashboard.ErrOlder
	}
	return r, err
}

// startDashboard records this node's figures where somebody may ask for them, and serves
// the admin page if there is to be one.
func (s *server) startDashboard(ctx context.Context, group *errgroup.Group) error {
	address := s.cfg.Admin.Listen
	if address == "" && s.member == nil {
		return nil
	}
	recorder := dashboard.NewRecorder((&gauge{s: s, at: s.started}).sample, s.aboutNode)
	s.recorder.Store(recorder)
	group.Go(func() error { recorder.Run(ctx); return nil })
	if address == "" {
		return nil
	}
	l, err := listenAt(ctx, address)
	if err != nil {
		return fmt.Errorf("listen for the admin page: %w", err)
	}
	s.addrs.Admin = l.Addr().String()
	seen := dashboard.NewCell(dashboard.CellOptions{Domain: s.cfg.Domain, Nodes: s.allNodes, Ask: s.askNode})
	group.Go(func() error { seen.Run(ctx); return nil })
	s.access = dashboard.NewAccess(time.Now)
	h := dashboard.Handler(seen, s.access, config.Loopback(address), s.log)
	l = netutil.LimitListener(l, pageConnections)
	if !config.Loopback(address) {
		l = s.front.Encrypt(l, "http/1.1")
	}
	group.Go(func() error { return s.servePage(ctx, h, l) })
	return nil
}

func (s *server) servePage(ctx context.Context, h http.Handler, l net.Listener) error {
	srv := &http.Server{
		Handler: h, ReadTimeout: pageStall, WriteTimeout: pageStall, IdleTimeout: 2 * pageStall, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // a page asks again
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin page: %w", err)
	}
	return nil
}

// pageLink is admin.Options.PageLink.
func (s *server) pageLink() (admin.PageLink, error) {
	if s.access == nil {
		return admin.PageLink{}, &admin.Error{
			Code: admin.CodeInvalid, Text: "the admin page is off",
			Hint: `write listen = "127.0.0.1:5281" under [admin] in the configuration, and restart the server`,
		}
	}
	token, ends := s.access.Link()
	return admin.PageLink{Link: s.cfg.AdminBase(s.addrs.Admin) + "/#" + token, Expires: ends}, nil
}
