// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
)

// TestCellUploadKill: a node that has just told a file 201 is killed, and every other time its
// files are lost: each other node has the file, byte for byte. At the end all have all, and
// nothing else.
func TestCellUploadKill(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -drill.seed %[1]d", seed)
	cfg := KillConfig{Binary: bin, Dir: t.TempDir(), Seed: seed, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	cfg.defaults()
	d := &celled{cfg: CellConfig{KillConfig: cfg, Nodes: 3}, killing: newKilling(cfg)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	defer d.killAll()
	if err := d.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	files := &uploading{killing: d.killing}
	random := generator(seed, 1)
	for round := range 2 * cellKills() {
		n := d.nodes[random.IntN(len(d.nodes))]
		f := d.putAt(ctx, t, files, n, random)
		n.node.Kill()
		if round%2 == 1 { // another disk
			if err := os.RemoveAll(filepath.Join(n.options.Data, "uploads")); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range d.nodes {
			if other != n {
				d.hasFile(ctx, t, other, f)
			}
		}
		started := time.Now()
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		if err := d.admits(ctx, n, started, false); err != nil {
			t.Fatal(err)
		}
	}
	recorded := 0 // those included of which nobody knows that they were stored
	for _, f := range files.files {
		if _, err := get(ctx, &http.Transport{DisableKeepAlives: true}, f.get); err == nil || f.stored {
			recorded++
			for _, n := range d.nodes {
				d.hasFile(ctx, t, n, f)
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

// hasFile waits as long as a node says that it cannot tell now.
func (d *celled) hasFile(ctx context.Context, t *testing.T, n *cellNode, f put) {
	t.Helper()
	u, err := url.Parse(f.get)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = n.options.HTTP
	content := ""
	err = await.Until(ctx, func(ctx context.Context) (err error) {
		content, err = get(ctx, &http.Transport{DisableKeepAlives: true}, u.String())
		if err != nil && strings.Contains(err.Error(), "503") {
			return err
		}
		return nil
	})
	if err != nil || sha256.Sum256([]byte(content)) != f.sum {
		t.Errorf("node %s has another file: %d bytes, %v", n.name, len(content), err)
	}
}
