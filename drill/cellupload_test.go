// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
)

// TestCellUploadKill: a node that has just told a file 201 is killed, and every other time its
// files are lost: each other node has the file, byte for byte. At the end all have all, and
// nothing else.
func TestCellUploadKill(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	d, random := cellOfFiles(ctx, t, false)
	files := newUploading(d.killing)
	for round := range 2 * fewKills() {
		if lost := d.killAfterPut(ctx, t, files, round%2 == 1, random); lost > 0 {
			t.Errorf("%d nodes do not have the file", lost)
		}
	}
	recorded := 0 // those included of which nobody knows that they were stored
	for _, f := range files.files {
		if _, err := get(ctx, &http.Transport{DisableKeepAlives: true}, f.get); err == nil || f.stored {
			recorded++
			for _, n := range d.nodes {
				if !d.hasFile(ctx, t, n, f) {
					t.Errorf("node %s does not have a file", n.name)
				}
			}
		}
	}
	for _, n := range d.nodes {
		err := await.Until(ctx, func(context.Context) error {
			kept, err := filepath.Glob(filepath.Join(n.options.Data, "uploads", "??", "*"))
			if err == nil && len(kept) != recorded {
				err = fmt.Errorf("node %s keeps %d files, %d are recorded", n.name, len(kept), recorded)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d files, %d were broken off", recorded, len(files.files)-recorded)
}

// TestCellUploadKillWithEarlyAnswers is the negative control: with nodes that answer before a
// second one has the file, the same must show losses, or it proves nothing.
func TestCellUploadKillWithEarlyAnswers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	d, random := cellOfFiles(ctx, t, true)
	files := newUploading(d.killing)
	for range 12 {
		if d.killAfterPut(ctx, t, files, true, random) > 0 {
			return
		}
	}
	t.Error("no file is lost although they are told of before they are safe")
}

// killAfterPut puts a file to a node and kills it, takes its files from it if so told, looks which
// of the others do not have the file, and starts it again.
func (d *celled) killAfterPut(ctx context.Context, t *testing.T, files *uploading, wipe bool, random *rand.Rand) (lost int) {
	t.Helper()
	n := d.nodes[random.IntN(len(d.nodes))]
	f := d.putAt(ctx, t, files, n, random)
	n.node.Kill()
	if wipe {
		if err := os.RemoveAll(filepath.Join(n.options.Data, "uploads")); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range d.nodes {
		if other != n && !d.hasFile(ctx, t, other, f) {
			lost++
		}
	}
	started := time.Now()
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if err := d.admits(ctx, n, started, false); err != nil {
		t.Fatal(err)
	}
	return lost
}

// TestCellUploadFreeze: while one node is frozen, files are taken by the two others, and got from them,
// and the frozen one has them soon after it goes on.
func TestCellUploadFreeze(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	d, random := cellOfFiles(ctx, t, false)
	files := newUploading(d.killing)
	frozen := d.nodes[random.IntN(len(d.nodes))]
	if err := frozen.node.Freeze(); err != nil {
		t.Fatal(err)
	}
	var longest time.Duration
	for _, n := range d.nodes {
		if n == frozen {
			continue
		}
		begun := time.Now()
		f := d.putAt(ctx, t, files, n, random)
		longest = max(longest, time.Since(begun))
		for _, n := range d.nodes {
			if n != frozen && !d.hasFile(ctx, t, n, f) {
				t.Errorf("node %s does not have the file", n.name)
			}
		}
	}
	if err := frozen.node.Thaw(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files.files {
		if f.stored && !d.hasFile(ctx, t, frozen, f) {
			t.Errorf("node %s, which goes on, does not have a file", frozen.name)
		}
	}
	t.Logf("the longest took %v", longest.Round(time.Millisecond))
}

// cellOfFiles starts a cell of three, whose nodes tell of files too early or not; the seed is told.
func cellOfFiles(ctx context.Context, t *testing.T, early bool) (*celled, *rand.Rand) {
	t.Helper()
	d := newCelled(CellConfig{KillConfig: ready(t, KillConfig{EarlyUploads: early}), Nodes: 3})
	t.Cleanup(d.killAll)
	if err := d.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	return d, generator(d.cfg.Seed, 1)
}

// putAt puts a file to a node.
func (d *celled) putAt(ctx context.Context, t *testing.T, files *uploading, n *cellNode, random *rand.Rand) put {
	t.Helper()
	s, err := client.Dial(ctx, client.Config{JID: "user0@localhost", Password: d.password, Addr: n.options.C2S})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Cut()
	for ctx.Err() == nil {
		before := files.found.Stored
		files.putFile(ctx, s, random)
		if files.found.Stored > before {
			return files.files[len(files.files)-1]
		}
	}
	t.Fatal("no file is taken")
	return put{}
}

// hasFile reports whether a node has a file, byte for byte. It waits as long as the node says
// that it cannot tell now.
func (d *celled) hasFile(ctx context.Context, t *testing.T, n *cellNode, f put) bool {
	t.Helper()
	content, there, err := fileAt(ctx, place{http: n.options.HTTP}, &f)
	if err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
	return there && sha256.Sum256([]byte(content)) == f.sum
}
