// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"bavard/internal/archive"
	"bavard/internal/cert"
	"bavard/internal/health"
	"bavard/internal/jid"
	"bavard/internal/listen"
	"bavard/internal/negotiate"
	"bavard/internal/session"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
	"bavard/web"
)

const webSocketPath = "/xmpp-websocket"

// idleMost is a last resort: sessions probe silent devices long before.
const idleMost = 10 * time.Minute

// stream is a connection as sessions see it.
type stream struct{ *listen.Stream }

func (s stream) WebSocket() bool { return s.Framing() == listen.WebSocket }

// serve is one connection's life: negotiate, then a session.
func (s *server) serve(st *listen.Stream) {
	ctx, ok := s.doors.context()
	if !ok {
		st.Close(stanza.StreamErr(stanza.StreamSystemShutdown, ""))
		return
	}
	if s.closed() { // what it knows may be old, or wrong: another node knows better
		st.Close(elsewhere())
		return
	}
	limits := xmlstream.AfterAuth
	if n := s.cfg.Limits.StanzaKiB; n > 0 {
		limits.MaxBytes = n << 10
	}
	log := s.log.With("conn", st.ID())
	// Who is not yet a session when the server stops is told here.
	stopped := context.AfterFunc(ctx, func() { st.Close(negotiate.Cancelled(ctx)) })
	login, err := negotiate.Run(ctx, st, negotiate.Deps{
		Domain: s.cfg.Domain, Accounts: s.accounts, TLS: s.certs.TLS(), AllowPlaintext: s.cfg.InsecureLoopback,
		Features: s.table.StreamFeatures, Current: s.cell.Current, Limits: limits, Log: log, Timeout: s.cfg.Limits.LoginTime.Std(),
		Room: s.hub.Room, Inline: inline(), Idle: session.ProbeAfter, Elsewhere: s.sentElsewhere,
		Resume: func(_ context.Context, acc state.Account, previd string, h uint32) negotiate.Resumption {
			bare, err := jid.Parse(acc.JID)
			if err != nil {
				return negotiate.Resumption{}
			}
			r, lower, known := s.sessions.Resume(bare, previd, h)
			if r == nil {
				return negotiate.Resumption{H: lower, Known: known}
			}
			return negotiate.Resumption{Session: r, JID: r.JID()}
		},
	})
	if !stopped() || err != nil {
		log.Debug("a connection did not log in", "err", err)
		return
	}
	log.Debug("logged in", "mechanism", login.Mechanism)
	st.SetIdleTimeout(idleMost)
	s.begin(login, stream{st})
}

// begin begins the session that was negotiated, or goes on with one.
func (s *server) begin(login negotiate.Login, st stream) {
	if r, ok := login.Resumed.(*session.Resumed); ok {
		var answer func(...*xmlstream.Element) *xmlstream.Element
		if login.Inline != nil {
			answer = login.Inline.Success
		}
		s.sessions.ServeResumed(r, st, answer)
		return
	}
	start := session.Start{
		JID: login.JID, Client: login.Client,
		Admitted: func() bool { return s.accounts.Admits(login.Proof, login.Client) },
	}
	if inline := login.Inline; inline != nil {
		start.Enable, start.Synced = inline.Bind.Child(stanza.NSSM, "enable"), true
		start.Carbons = inline.Bind.Child(stanza.NSCarbons, "enable") != nil
		start.Inactive = inline.Bind.Child(stanza.NSCSI, "inactive") != nil
		start.Greet = func(enabled *xmlstream.Element) []*xmlstream.Element {
			return []*xmlstream.Element{inline.Success(s.bound(login.Account.JID, enabled)), inline.Features}
		}
	}
	s.sessions.Start(start, st)
}

// inline is what can be switched on with binding a resource.
func inline() []string { return []string{stanza.NSCarbons, stanza.NSCSI, stanza.NSSM} }

// bound tells a device what came of binding (XEP-0386 §bind-request @1.1.0).
func (s *server) bound(account string, enabled *xmlstream.Element) *xmlstream.Element {
	b := xmlstream.New(stanza.NSBind2, "bound")
	ends, err := archive.Ends(s.cell, s.ids, account)
	if err != nil {
		s.log.Error("the ends of an archive could not be read", "err", err)
	} else {
		b.Add(ends)
	}
	if enabled != nil {
		b.Add(enabled)
	}
	return b
}

// listen opens every configured listener.
func (s *server) listen(ctx context.Context, group *errgroup.Group) error {
	var err error
	s.front, err = listen.New(listen.Config{
		Domain: s.cfg.Domain, TLS: s.certs.TLS, Log: s.log, Proxies: s.cfg.Listen.ProxyPrefixes(), Origins: s.origins(),
		Handle: s.serve,
		Limits: listen.Limits{
			Connections: s.cfg.Limits.Connections, Strangers: s.cfg.Limits.Unauthenticated, StrangersPerBlock: s.cfg.Limits.PerAddress,
		},
	})
	if err != nil {
		return err
	}
	open := func(address string, got *string, serve func(net.Listener) error) error {
		if address == "" {
			return nil
		}
		l, err := listenAt(ctx, address)
		if err != nil {
			return err
		}
		*got = l.Addr().String()
		group.Go(func() error {
			return serve(l)
		})
		return nil
	}
	web := s.http(ctx)
	s.addrs.C2S, s.addrs.C2STLS = s.cfg.Listen.C2S, s.cfg.Listen.C2STLS
	s.doors.group = group
	for _, w := range []way{{&s.addrs.C2S, s.front.ServeTCP}, {&s.addrs.C2STLS, s.front.ServeTLS}} {
		if *w.address != "" {
			s.doors.ways = append(s.doors.ways, w)
		}
	}
	return errors.Join(
		s.doors.open(ctx),
		open(s.cfg.Listen.HTTP, &s.addrs.HTTP, func(l net.Listener) error { return s.serveHTTP(ctx, web, l) }),
		open(s.cfg.Listen.HTTPS, &s.addrs.HTTPS, func(l net.Listener) error {
			return s.serveHTTP(ctx, web, s.front.Encrypt(l, "http/1.1")) // WebSocket needs it (RFC 6455 §4.1)
		}),
		open(s.cfg.Listen.Redirect, &s.addrs.Redirect, func(l net.Listener) error { return s.serveHTTP(ctx, s.redirect(), l) }),
	)
}

// origins whose pages may open a WebSocket, besides those of the same host: a
// proxy may have changed the host that the request names, and web clients may be
// elsewhere.
func (s *server) origins() []string {
	others := slices.Concat(s.cfg.Cell.Addresses, s.cfg.Listen.Origins)
	if base := s.base(); strings.HasPrefix(base, "https://") {
		return append([]string{base}, others...)
	}
	return others
}

// http is what the web listeners serve.
func (s *server) http(context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", health.Live())
	s.checks = []health.Check{
		{Name: "drain", Test: s.undrained},
		{Name: "journal", Test: s.journalReady},
		{Name: "view", Test: s.viewReady},
		{Name: "comparison", Test: s.undiverged},
		{Name: "pace", Test: s.inTime},
	}
	mux.Handle("GET /readyz", health.Ready(s.warnings, s.checks...))
	mux.Handle(webSocketPath, s.doors.guard(s.front.WebSocket()))
	hostMeta := listen.HostMeta(s.webSockets)
	mux.Handle("/.well-known/host-meta", hostMeta)
	mux.Handle("/.well-known/host-meta.json", hostMeta)
	mux.HandleFunc("GET /.well-known/bavard.json", s.about)
	mux.Handle("GET "+cert.ChallengePath, s.certs.Challenge()) // passed on by a proxy
	mux.Handle("/", web.Handler(web.Beside{Media: s.mediaOrigins(), Nodes: s.cfg.Cell.Addresses, Status: s.cfg.Contact.ExternalStatus}))
	return s.withUploads(mux)
}

// redirect sends who comes without encryption to the app's address.
func (s *server) redirect() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+cert.ChallengePath, s.certs.Challenge())
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		base := s.base()
		if !strings.HasPrefix(base, "https://") {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, base+r.URL.RequestURI(), http.StatusPermanentRedirect)
	})
	return mux
}

// about tells the app which domain it is served for, whether anybody may make an
// account, and where files are: it shows none that are elsewhere.
func (s *server) about(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"domain": s.cfg.Domain, "version": s.o.Version, "registration": s.accounts.Open(), "uploads": s.uploadBase(),
	}) // the peer may be gone
}

// webSockets lists the addresses of the WebSocket for whoever asks: the public
// one, or, on this machine, the one that the request came by; then those of all
// nodes, so that who is cut off from one finds another.
func (s *server) webSockets(r *http.Request) []string {
	var public []string
	if base := s.base(); strings.HasPrefix(base, "https://") {
		public = []string{webSocketURL(base)}
	}
	all := slices.Clone(listen.WebSocketURLs(public, webSocketPath)(r))
	for _, a := range s.cfg.Cell.Addresses {
		if u := webSocketURL(a); !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	return all
}

func (s *server) serveHTTP(ctx context.Context, h http.Handler, l net.Listener) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		c, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		_ = srv.Shutdown(c) // hijacked WebSockets are closed by their sessions
		_ = srv.Close()
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// metrics opens the listener for Prometheus, if there is to be one.
func (s *server) metrics(ctx context.Context, group *errgroup.Group, registry *prometheus.Registry) error {
	if s.cfg.Listen.Metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.Listen.Metrics)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	s.addrs.Metrics = l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", health.MetricsHandler(registry))
	group.Go(func() error { return s.serveHTTP(ctx, mux, l) })
	return s.dir.WriteAddresses(s.addrs)
}
