// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/encoding/protowire"

	"bavard/internal/command"
	"bavard/internal/state"
)

func TestBatchIsAppliedOnce(t *testing.T) {
	c := newCell(t, "ann", "bob")
	b := Batch{Revision: 100, Commands: encode(t, message("ann/x", "bob", ""))}
	for i := range 2 {
		r, err := c.v.Apply(b)
		if err != nil || len(r.Outcomes) != 1-i || len(r.Events) != 2-2*i {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	b.Revision = 99
	if r, err := c.v.Apply(b); err != nil || len(r.Outcomes) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := ids(c.archive(state.Query{Account: at("bob")})); got != " true" {
		t.Fatalf("archive %q", got)
	}
	if p := c.v.Applied(); p != (command.Position{Revision: 100}) {
		t.Fatalf("applied %v", p)
	}
	for _, rev := range []uint64{0, maxRevision + 1} {
		if _, err := c.v.Apply(Batch{Revision: rev}); !errors.Is(err, ErrBadCommand) {
			t.Fatalf("error %v", err)
		}
	}
}

// What this version does not understand stops it: nothing of the batch is
// applied, and nothing after it.
func TestApplyStops(t *testing.T) {
	later := message("ann/x", "bob", "m")
	later.Level = Level + 1
	kind := message("ann/x", "bob", "m")
	kind.GetMessage().Type = 77
	sub := subscribing("ann", "bob", 77)
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new"))
	for name, row := range map[string]struct {
		raw  []byte
		want error
	}{
		"level":        {encode(t, later)[0], ErrUnknownCommand},
		"request":      {unknown, ErrUnknownCommand},
		"empty":        {nil, ErrUnknownCommand},
		"message type": {encode(t, kind)[0], ErrUnknownCommand},
		"subscription": {encode(t, sub)[0], ErrUnknownCommand},
		"damage":       {encode(t, message("ann/x", "bob", "m"))[0][:20], ErrBadCommand},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCell(t, "ann", "bob")
			before, _, err := c.v.Checksum()
			if err != nil {
				t.Fatal(err)
			}
			good := encode(t, message("ann/x", "bob", "good"))[0]
			bad := Batch{Revision: c.revision + 1, Commands: [][]byte{good, row.raw, good}}
			for range 2 {
				if _, err := c.v.Apply(bad); !errors.Is(err, row.want) {
					t.Fatalf("error %v", err)
				}
			}
			if _, err := c.v.Apply(Batch{Revision: c.revision + 2, Commands: [][]byte{good}}); !errors.Is(err, ErrOrder) {
				t.Fatalf("error %v", err)
			}
			after, _, err := c.v.Checksum()
			if err != nil || after != before || c.v.Applied().Revision != c.revision {
				t.Fatalf("something was applied: %v", err)
			}
			// The same batch, undamaged, goes on.
			bad.Commands = [][]byte{good}
			if r, err := c.v.Apply(bad); err != nil || r.Outcomes[0].Verdict != command.Accepted {
				t.Fatalf("%+v, %v", r, err)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(message("ann/x", "bob", "m"))
	applied, sum := c.v.ChainHash()
	content, records, err := c.v.Checksum()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.v.Durable(); err != nil || !p.IsZero() {
		t.Fatalf("durable %v before a flush, %v", p, err)
	}
	c.reopen()
	if p, h := c.v.ChainHash(); p != applied || h != sum {
		t.Fatalf("%v %x, want %v %x", p, h, applied, sum)
	}
	if p, err := c.v.Durable(); err != nil || p != applied {
		t.Fatalf("durable %v, %v", p, err)
	}
	if got, n, err := c.v.Checksum(); err != nil || got != content || n != records {
		t.Fatalf("checksum %x of %d, want %x of %d, %v", got, n, content, records, err)
	}
	if err := c.v.Scrub(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	c.accept(create("eve"))
	if a, err := c.v.Account(at("eve")); err != nil || a.ID != 3 {
		t.Fatalf("account %+v, %v", a, err)
	}
}

func TestClosed(t *testing.T) {
	c := newCell(t, "ann")
	if err := errors.Join(c.v.Close(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	_, err1 := c.v.Apply(Batch{Revision: 99})
	_, err2 := c.v.Archive(t.Context(), state.Query{Account: at("ann")})
	_, _, err3 := c.v.Roster(at("ann"))
	_, err4 := c.v.Durable()
	_, _, err5 := c.v.Checksum()
	for i, err := range []error{err1, err2, err3, err4, err5, c.v.Flush(), c.v.Scrub(t.Context(), nil)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%d: error %v", i, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := vfs.NewMem()
	c := &cellOf{t: t, v: openView(t, fs, Options{Epoch: 2}), fs: fs, now: start}
	c.accept(cellInit())
	if err := errors.Join(c.v.Flush(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	refused := func(o Options, hint string, want error) {
		t.Helper()
		o.FS = fs
		_, err := Open("/view", o)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), hint) {
			t.Fatalf("error %v, want %v with %q", err, want, hint)
		}
	}
	refused(Options{Epoch: 2, Domain: "example.com"}, `set the domain to "example.org"`, ErrDomain)
	refused(Options{Epoch: 1}, "different restores", nil)

	// A later epoch starts its revisions anew.
	v := openView(t, fs, Options{Epoch: 3})
	if r, err := v.Apply(Batch{Revision: 1, Commands: encode(t, create("ann"))}); err != nil || len(r.Outcomes) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := v.db.Set([]byte{tableFormat}, binary.AppendUvarint(nil, format+1), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Flush(), v.Close()); err != nil {
		t.Fatal(err)
	}
	refused(Options{Epoch: 3}, "install a newer version", ErrFormat)

	// A database that is gone is not an empty one.
	if err := fs.RemoveAll("/view/db"); err != nil {
		t.Fatal(err)
	}
	refused(Options{}, "restore a backup", ErrLost)
}

// Pebble takes a directory that lost its manifest marker for an empty one.
func TestOpenWithoutManifestMarker(t *testing.T) {
	c := newCell(t, "ann")
	if err := errors.Join(c.v.Flush(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := c.fs.List("/view/" + databaseDir)
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	for _, n := range names {
		if strings.HasPrefix(n, "marker.manifest") {
			removed++
			if err := c.fs.Remove("/view/" + databaseDir + "/" + n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Open("/view", Options{FS: c.fs}); removed == 0 || !errors.Is(err, ErrLost) {
		t.Fatalf("%d removed, error %v", removed, err)
	}
}

// A MANIFEST that has lost its end makes an older view, to which what is missing is applied from
// the journal, or one that is rotten; never an empty one, nor one with holes.
func TestOpenWithShortManifest(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for round := range 2 {
		c.accept(message("ann/x", "bob", fmt.Sprint("m", round)))
		if err := c.v.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	last := c.v.Applied()
	if err := c.v.Close(); err != nil {
		t.Fatal(err)
	}
	var path string
	names, err := c.fs.List("/view/" + databaseDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "MANIFEST") {
			path = "/view/" + databaseDir + "/" + n
		}
	}
	whole := readFile(t, c.fs, path)
	rotten := 0
	for size := range whole {
		fs := vfs.NewMem()
		if _, err := vfs.Clone(c.fs, fs, "/view", "/view"); err != nil {
			t.Fatal(err)
		}
		writeFile(t, fs, path, whole[:size])
		v, err := Open("/view", Options{FS: fs})
		if err != nil {
			if rotten++; !Rotten(err) {
				t.Fatalf("%d of %d bytes: %v", size, len(whole), err)
			}
			continue
		}
		at := v.Applied() // older, where nothing was compacted since
		if err := errors.Join(v.Scrub(t.Context(), nil), v.Close()); err != nil || last.Before(at) {
			t.Fatalf("%d of %d bytes, at %v: %v", size, len(whole), at, err)
		}
	}
	if rotten == 0 {
		t.Fatal("each beginning of a MANIFEST will do")
	}
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return text
}

func writeFile(t *testing.T, fs vfs.FS, path string, text []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A cell's first command for another domain stops a node that is configured
// wrongly.
func TestApplyRefusesAnotherDomain(t *testing.T) {
	v := openView(t, vfs.NewMem(), Options{Domain: "example.com"})
	if _, err := v.Apply(Batch{Revision: 1, Commands: encode(t, cellInit())}); !errors.Is(err, ErrDomain) {
		t.Fatalf("error %v", err)
	}
}

// A start that was cut short before the marker was written goes on.
func TestOpenAfterInterruptedStart(t *testing.T) {
	fs := vfs.NewMem()
	if err := openView(t, fs, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("/view/" + markerFile); err != nil {
		t.Fatal(err)
	}
	openView(t, fs, Options{})
	if ok, err := readMarker(fs, "/view"); !ok || err != nil {
		t.Fatalf("%v %v", ok, err)
	}
}

// Flipped bits in a table are found by whoever reads them, told to the health
// hook, and do not end the process.
func TestDamageIsFound(t *testing.T) {
	fs := vfs.NewMem()
	var told atomic.Int64
	o := Options{OnDamage: func(err error) {
		if errors.Is(err, ErrCorrupt) {
			told.Add(1)
		}
	}}
	c := &cellOf{t: t, v: openView(t, fs, o), fs: fs, now: start}
	c.accept(cellInit())
	c.accept(create("ann"))
	c.accept(create("bob"))
	for i := range 2000 {
		c.accept(message("ann/x", "bob", fmt.Sprint(i)))
	}
	if err := errors.Join(c.v.Flush(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	damageTables(t, fs)
	// An error wherever it is met first: at the start or by a reader.
	o.FS = fs
	v, err := Open("/view", o)
	if err == nil {
		defer func() { _ = v.Close() }()
		if err = v.Scrub(t.Context(), nil); err != nil {
			_, archiveErr := v.Archive(t.Context(), state.Query{Account: at("ann"), Max: 250})
			err = errors.Join(err, archiveErr)
		}
	}
	if !errors.Is(err, ErrCorrupt) || told.Load() == 0 {
		t.Fatalf("error %v, told %d", err, told.Load())
	}
}

// damageTables flips a bit in each 4 KiB of the first half of each table.
func damageTables(t *testing.T, fs *vfs.MemFS) {
	t.Helper()
	names, err := fs.List("/view/" + databaseDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		path := "/view/" + databaseDir + "/" + name
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		for at := int64(100); at < size.Size()/2; at += 4096 {
			if _, err := f.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			b[0] ^= 0x10
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A record that is gone, with all checksums right, is found by the scrub.
func TestScrubFindsHoles(t *testing.T) {
	for _, table := range []byte{tableTalk, tableArchive} {
		c := newCell(t, "ann", "bob")
		talk(c, 20)
		if err := c.v.Scrub(t.Context(), func(int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		var victim []byte
		if err := c.v.each(func(key, _ []byte) error {
			if key[0] == table {
				victim = append(victim[:0], key...)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.v.db.Delete(victim, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if err := c.v.Scrub(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("error %v", err)
		}
		if c.v.Stats().Damages == 0 {
			t.Fatal("not reported")
		}
	}
}

// An account that is gone is found at the start.
func TestOpenFindsMissingAccount(t *testing.T) {
	c := newCell(t, "ann", "bob")
	if err := errors.Join(c.v.db.Delete(accountKey(at("bob")), pebble.NoSync), c.v.Flush(), c.v.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/view", Options{FS: c.fs}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("error %v", err)
	}
}

// A flush is forced by what was applied, and OnFlush and Durable tell.
func TestDurableFollows(t *testing.T) {
	flushed := make(chan struct{}, 1)
	v := openView(t, vfs.NewMem(), Options{FlushBytes: 64 << 10, OnFlush: func() {
		select {
		case flushed <- struct{}{}:
		default:
		}
	}})
	c := &cellOf{t: t, v: v, now: start}
	c.accept(cellInit())
	c.accept(create("ann"))
	c.accept(create("bob"))
	var last command.Position
	for i := 0; last.IsZero() || c.v.Stats().Flushes < 5; i++ {
		c.accept(message("ann/x", "bob", fmt.Sprint(i)))
		p, err := v.Durable()
		if err != nil || p.Before(last) || v.Applied().Before(p) {
			t.Fatalf("durable %v after %v, applied %v, %v", p, last, v.Applied(), err)
		}
		last = p
		if i > 100_000 {
			t.Fatal("never flushed")
		}
	}
	<-flushed
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	if p, err := v.Durable(); err != nil || p != v.Applied() {
		t.Fatalf("durable %v, applied %v, %v", p, v.Applied(), err)
	}
}

// Readers see whole batches while others are applied.
func TestReadersSeeWholeBatches(t *testing.T) {
	c := newCell(t, "ann", "bob")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, account := range []string{"ann", "bob"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := c.v.Archive(context.Background(), state.Query{Account: at(account), Backward: true, Max: 10})
				if err != nil {
					t.Error(err)
					return
				}
				if n := len(page.Entries); n%5 != 0 || n > 0 && page.Entries[n-1].Position.Index != 4 {
					t.Errorf("%d entries, a part of a batch", n)
					return
				}
				_ = c.v.Stats()
				_, _ = c.v.StreamH(streamOf(1))
			}
		})
	}
	for i := range 200 {
		var cmds []*command.Command
		for j := range 5 {
			cmds = append(cmds, on(message("ann/x", "bob", fmt.Sprint(i, j)), 1, uint32(5*i+j)))
		}
		c.apply(cmds...)
	}
	close(stop)
	wg.Wait()
	if err := c.v.Scrub(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
