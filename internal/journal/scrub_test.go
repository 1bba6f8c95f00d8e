// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestScrub: a journal that works is sound however much is appended meanwhile; a bit of a value
// that nobody reads any more is found; and a scrub ends when it is to, and with the journal.
func TestScrub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx := testContext(t)
	opts := Options{Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"), MinFree: 1, UnsafeNoFsync: true}
	j, err := OpenEtcd(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "what nobody reads any more"
	commit(t, j, mark)
	appending, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	var appended atomic.Int64
	go func() {
		settled := make(chan error, 1)
		for ; appending.Err() == nil && appended.Load() < 2000; appended.Add(1) {
			err := j.Submit(ctx, []byte(strings.Repeat("x", 60_000)), func(_ uint64, _ uint32, err error) { settled <- err })
			if err == nil {
				err = <-settled
			}
			if err != nil {
				t.Error(err)
				break
			}
		}
		close(done)
	}()
	read := 0
	for appended.Load() < 200 && !t.Failed() {
		if err := j.Scrub(ctx, func(n int) error {
			read += n
			_, err := j.Latest(ctx) // some time in which pages that are not pinned are written to
			return err
		}); err != nil {
			t.Fatalf("while something is appended: %v", err)
		}
	}
	stop()
	<-done
	t.Logf("%d batches, %d bytes were read", appended.Load(), read)
	enough := errors.New("enough")
	if err := j.Scrub(ctx, func(int) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("it goes on: %v", err)
	}
	under := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- j.Scrub(context.Background(), func(int) error {
			close(under)
			<-j.(*etcdJournal).ctx.Done()
			return ErrClosed
		})
	}()
	<-under
	closeJournal(t, j)
	if err := <-ended; err == nil {
		t.Error("it goes on when the journal is closed")
	}
	if err := j.Scrub(context.Background(), nil); err == nil {
		t.Error("one begins when the journal is closed")
	}

	if j, err = OpenEtcd(ctx, opts); err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	flipInUse(t, newestOf(t, opts.Dir, "snap/db"), mark)
	if err := j.Scrub(ctx, nil); !errors.Is(err, ErrRotten) {
		t.Errorf("a flipped bit is not found: %v", err)
	}
}

// flipInUse changes a bit of each copy of a text in a file that is in use.
func flipInUse(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for from := 0; ; found++ {
		i := bytes.Index(content[from:], []byte(text))
		if i < 0 {
			break
		}
		from += i + 1
		// What is no longer in use may be written to meanwhile, and is something else then.
		now := make([]byte, len(text)-1)
		if _, err := f.ReadAt(now, int64(from)); err != nil || string(now) != text[1:] {
			continue
		}
		if _, err := f.WriteAt([]byte{content[from] ^ 1}, int64(from)); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Fatalf("%q is not in %s", text, path)
	}
}
