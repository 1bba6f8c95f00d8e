// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/command"
)

// TestScrubTables: tables that come and go while they are read are no damage; one whose bit has
// flipped is, although the engine has what it says in memory.
func TestScrubTables(t *testing.T) {
	fs := vfs.NewMem()
	v := memView(t, fs)
	defer func() { _ = v.Close() }()
	revision := uint64(0)
	apply := func(c *command.Command) {
		t.Helper()
		revision++
		if _, err := v.Apply(Batch{Revision: revision, Commands: encode(t, c)}); err != nil {
			t.Fatal(err)
		}
	}
	apply(&command.Command{Request: &command.Command_CellInit{CellInit: &command.CellInit{ArchiveKey: make([]byte, 16), Domain: domain}}})
	for _, who := range []string{"ann", "ben"} {
		apply(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: at(who)}}})
	}
	scrubs := make(chan error, 1)
	stop := make(chan struct{})
	passes := 0
	go func() {
		for {
			select {
			case <-stop:
				scrubs <- nil
				return
			default:
			}
			if err := v.Scrub(context.Background(), nil); err != nil {
				scrubs <- err
				return
			}
			passes++
		}
	}()
	for range 1000 {
		apply(&command.Command{Request: &command.Command_Message{Message: &command.Message{
			From: at("ann") + "/x", To: at("ben"), Payload: []byte("<body>" + strings.Repeat("much ", 100) + "</body>"), Flags: command.FlagBody,
		}}})
	}
	close(stop)
	if err := <-scrubs; err != nil {
		t.Fatalf("while tables come and go: %v", err)
	}
	if flushes := v.Stats().Flushes; passes == 0 || flushes < 3 {
		t.Fatalf("%d scrubs, %d flushes", passes, flushes)
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := v.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil { // nothing is left to be done
		t.Fatal(err)
	}
	if _, _, err := v.Checksum(); err != nil { // all of it is in memory now
		t.Fatal(err)
	}
	names, err := v.tables()
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for name := range names {
		f, err := fs.OpenReadWrite(fs.PathJoin("/view", databaseDir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], info.Size()/2); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b[:], info.Size()/2); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Scrub(t.Context(), nil); !Rotten(err) {
		t.Errorf("flipped bits are not found: %v", err)
	}
}
