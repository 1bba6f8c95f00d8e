// SPDX-License-Identifier: Apache-2.0

// Package handover has the nodes of a cell give each other what is too large for the
// journal: a whole view, to a node that cannot get from the journal any more what it
// missed, and the files that people upload; and, to one that has lost its journal, a new
// place among the members; and their figures, for the admin page. It goes over HTTPS with certificates of the cell on both
// sides, at a port of its own, so that nothing else waits for it.
// docs/formats/cell.md describes what is sent.
package handover

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds.
const (
	// DefaultRate is how fast one view is handed over, in bytes a second: the node that
	// hands it over has people to serve.
	DefaultRate = 64 << 20
	// stall ends a transfer that does not move.
	stall = 30 * time.Second
	// preparing bounds how long a node may take until it begins to send.
	preparing = time.Minute
	// tellEvery is how often it is logged how much of a view has arrived.
	tellEvery = 10 * time.Second
	// connectionsMost bounds those that are open at once: those of six other nodes.
	connectionsMost = 6 * (2*fileStreams + 3)
	headerMost      = 16 << 10
)

// Options of what one node hands over and is handed.
type Options struct {
	Node  string            // this one's name
	Peers map[string]string // host:port of each other node, by name
	// Serving and Calling are how nodes of the cell, and nobody else, are let in and
	// reached; they are told apart by the common name of their certificates.
	Serving *tls.Config
	Calling func(node string) *tls.Config
	Log     *slog.Logger
	// Voter reports whether a node is in the cell, with a vote; nil: all are.
	Voter func(node string) bool
	// Member reports whether a node is in the cell; nil: all are. With one that is not, though it has a
	// certificate, nothing is exchanged, except that it may ask
	// to be let in.
	Member func(node string) bool
	// Rate in bytes a second; 0 is DefaultRate.
	Rate int64
	// Room says why a view of so many bytes cannot be kept, if it cannot; nil: any can.
	Room func(bytes int64) error
	// Figures of this node, for the admin pages of others: what it returns is sent as JSON, nil
	// means that there are none yet. It must not take long.
	Figures func(run string, next uint64) any
}

// Source is the view that is handed over.
type Source interface {
	// CheckpointAfter writes the view, as it is at a revision of at least after, into a new
	// directory.
	CheckpointAfter(ctx context.Context, dir string, after uint64) error
}

// Link is one node's side towards the others.
type Link struct {
	o     Options
	files map[string]ways
	// tellers are the ways to ask nodes for their figures.
	tellers map[string]*http.Client

	mu     sync.Mutex
	first  int                  // of the others, that is asked first
	failed map[string]time.Time // when a node did not answer
}

// New makes a link; nothing is opened yet.
func New(o Options) *Link {
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	l := &Link{o: o, files: map[string]ways{}, tellers: map[string]*http.Client{}, failed: map[string]time.Time{}}
	for name := range o.Peers {
		l.files[name], l.tellers[name] = l.newWays(name), l.newTeller(name)
	}
	return l
}

// Server hands over what other nodes need.
type Server struct {
	link     *Link
	source   Source
	files    Files
	admitter Admitter
	scratch  string
	http     *http.Server
	address  string
	turn     chan struct{} // capacity 1: one at a time
	handed   atomic.Uint64
	wg       sync.WaitGroup
	mu       sync.Mutex // held to count a handler in, and to cancel
	ctx      context.Context
	cancel   context.CancelFunc
}

// Serve listens at an address. Checkpoints are made under scratch, which is on
// the view's file system; what is left there of an earlier process is removed.
func (l *Link) Serve(ctx context.Context, listen, scratch string, source Source, files Files, admitter Admitter) (*Server, error) {
	if err := os.RemoveAll(scratch); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	s := &Server{link: l, source: source, files: files, admitter: admitter, scratch: scratch, turn: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+viewPath, s.view)
	mux.HandleFunc("POST "+rejoinPath, s.rejoin)
	mux.HandleFunc("GET "+figuresPath, s.figures)
	mux.HandleFunc("GET "+filesPath+"{id}", s.file)
	mux.HandleFunc("PUT "+filesPath+"{id}", s.file)
	s.http = &http.Server{
		Handler: mux, MaxHeaderBytes: headerMost, ReadHeaderTimeout: stall, IdleTimeout: stall,
		ErrorLog:    slog.NewLogLogger(l.o.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		TLSConfig:   l.o.Serving.Clone(),
	}
	s.http.TLSConfig.NextProtos = []string{"http/1.1"}
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for nodes that need a view: %w", err)
	}
	s.address = tcp.Addr().String()
	few := &few{Listener: tcp, slots: make(chan struct{}, connectionsMost), closed: make(chan struct{})}
	s.wg.Go(func() {
		if err := s.http.ServeTLS(few, "", ""); !errors.Is(err, http.ErrServerClosed) {
			l.o.Log.Error("views cannot be handed over any more", "err", err)
		}
	})
	return s, nil
}

// Address that it listens on.
func (s *Server) Address() string { return s.address }

// Handed is how many views were handed over.
func (s *Server) Handed() uint64 { return s.handed.Load() }

// Close ends what is under way.
func (s *Server) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	err := s.http.Close()
	s.wg.Wait()
	// A handler that is still at it ends with its connection, or at its next part.
	s.turn <- struct{}{}
	if err := errors.Join(err, os.RemoveAll(s.scratch)); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	return nil
}

// few is a listener with a bound on its connections.
type few struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a slot first.
func (l *few) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &counted{Conn: c, left: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends a wait for a slot, too.
func (l *few) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	left func()
}

// Close gives the slot back.
func (c *counted) Close() error {
	c.left()
	return c.Conn.Close()
}

// caller is the node that asks, by its certificate; "" if it is none of the cell's.
func (l *Link) caller(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	name := r.TLS.VerifiedChains[0][0].Subject.CommonName
	if _, known := l.o.Peers[name]; !known {
		return ""
	}
	return name
}

// member is caller, if that is in the cell.
func (l *Link) member(r *http.Request) string {
	name := l.caller(r)
	if name != "" && l.o.Member != nil && !l.o.Member(name) {
		return ""
	}
	return name
}

// What several requests are answered.
const (
	notOurs  = "no other node of this cell"
	stopping = "the node is stopping"
)

// view answers a node that needs one.
func (s *Server) view(w http.ResponseWriter, r *http.Request) {
	node := s.link.member(r)
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	switch {
	case node == "":
		http.Error(w, notOurs, http.StatusForbidden)
		return
	case err != nil:
		http.Error(w, "after which revision?", http.StatusBadRequest)
		return
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	default:
		http.Error(w, "another node is handed a view", http.StatusServiceUnavailable)
		return
	}
	log := s.link.o.Log.With("node", node)
	begun := time.Now()
	n, err := s.hand(w, r, after)
	if err != nil {
		log.Warn("a view was not handed over", "bytes", n, "err", err)
		if n == 0 {
			http.Error(w, "there is none now", http.StatusServiceUnavailable)
			return
		}
		panic(http.ErrAbortHandler) // so that it is not taken for the end
	}
	s.handed.Add(1)
	log.Info("another node was handed a view", "bytes", n, "for", time.Since(begun).Round(time.Millisecond))
}

// hand makes a checkpoint and sends it.
func (s *Server) hand(w http.ResponseWriter, r *http.Request, after uint64) (sent int64, err error) {
	if err := os.MkdirAll(s.scratch, 0o700); err != nil {
		return 0, err
	}
	dir := filepath.Join(s.scratch, "view")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(r.Context(), preparing-10*time.Second)
	defer cancel()
	if err := errors.Join(os.RemoveAll(dir), s.source.CheckpointAfter(ctx, dir, after)); err != nil {
		return 0, err
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	size, err := sizeOf(dir)
	if err != nil {
		return 0, err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(sizeHeader, strconv.FormatInt(size, 10))
	begun := time.Now()
	err = write(w, os.DirFS(dir), func(n int) error {
		sent += int64(n)
		due := begun.Add(time.Duration(float64(sent) / float64(s.link.o.Rate) * float64(time.Second)))
		if early := time.Until(due); early > 0 {
			if err := wait(r.Context(), early); err != nil {
				return err
			}
		}
		return control.SetWriteDeadline(time.Now().Add(stall))
	})
	return sent, err
}

// sizeOf is how many bytes the files of a view have.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

const (
	viewPath = "/1/view"
	// sizeHeader says how many bytes the files of a view have; nodes of before do not say it.
	sizeHeader = "Bavard-View-Size"
)

// pauseMost is how long a node waits before it asks again.
const pauseMost = 2 * time.Second

// Fetch gets a view as it is at a revision of at least after from any of the other nodes
// into dir, which is new, and has it on the disk, whole. It asks until ctx ends, the node
// avoid, whose last one was no good, after the others. It says which node's it is.
func (l *Link) Fetch(ctx context.Context, dir string, after uint64, avoid string) (from string, err error) {
	names := slices.Sorted(maps.Keys(l.o.Peers))
	slices.SortStableFunc(names, func(a, b string) int {
		switch avoid {
		case a:
			return 1
		case b:
			return -1
		}
		return 0
	})
	pause := 100 * time.Millisecond
	for {
		for _, name := range names {
			if l.o.Member != nil && !l.o.Member(name) {
				continue
			}
			err := l.fetch(ctx, name, dir, after)
			if err == nil {
				return name, nil
			}
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			l.o.Log.Warn("a view could not be fetched, trying on", "node", name, "err", err)
		}
		if err := wait(ctx, pause); err != nil {
			return "", err
		}
		pause = min(2*pause, pauseMost)
	}
}

// wait errs when ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transport is the way to a node, which has so long to be reached, and to let this one in,
// and then to begin its answer.
func (l *Link) transport(name string, reach, answer time.Duration) *http.Transport {
	return &http.Transport{
		TLSClientConfig: l.o.Calling(name), DialContext: (&net.Dialer{Timeout: reach}).DialContext, TLSHandshakeTimeout: reach,
		ResponseHeaderTimeout: answer, DisableCompression: true, MaxResponseHeaderBytes: headerMost,
	}
}

// client is for one request to a node.
func (l *Link) client(name string) *http.Client {
	t := l.transport(name, 5*time.Second, preparing)
	t.DisableKeepAlives = true
	return &http.Client{Transport: t}
}

func (l *Link) fetch(ctx context.Context, name, dir string, after uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	url := "https://" + l.o.Peers[name] + viewPath + "?after=" + strconv.FormatUint(after, 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := l.client(name).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	size, _ := strconv.ParseInt(resp.Header.Get(sizeHeader), 10, 64) // 0: not known
	if l.o.Room != nil {
		if err := l.o.Room(size); err != nil {
			return err
		}
	}
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	log := l.o.Log.With("node", name)
	log.Info("a view is fetched from another node", "bytes", size)
	begun := time.Now()
	told, got := begun, int64(0)
	err = read(resp.Body, dir, func(n int) {
		watch.Reset(stall)
		got += int64(n)
		if now := time.Now(); now.Sub(told) >= tellEvery {
			told = now
			log.Info("a view is fetched from another node", "bytes", size, "arrived", got)
		}
	})
	if err == nil {
		log.Info("a view was fetched from another node", "bytes", got, "for", time.Since(begun).Round(time.Millisecond))
	}
	return err
}
