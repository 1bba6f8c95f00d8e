// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/drill/oracle"
	"bavard/internal/account"
	"bavard/internal/archive"
	"bavard/internal/cell"
	"bavard/internal/chat"
	"bavard/internal/command"
	"bavard/internal/dispatch"
	"bavard/internal/host"
	"bavard/internal/journal"
	"bavard/internal/roster"
	"bavard/internal/route"
	"bavard/internal/session"
	"bavard/internal/state"
	"bavard/internal/view"
)

// world is one simulated cell of one node and its clients.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	noDedupe bool
	pace     session.Pace // of a device; twice that of an account
	cluster  *journal.Cluster
	disk     *vfs.MemFS
	log      *oracle.Log
	clients  []*client
	gone     func() // called when a session has ended; nil does nothing

	mu   sync.Mutex
	node *node // nil while it is down
}

// node is the running part.
type node struct {
	cell     *cell.Cell
	hub      *dispatch.Hub
	sessions *session.Manager
	ids      *archive.IDs
	missed   *missed
	// elsewhere is what another node would know.
	elsewhere elsewhere
}

const accounts = 4

func bare(i int) string { return fmt.Sprintf("user%d@localhost", i) }

func newWorld(t *testing.T, seed uint64, noDedupe bool) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), noDedupe: noDedupe, disk: vfs.NewCrashableMem(), log: oracle.NewLog()}
	faults := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	w.cluster = journal.NewCluster(journal.ClusterOptions{Linger: time.Microsecond, Fault: func(journal.Attempt) journal.Fate {
		mu.Lock()
		defer mu.Unlock()
		f := journal.Fate{Delay: time.Duration(faults.IntN(4000)) * time.Microsecond}
		switch faults.IntN(12) {
		case 0:
			f.Lost = true
		case 1:
			f.Silent = true
		case 2:
			f.Delay += 300 * time.Millisecond // outlasts the attempt
		}
		return f
	}})
	w.start()
	keys := w.derive()
	for i := range accounts {
		w.createAccount(bare(i), keys)
	}
	return w
}

// derive gives the keys of a password: one derivation does for all accounts.
func (w *world) derive() *command.Credentials {
	w.t.Helper()
	keys, err := account.Derive("correct horse battery")
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}

func (w *world) createAccount(who string, keys *command.Credentials) {
	w.t.Helper()
	out, err := w.node.cell.Do(context.Background(), &command.Command{Request: &command.Command_AccountCreate{
		AccountCreate: &command.AccountCreate{Jid: who, Credentials: keys},
	}})
	if err != nil || out.Err != nil {
		w.t.Fatalf("create %s: %v %v", who, err, out.Err)
	}
}

// start brings the node up on its disk.
func (w *world) start() {
	w.t.Helper()
	j, err := w.cluster.Writer(context.Background(), "a")
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	n := &node{missed: &missed{}}
	var hub *dispatch.Hub
	var mu sync.Mutex
	n.cell, err = cell.Open(context.Background(), cell.Options{
		Journal: j, ViewDir: "view", Logger: log,
		View: view.Options{Domain: "localhost", FS: w.disk, FlushBytes: 8 << 10},
		Events: func(events []state.Event) {
			mu.Lock()
			defer mu.Unlock()
			if hub != nil {
				hub.Offer(events)
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	key, _ := n.cell.ArchiveKey()
	ids, err := archive.NewIDs(key)
	if err != nil {
		w.t.Fatal(err)
	}
	c := n.cell
	n.ids = ids
	n.hub = dispatch.New(dispatch.Options{Domain: "localhost", View: c, IDs: ids, Logger: log, Elsewhere: &n.elsewhere, Node: "a", Save: func(a string, p command.Position, _ bool) {
		_ = c.Submit(context.Background(), &command.Command{Request: &command.Command_OfflineCursor{
			OfflineCursor: &command.OfflineCursor{Account: a, Position: p.AppendTo(nil)},
		}}, func(command.Outcome, error) {})
	}})
	table, err := route.NewTable("localhost", host.Feature("test", time.Now), chat.Feature(chat.Options{NoDedupe: w.noDedupe}),
		roster.Feature(c, n.hub), archive.Feature(c, ids))
	if err != nil {
		w.t.Fatal(err)
	}
	n.sessions = session.NewManager(session.Options{
		Cell: c, Hub: n.hub, Table: table, Logger: log, ResumeTime: time.Minute, Missed: n.missed.take, NoDedupe: w.noDedupe,
		Pace: w.pace, AccountPace: session.Pace{Stanzas: 2 * w.pace.Stanzas, Bytes: 2 * w.pace.Bytes},
		Gone: func(route.Visitor) {
			if w.gone != nil {
				w.gone()
			}
		},
		Crowd: func(to string) int { return map[string]int{"crowded@localhost": 100}[to] },
	})
	mu.Lock()
	hub = n.hub
	mu.Unlock()
	w.mu.Lock()
	w.node = n
	w.mu.Unlock()
}

// crash cuts the power: connections break, what the view had not flushed is
// lost, commits under way may or may not have happened.
func (w *world) crash() {
	w.mu.Lock()
	n := w.node
	w.node = nil
	w.mu.Unlock()
	for _, c := range w.clients {
		c.cut()
	}
	w.cluster.Crash(0) // nothing is released any more: what is on disk now is what counts
	disk := w.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.rng.IntN(101), RNG: rand.New(rand.NewPCG(w.rng.Uint64(), 2))})
	w.teardown(n)
	w.disk = disk
}

// teardown ends what would have died with the process.
func (w *world) teardown(n *node) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = n.sessions.Shutdown(ctx)
	_ = n.cell.Close()
	n.hub.Close()
}

func (w *world) up() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node
}
