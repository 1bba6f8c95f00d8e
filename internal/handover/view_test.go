// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// aView is a Source whose view has one file.
type aView struct{ content string }

func (v aView) CheckpointAfter(_ context.Context, dir string, _ uint64) error {
	return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "initialised"), []byte(v.content), 0o600))
}

// TestFetchNeedsRoom: who fetches a view knows before it arrives how large it is, and waits
// until there is room.
func TestFetchNeedsRoom(t *testing.T) {
	t.Parallel()
	ids := identities(t)
	source := aView{strings.Repeat("x", 3*partMost)}
	s, err := linkOf(ids, "a", map[string]string{"b": ""}).Serve(t.Context(), "127.0.0.1:0", filepath.Join(t.TempDir(), "out"), source, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b := linkOf(ids, "b", map[string]string{"a": s.Address()})
	var mu sync.Mutex
	var sizes []int64
	b.o.Room = func(size int64) error {
		mu.Lock()
		defer mu.Unlock()
		if sizes = append(sizes, size); len(sizes) < 3 {
			return errors.New("the disk is full")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "view.new")
	from, err := b.Fetch(ctx, dir, 1, "")
	if err != nil || from != "a" {
		t.Fatalf("from %q: %v", from, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "initialised"))
	if err != nil || string(got) != source.content {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, size := range sizes {
		if size != int64(len(source.content)) {
			t.Errorf("it is said to have %d bytes", size)
		}
	}
}
