// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Seat is the place of a node in a cell that is founded.
type Seat struct {
	// Name in the cell; Peer is the loopback address at which the other nodes reach
	// it, Data its directory, which is empty or missing.
	Name, Peer, Data string
}

// Found makes the data directories of a cell's nodes, whose bundles are made in dir, as an operator does. A copy
// of each is kept: see Bundle.
func Found(ctx context.Context, binary, dir string, seats []Seat) error {
	if err := Charter(ctx, binary, dir, seats); err != nil {
		return err
	}
	for _, s := range seats {
		if err := s.Join(ctx, binary, dir); err != nil {
			return err
		}
	}
	return nil
}

// Charter makes the bundles of a cell's nodes in dir; args are added to the command line.
func Charter(ctx context.Context, binary, dir string, seats []Seat, args ...string) error {
	var names []string
	for _, s := range seats {
		names = append(names, s.Name)
	}
	return Command(ctx, binary, append([]string{"cell", "init", "--nodes", strings.Join(names, ","), "--out", dir}, args...)...)
}

// Join makes the data directory that of the node by its bundle in dir, of which a copy is kept.
func (s *Seat) Join(ctx context.Context, binary, dir string) error {
	bundle := filepath.Join(dir, s.Name+".cell")
	if err := os.Link(bundle, Bundle(dir, s.Name)); err != nil { // the other one is removed by joining
		return err
	}
	return Command(ctx, binary, "cell", "join", bundle, "--data", s.Data)
}

// Bundle is the copy of a node's bundle that Join has kept in dir.
func Bundle(dir, name string) string { return filepath.Join(dir, name+".kept") }

// Arguments are those of serve by which a node takes its seat.
func (s *Seat) Arguments(all []Seat) []string {
	var members []string
	for _, other := range all {
		members = append(members, other.Name+"="+other.Peer)
	}
	return []string{"--node", s.Name, "--cell", strings.Join(members, ",")}
}

// Command runs a command of the program to its end.
func Command(ctx context.Context, binary string, args ...string) error {
	if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
