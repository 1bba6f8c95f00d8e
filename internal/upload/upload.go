// SPDX-License-Identifier: Apache-2.0

// Package upload keeps files that people share (XEP-0363). A device asks for a
// slot, an address that nobody can guess and that serves once; it puts the file
// there by HTTP, and whoever knows the other address of the slot gets it. What is
// told 201 is on the disk, and its record in the journal: hash, size, type, owner,
// purpose. What is not leaves nothing behind.
package upload

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// View is what uploads are read from.
type View interface {
	Account(bare string) (state.Account, error)
	Upload(state.UploadID) (state.Upload, error)
	Uploads(after state.UploadID, most int) ([]state.Upload, error)
	UploadsOf(account string, before state.UploadID, most int) ([]state.Upload, error)
	UploadUsage(account string) (own, all state.Usage, err error)
	AllUploads() (state.Usage, error)
	UploadRoom(account string, files, bytes uint64, messages time.Duration) (time.Time, error)
	UploadsDue(now, messageBefore time.Time) (bool, error)
}

// Limits of uploads; 0 is no limit where it says so.
type Limits struct {
	File         uint64 // bytes of one file; 0 gives no slots
	Account      uint64 // bytes of an account's files; 0 for no limit
	AccountFiles uint64 // 0 for no limit
	Total        uint64 // bytes of all files; 0 for no limit
	MinFree      uint64 // bytes of the disk that uploads leave free
	// Messages is how long files for messages are kept, 0 for ever; Ephemeral how
	// long those are that name an end themselves, at most.
	Messages, Ephemeral time.Duration
}

// Bounds that nobody has wanted to change.
const (
	slotTime = 5 * time.Minute // XEP-0363 §impl @1.2.0
	// profileMost bounds pictures of people and the like, which are kept for ever.
	profileMost = 8 << 20
	// openUploads and openDownloads are at the same time; ofAccount of these by one
	// account, ofAddress by one address block. Uploads beyond wait, without being read.
	openUploads    = 64
	waitingUploads = 256
	openDownloads  = 512
	ofAccount      = 4
	ofAddress      = 32
	// idleTime is how long nothing may come or go. A file has besides as long as it
	// takes at slowest bytes a second, and graceTime.
	idleTime  = 30 * time.Second
	graceTime = time.Minute
	slowest   = 16 << 10
	// settleTime is how long a client waits for the journal.
	settleTime = 20 * time.Second
)

// Options of uploads.
type Options struct {
	Domain string // of the component
	Dir    string // of the files; made if need be
	Node   string // this node's name
	Key    []byte // 32 bytes that seal slots: the same on each node
	View   View
	// Do has a command decided upon. An error means that it is not known what became of it.
	Do func(context.Context, *command.Command) (command.Outcome, error)
	// Current returns when View has all that was answered anywhere in the cell; nil when
	// it always has. Others is nil when there is no other node.
	Current func(context.Context) error
	Others  Others
	// Base is what addresses begin with, like https://chat.example.org; "" gives no slots.
	Base func() string
	// Address is the block that a request comes from, "" to leave it uncounted.
	Address func(*http.Request) string
	// Free is how many bytes may be written to the disk of Dir.
	Free func() (uint64, error)
	// Missing is told how many files are not on the disk that have to be.
	Missing func(n int)
	Limits  Limits
	Logger  *slog.Logger     // nil is silent
	Now     func() time.Time // nil is time.Now
	// Idle is how long nothing may come or go; 0 means 30 s.
	Idle time.Duration
	// UnsafeEarly answers 201 before the file has its place and its record. It is there
	// for the drill that has to notice it, and for nothing else.
	UnsafeEarly bool
}

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Idle == 0 {
		o.Idle = idleTime
	}
	if o.Address == nil {
		o.Address = func(*http.Request) string { return "" }
	}
	if o.Missing == nil {
		o.Missing = func(int) {}
	}
}

// Service gives slots, takes files and hands them out.
type Service struct {
	o      Options
	sealer cipher.AEAD
	files  *files
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	count  counters

	mu        sync.Mutex
	closed    bool
	arriving  map[state.UploadID]*arrival
	accounts  map[string]int // arrivals of an account
	waiting   int            // who waits to arrive
	left      chan struct{}  // closed and replaced when one is over
	promised  uint64         // bytes that arrivals will still write
	addresses map[string]int // downloads of an address block
	downloads int
	fetching  map[state.UploadID]*fetch
	incoming  int // files that come from other nodes
	changes   []change
	rescan    bool             // there were more than are remembered
	lacking   []state.UploadID // to be had from other nodes
	behind    bool             // so are others, and all are looked through for them
	wake      chan struct{}
	lacks     chan struct{}
}

// changesMost bounds what is remembered of what has become of uploads, until it is seen to.
const changesMost = 1 << 16

// New prepares the directory and begins to sweep. What interrupted uploads have
// left there is removed before it returns. Close ends it.
func New(o Options) (*Service, error) {
	o.defaults()
	block, err := aes.NewCipher(o.Key)
	if err != nil {
		return nil, fmt.Errorf("uploads: %w", err)
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("uploads: %w", err)
	}
	s := &Service{
		o: o, sealer: sealer, files: &files{dir: o.Dir}, arriving: map[state.UploadID]*arrival{}, accounts: map[string]int{},
		addresses: map[string]int{}, fetching: map[state.UploadID]*fetch{},
		wake: make(chan struct{}, 1), lacks: make(chan struct{}, 1), left: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	// A full disk must not keep a server from starting: uploads try again.
	if err := s.files.prepare(); err != nil {
		o.Logger.Error("prepare the directory of uploads", "err", err)
	}
	s.wg.Go(s.follow)
	s.wg.Go(s.complete)
	s.wg.Go(s.sweep)
	return s, nil
}

// Close ends what is under way. Uploads whose fate is not known then are settled
// by the next start.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, a := range s.arriving {
		a.stop()
	}
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// counters since New.
type counters struct {
	slots, refused                          atomic.Uint64
	stored, repeated, rejected, interrupted atomic.Uint64
	received, sent                          atomic.Uint64
	replicated, unreplicated, fetched       atomic.Uint64
}

// Stats are the figures of a service.
type Stats struct {
	Slots, SlotsRefused uint64
	// What became of files that were put: those that were stored, came once more,
	// were refused, or broke off.
	Stored, Repeated, Rejected, Interrupted uint64
	Received, Sent                          uint64 // bytes
	// Files that another node took, that none took, and that came from another one.
	Replicated, Unreplicated, Fetched uint64
	Uploading, Downloading            int // now
}

// Stats gives the figures.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.count
	return Stats{
		Slots: c.slots.Load(), SlotsRefused: c.refused.Load(), Stored: c.stored.Load(), Repeated: c.repeated.Load(),
		Replicated: c.replicated.Load(), Unreplicated: c.unreplicated.Load(), Fetched: c.fetched.Load(),
		Rejected: c.rejected.Load(), Interrupted: c.interrupted.Load(), Received: c.received.Load(), Sent: c.sent.Load(),
		Uploading: len(s.arriving), Downloading: s.downloads,
	}
}

var (
	errDiskFull = errors.New("the disk has no room for it")
	errTotal    = errors.New("this server has no room for more files")
)

// Full says why this server takes no file of the largest size; nil if it does.
func (s *Service) Full() error {
	if err := s.room(s.o.Limits.File); err != nil {
		return err
	}
	all, err := s.o.View.AllUploads()
	if err != nil {
		return nil //nolint:nilerr // the view says so itself
	}
	return s.total(all, s.o.Limits.File)
}

// room reports whether the disk has room for so many bytes more, besides those
// that are promised. Uploads are refused before anything else is: they leave more free
// than the journal does.
func (s *Service) room(more uint64) error {
	free, err := s.o.Free()
	if err != nil {
		return err
	}
	s.mu.Lock()
	promised := s.promised
	s.mu.Unlock()
	if free < s.o.Limits.MinFree+promised+more {
		return errDiskFull
	}
	return nil
}

func (s *Service) total(all state.Usage, more uint64) error {
	if most := s.o.Limits.Total; most > 0 && all.Bytes+more > most {
		return errTotal
	}
	return nil
}
