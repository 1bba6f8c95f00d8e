// SPDX-License-Identifier: Apache-2.0

package cell_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/cell"
	"bavard/internal/command"
	"bavard/internal/journal"
	"bavard/internal/state"
	"bavard/internal/view"
)

func open(t *testing.T, cluster *journal.Cluster, fs vfs.FS) *cell.Cell {
	t.Helper()
	j, err := cluster.Writer(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cell.Open(t.Context(), cell.Options{
		Journal: j, ViewDir: "view", View: view.Options{Domain: "localhost", FS: fs}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func create(local string) *command.Command {
	return &command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: local + "@localhost"}}}
}

func message(body string) *command.Command {
	return &command.Command{Request: &command.Command_Message{Message: &command.Message{
		From: "alice@localhost/a", To: "bob@localhost", Payload: []byte("<body>" + body + "</body>"), Flags: command.FlagBody,
	}}}
}

// Outcomes come in the order of submission, each once, with rising positions.
func TestOutcomesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, journal.NewCluster(journal.ClusterOptions{Linger: time.Microsecond}), vfs.NewMem())
		for _, a := range []string{"alice", "bob"} {
			if out, err := c.Do(t.Context(), create(a)); err != nil || out.Verdict != command.Accepted {
				t.Fatalf("create %s: %v %v", a, out, err)
			}
		}
		var got []command.Outcome
		done := make(chan struct{})
		const n = 500
		for i := range n {
			err := c.Submit(t.Context(), message(fmt.Sprint(i)), func(out command.Outcome, err error) {
				if err != nil {
					t.Error(err)
				}
				if got = append(got, out); len(got) == n {
					close(done)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		<-done
		for i := 1; i < n; i++ {
			if !got[i-1].Position.Before(got[i].Position) {
				t.Fatalf("outcome %d at %v, the next at %v", i-1, got[i-1].Position, got[i].Position)
			}
		}
		if c.InFlight() != 0 {
			t.Errorf("%d still in flight", c.InFlight())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Without a majority nothing is answered; once it is back all is, once.
func TestNoMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := journal.NewCluster(journal.ClusterOptions{})
		c := open(t, cluster, vfs.NewMem())
		cluster.SetQuorum(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Do(ctx, create("alice")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a majority: %v, want to wait", err)
		}
		if err := c.Current(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read that nobody can vouch for: %v, want to wait", err)
		}
		cluster.SetQuorum(true)
		if err := c.Current(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if out, err := c.Do(t.Context(), create("alice")); err != nil || out.Verdict != command.Refused {
			t.Errorf("the account that waited: %+v, %v, want it to exist by now", out, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A node whose writer was taken over stops, and those who wait are told.
func TestFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := journal.NewCluster(journal.ClusterOptions{})
		c := open(t, cluster, vfs.NewMem())
		successor, err := cluster.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer successor.Close()
		if _, err := c.Do(t.Context(), create("alice")); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("%v, want ErrFenced", err)
		}
		_ = c.Close()
	})
}

// What was accepted is there after a restart, whether the view had flushed it
// or the journal has it.
func TestRestartReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, disk := journal.NewCluster(journal.ClusterOptions{}), vfs.NewCrashableMem()
		c := open(t, cluster, disk)
		for _, a := range []string{"alice", "bob"} {
			if _, err := c.Do(t.Context(), create(a)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			if _, err := c.Do(t.Context(), message(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		cluster.Crash(0)
		after := disk.CrashClone(vfs.CrashCloneCfg{})
		_ = c.Close()
		c = open(t, cluster, after)
		page, err := c.Archive(t.Context(), state.Query{Account: "bob@localhost", Max: 250})
		if err != nil || len(page.Entries) != 100 {
			t.Errorf("%d messages after the crash (%v), want 100", len(page.Entries), err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Whoever submits while the cell stops is not left waiting.
func TestCloseAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := journal.NewCluster(journal.ClusterOptions{})
		c := open(t, cluster, vfs.NewMem())
		cluster.SetQuorum(false)
		answered := make(chan error, 10)
		for range cap(answered) {
			if err := c.Submit(t.Context(), create("alice"), func(_ command.Outcome, err error) { answered <- err }); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		for range cap(answered) {
			if err := <-answered; err == nil {
				t.Error("a command that was never committed was answered as if it were")
			}
		}
		if err := c.Submit(context.Background(), create("bob"), func(command.Outcome, error) {}); err == nil {
			t.Error("a closed cell takes commands")
		}
	})
}

// other is a journal of another cell.
type other struct{ journal.Journal }

func (other) ID() []byte { return []byte("another journal.") }

// A view is not continued from another cell's journal, even when that is ahead.
func TestOtherJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, fs := journal.NewCluster(journal.ClusterOptions{}), vfs.NewMem()
		c := open(t, cluster, fs)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		j, err := cluster.Writer(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		c, err = cell.Open(t.Context(), cell.Options{
			Journal: other{j}, ViewDir: "view", View: view.Options{Domain: "localhost", FS: fs}, Logger: slog.New(slog.DiscardHandler),
		})
		if !errors.Is(err, cell.ErrOtherJournal) {
			t.Fatalf("opened %v: %v", c, err)
		}
		c = open(t, cluster, fs)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A restored view goes on with an empty journal, and not with the one of before, which
// would say all again.
func TestRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, fs := journal.NewCluster(journal.ClusterOptions{}), vfs.NewMem()
		c := open(t, before, fs)
		for _, cmd := range []*command.Command{create("alice"), create("bob"), message("1")} {
			if _, err := c.Do(t.Context(), cmd); err != nil {
				t.Fatal(err)
			}
		}
		last := c.Applied()
		if _, err := c.Checkpoint("restored"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		again := func(cluster *journal.Cluster) (*cell.Cell, error) {
			j, err := cluster.Writer(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if cluster != before {
				j = other{j}
			}
			return cell.Open(t.Context(), cell.Options{
				Journal: j, ViewDir: "restored", View: view.Options{Domain: "localhost", FS: fs, Epoch: 1}, Logger: slog.New(slog.DiscardHandler),
			})
		}
		if c, err := again(before); !errors.Is(err, cell.ErrOtherJournal) {
			t.Fatalf("opened %v: %v", c, err)
		}
		after := journal.NewCluster(journal.ClusterOptions{})
		for n := range 2 { // and it starts again with that one
			c, err := again(after)
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Do(t.Context(), message(fmt.Sprint("later ", n)))
			if err != nil || out.Position.Epoch != 1 || !last.Before(out.Position) {
				t.Errorf("%v, %v, after %v", out.Position, err, last)
			}
			last = out.Position
			if page, err := c.Archive(t.Context(), state.Query{Account: "bob@localhost", Max: 10}); err != nil || len(page.Entries) != n+2 {
				t.Errorf("%d messages, %v", len(page.Entries), err)
			}
			if err := errors.Join(c.Flush(), c.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
