// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	process "bavard/drill/node"
	"bavard/internal/admin"
	"bavard/internal/charter"
	"bavard/internal/config"
	"bavard/internal/server"
)

// cellOf makes the configurations of a cell of three on this machine, and its bundles.
func cellOf(t *testing.T) ([]config.Config, []*charter.Bundle) {
	t.Helper()
	names := []string{"a", "b", "c"}
	common, err := server.Common("localhost", "")
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := charter.Found("localhost", names, common, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := process.FreePorts(len(names), rand.IntN)
	if err != nil {
		t.Fatal(err)
	}
	var all []config.Config
	for i := range names {
		cfg := config.Default()
		cfg.Data = filepath.Join(t.TempDir(), "data")
		cfg.InsecureLoopback = true
		cfg.Cell.Node = names[i]
		for j, name := range names {
			cfg.Cell.Nodes = append(cfg.Cell.Nodes, name+"="+addrs[j])
		}
		cfg.Listen = config.Listen{C2S: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
		if err := errors.Join(cfg.Validate(), os.Mkdir(cfg.Data, 0o700)); err != nil {
			t.Fatal(err)
		}
		all = append(all, cfg)
	}
	return all, bundles
}

// serveAll runs nodes until the end of the test.
func serveAll(t *testing.T, nodes ...config.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan server.Running, len(nodes)), make(chan error, len(nodes))
	for _, cfg := range nodes {
		go func() {
			ended <- server.Run(ctx, server.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test", Ready: func(r server.Running) { ready <- r }})
		}()
	}
	t.Cleanup(func() {
		cancel()
		for range nodes {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	for range nodes {
		select {
		case <-ready:
		case err := <-ended:
			ended <- err
			t.Fatal(err)
		}
	}
}

// wantOfNodes is want where only the cell is looked at.
func (x *installation) wantOfNodes(level Level, text string) {
	x.t.Helper()
	e := begin(x.Options)
	e.askServer(x.t.Context())
	e.nodes(x.t.Context())
	x.wantAmong(e.findings, level, "cell", text)
}

func TestNodes(t *testing.T) {
	all, bundles := cellOf(t)
	x := &installation{t: t, Options: Options{Config: all[0]}}
	x.wantOfNodes(Problem, "not that of a node of a cell")
	for i, b := range bundles {
		if err := charter.Join(all[i].Data, b, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	x.wantOfNodes(Problem, "node b does not answer")
	serveAll(t, all[0], all[1])
	x.wantOfNodes(OK, "node a of a, b, c, with a certificate until")
	x.want(OK, "cell", "node b answers at all 3 ports")
	x.wantOfNodes(Problem, "node c does not answer")
	x.Status = func(context.Context) (admin.Status, error) {
		return admin.Status{Journal: admin.JournalStatus{Others: []admin.OtherNode{{Node: "b", Reached: true}, {Node: "c", Absent: true}}}}, nil
	}
	x.wantOfNodes(OK, "node c is not in the cell")
	x.Status = nil

	// Its clock.
	x.Now = func() time.Time { return time.Now().Add(-90 * time.Second) }
	x.wantOfNodes(Warning, "ahead of ours")
	x.Now = func() time.Time { return time.Now().Add(90 * time.Second) }
	x.wantOfNodes(Warning, "behind ours")
	x.Now = func() time.Time { return time.Now().AddDate(9, 6, 0) }
	x.wantOfNodes(Warning, "the certificates between the nodes end on")
	x.Now = func() time.Time { return time.Now().AddDate(11, 0, 0) }
	x.wantOfNodes(Problem, "the certificates between the nodes ended on")
	x.Now = nil

	// A configuration that is not this node's.
	x.Config.Cell.Node = "b"
	x.wantOfNodes(Problem, `the data directory is that of node "a", not of "b"`)
}

// A node with a bundle of another cell is told apart.
func TestNodeOfAnotherCell(t *testing.T) {
	all, bundles := cellOf(t)
	for i := range 2 {
		if err := charter.Join(all[i].Data, bundles[i], time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	serveAll(t, all[0], all[1])
	_, others := cellOf(t)
	x := &installation{t: t, Options: Options{Config: all[2]}}
	if err := charter.Join(x.Config.Data, others[2], time.Now()); err != nil {
		t.Fatal(err)
	}
	x.wantOfNodes(Problem, "its certificate, or ours, is not of this cell")
}
