// SPDX-License-Identifier: Apache-2.0

// Package admin is what an operator does with a server: make accounts and
// invites, ask how it is. It works over a unix socket in the data directory
// while the server runs (Handler, Client) and directly on the data while it
// does not: both are a Backend.
package admin

import (
	"context"
	"errors"
	"io"
	"time"

	"bavard/internal/account"
	"bavard/internal/health"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Backend does what an operator asks. Errors are *Error where the operator can
// do something about it. It is safe for concurrent use.
type Backend interface {
	// AddUser makes an account and gives its address.
	AddUser(ctx context.Context, u User) (address string, err error)
	// Import makes an account for each line of src; see Format. It reports
	// each line that gives none, and progress at least every 200 ms while lines
	// come in, from one goroutine. It gives an error when it had to stop.
	Import(ctx context.Context, src io.Reader, format Format, report func(ImportEvent)) (Progress, error)
	Invites
	Users
	Reports
	Checkpoints
	Drains
	Nodes
	Pages
	// Status says how the server is.
	Status(ctx context.Context) (Status, error)
}

// User is an account to make.
type User struct {
	Localpart string `json:"localpart"`
	Password  string `json:"password"`
	Name      string `json:"name,omitempty"` // that people see
}

// Status of a server.
type Status struct {
	Version  string          `json:"version"`
	Domain   string          `json:"domain"`
	Running  bool            `json:"running"` // false: read from the data while no server runs
	PID      int             `json:"pid,omitempty"`
	Started  time.Time       `json:"started,omitzero"`
	App      string          `json:"app"` // where people reach the app
	Failing  []string        `json:"failing"`
	Warnings []health.Active `json:"warnings"`

	Accounts int `json:"accounts"`
	Reports  int `json:"reports"`  // of abuse, that nobody has dealt with
	Sessions int `json:"sessions"` // bound, on this node
	// Drain is how far it is, while the node is drained.
	Drain *DrainProgress `json:"drain,omitempty"`
	// Level is the cell's feature level: what all its nodes know.
	Level   uint32        `json:"level"`
	Journal JournalStatus `json:"journal"`
	View    ViewStatus    `json:"view"`
	Scrub   ScrubStatus   `json:"scrub"`
}

// JournalStatus is the journal's part of a Status.
type JournalStatus struct {
	HasLeader     bool   `json:"has_leader"`
	Latest        uint64 `json:"latest"`   // newest revision seen
	Released      uint64 `json:"released"` // no longer needed by the view
	Queued        int    `json:"queued"`   // commands waiting
	Commands      uint64 `json:"commands"` // committed since the start
	Retries       uint64 `json:"retries"`
	WindowBytes   int64  `json:"window_bytes"`
	DatabaseBytes int64  `json:"database_bytes"`
	// Of an etcd cluster elsewhere; none when it runs in the server.
	Endpoints []string `json:"endpoints,omitempty"`
	Version   string   `json:"etcd_version,omitempty"`
	// Of a cell of several nodes: this one's name, and the others.
	Node   string      `json:"node,omitempty"`
	Others []OtherNode `json:"others,omitempty"`
}

// OtherNode is another node of the cell, as this one sees it.
type OtherNode struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Reached bool   `json:"reached"`
	Leads   bool   `json:"leads"`
	Learner bool   `json:"learner,omitempty"` // it takes part anew, or for the first time, and has no vote yet
	Absent  bool   `json:"absent,omitempty"`  // it is not in the cell: not yet, or not any more
	Drained bool   `json:"drained,omitempty"` // it takes nobody
	// Diverged: nor does it, because most nodes have another view than it.
	Diverged bool `json:"diverged,omitempty"`
	// Slow: it is answered late, or was a moment ago and sends people elsewhere.
	Slow    bool   `json:"slow,omitempty"`
	Version string `json:"version,omitempty"` // none while it is not heard
	Level   uint32 `json:"level,omitempty"`   // the highest feature level that it knows
}

// ViewStatus is the view's part of a Status.
type ViewStatus struct {
	Applied   string `json:"applied"` // position: epoch/revision/index
	DiskBytes int64  `json:"disk_bytes"`
	// Of a cell of several nodes: the newest revision at which most were seen to have the same
	// view, since the start, and why this node takes nobody, if others have another one.
	Compared uint64 `json:"compared,omitempty"`
	Diverged string `json:"diverged,omitempty"`
}

// ScrubStatus says what came of reading view and journal through, since the start.
type ScrubStatus struct {
	Passes uint64    `json:"passes"`
	Found  uint64    `json:"found"` // of these, that found damage
	Bytes  uint64    `json:"bytes"` // read
	Last   time.Time `json:"last,omitzero"`
}

// Codes of errors.
const (
	CodeExists  = "exists"  // there is such an account
	CodeUnknown = "unknown" // there is no such account
	CodeInvalid = "invalid" // what was given cannot be used
	CodeFailed  = "failed"  // the server could not do it
)

// Error says what is wrong and what to do.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + ": " + e.Hint
}

// Accounts is what a Backend needs of the accounts: *account.Service.
type Accounts interface {
	Create(ctx context.Context, local, password, name string) (jid.JID, error)
	NewInvite(ctx context.Context, inv account.Invitation) (token string, expires time.Time, err error)
	RevokeInvite(ctx context.Context, hash []byte) error
}

// Options of a Backend on the data itself.
type Options struct {
	Domain   string
	Version  string
	Accounts Accounts
	// Manage changes accounts, List lists them; see Users.
	Manage Manager
	List   func(after string, limit int) ([]state.Account, error)
	// Reports gives reports of abuse; see Reports.
	Reports func(before uint64, most int) (page []state.Report, all int, err error)
	// Invites gives invites by the SHA-256 of their tokens, from that of from on.
	Invites func(from []byte, most int) (page []state.ListedInvite, next []byte, err error)
	// Account gives an account by bare JID, state.ErrNotFound if there is none.
	Account func(bare string) (state.Account, error)
	// Base is the start of invite links, like "https://chat.example.org".
	Base func() string
	// Report fills what only the parts know: Accounts, Sessions, Journal, View,
	// and Running, PID, Started when a server runs.
	Report func(ctx context.Context, s *Status) error
	// Checkpoint and DropCheckpoint: see Checkpoints.
	Checkpoint     func(ctx context.Context) (Checkpoint, error)
	DropCheckpoint func() error
	// Drain and Undrain: see Drains; nil while no server runs.
	Drain   func(ctx context.Context, o DrainOptions, report func(DrainProgress)) error
	Undrain func() error
	// RemoveNode and AddNode: see Nodes; nil while no server runs.
	RemoveNode, AddNode func(ctx context.Context, name string) error
	// PageLink: see Pages; nil while no server runs.
	PageLink func() (PageLink, error)
	Warnings *health.Warnings
	Checks   []health.Check
}

type backend struct{ o Options }

// New makes the Backend that works on the data of this process.
func New(o Options) Backend { return &backend{o} }

// AddUser implements Backend.
func (b *backend) AddUser(ctx context.Context, u User) (string, error) {
	j, err := b.o.Accounts.Create(ctx, u.Localpart, u.Password, u.Name)
	if err != nil {
		return "", explain(err)
	}
	return j.String(), nil
}

// explain turns the accounts' errors into an operator's.
func explain(err error) error {
	var se *stanza.Error
	if !errors.As(err, &se) {
		if ctxErr := contextError(err); ctxErr != nil {
			return ctxErr
		}
		return &Error{Code: CodeFailed, Text: err.Error(), Hint: "`bavard status` and the server's log say more"}
	}
	switch {
	case se.Condition == stanza.ItemNotFound:
		return &Error{Code: CodeUnknown, Text: "there is no such account"}
	case se.Condition == stanza.Conflict && se.Type != stanza.Wait:
		return &Error{Code: CodeExists, Text: "there is such an account already"}
	case se.Text != "":
		return &Error{Code: CodeInvalid, Text: se.Text}
	default:
		return &Error{Code: CodeInvalid, Text: string(se.Condition)}
	}
}

func contextError(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Status implements Backend.
func (b *backend) Status(ctx context.Context) (Status, error) {
	s := Status{
		Version:  b.o.Version,
		Domain:   b.o.Domain,
		App:      b.o.Base(),
		Failing:  health.Failing(b.o.Checks),
		Warnings: b.o.Warnings.Active(),
	}
	if s.Failing == nil {
		s.Failing = []string{} // an empty list, not null, for who reads the JSON
	}
	if s.Warnings == nil {
		s.Warnings = []health.Active{}
	}
	if err := b.o.Report(ctx, &s); err != nil {
		return Status{}, explain(err)
	}
	return s, nil
}
