// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/charter"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/server"
)

const (
	// bundleTime is how long bundles are good for: nodes begin together.
	bundleTime = 7 * 24 * time.Hour
	// bundleMost bounds a bundle that is read, in bytes.
	bundleMost = 1 << 20
	// bundleEnd of the files' names.
	bundleEnd = ".cell"
)

func (p *Program) cell() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cell", Short: "Make a cell of several nodes, and change it", Args: group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	cmd.AddCommand(p.cellInit(), p.cellJoin(), p.cellRemove(), p.cellAdd())
	return cmd
}

func (p *Program) cellInit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init --nodes a,b,c", Short: "Make a new cell: a bundle for each of its nodes", Args: cobra.NoArgs,
		Long: `Make a new cell, with an authority of its own: a file NODE.cell for each node, with
its certificate and key and what all nodes have in common. Copy each to its own
machine by a way that nobody else can read, and have the node take it by
'bavard cell join NODE.cell'. The files are good for 7 days, and once.

With --first the server that has the data directory here becomes that node, with all
that it has, and the others are let in by it, one after the other. It may run while the
files are made, and is stopped for 'bavard cell join'.`,
		RunE: p.runCellInit,
	}
	cmd.Flags().StringSlice("nodes", nil, "`NAMES` of the nodes: three, five or seven")
	cmd.Flags().String("out", ".", "the `DIR` that the files are written into")
	cmd.Flags().String("first", "", "the `NODE` that the server here becomes, with what it has")
	return cmd
}

func (p *Program) runCellInit(cmd *cobra.Command, _ []string) error {
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	names, _ := cmd.Flags().GetStringSlice("nodes")
	if err := charter.CheckNames(names); err != nil {
		return usage(cmd, fmt.Errorf("--nodes: %w", err))
	}
	first, _ := cmd.Flags().GetString("first")
	if first != "" && !slices.Contains(names, first) {
		return usage(cmd, fmt.Errorf("--first: %q is none of the --nodes", first))
	}
	out, _ := cmd.Flags().GetString("out")
	bundles, err := found(cfg, names, first)
	if err != nil {
		return err
	}
	made, err := writeBundles(out, bundles)
	if err != nil {
		return err
	}
	_, err = p.Stdout.WriteString(describeBundles(cfg, bundles, made))
	return err
}

// found makes the bundles; first is the node that one server becomes, "" if there is none.
func found(cfg config.Config, names []string, first string) ([]*charter.Bundle, error) {
	now := time.Now()
	if first == "" {
		common, err := server.Common(cfg.Domain, "")
		if err != nil {
			return nil, err
		}
		return charter.Found(cfg.Domain, names, common, now, now.Add(bundleTime))
	}
	if m, err := charter.Read(cfg.Data); err == nil {
		return nil, fmt.Errorf("%s is that of node %s of a cell already", cfg.Data, m.Node)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "journal", "owner")); err != nil {
		return nil, fmt.Errorf("there is no server in %s that has run: name its directory with --data or --config, and run this as its user: %w", cfg.Data, err)
	}
	epoch, err := datadir.Epoch(cfg.Data)
	if err != nil {
		return nil, err
	}
	common, err := server.Common(cfg.Domain, cfg.Data)
	if err != nil {
		return nil, err
	}
	return charter.Grow(cfg.Domain, names, first, epoch, common, now, now.Add(bundleTime))
}

// writeBundles gives the names of the files; on an error it leaves none.
func writeBundles(out string, bundles []*charter.Bundle) (made []string, err error) {
	for _, b := range bundles {
		name := filepath.Join(out, b.Node+bundleEnd)
		if err := writeBundle(name, b); err != nil {
			for _, name := range made {
				err = errors.Join(err, os.Remove(name))
			}
			return nil, err
		}
		made = append(made, name)
	}
	return made, nil
}

// describeBundles says what to do with them.
func describeBundles(cfg config.Config, bundles []*charter.Bundle, made []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "A cell for %s of the nodes %s. Each file goes to its own machine, by a way that nobody else\ncan read:\n\n", cfg.Domain, strings.Join(bundles[0].Nodes, ", "))
	for i, b := range bundles {
		where := "where " + made[i] + " is copied to"
		if b.First == b.Node {
			where = "here, while the server is stopped: " + cfg.Data + " keeps what it has"
		}
		fmt.Fprintf(&text, "    bavard cell join %s%s   %s; it is removed there\n", b.Node, bundleEnd, where)
	}
	fmt.Fprintf(&text, "\nThey are good for 7 days, and once. Keep a copy of each off these machines, where nobody else can read it: a node that\nlost its disk comes back by it, with `bavard cell join --again`. Delete all others.\n")
	if first := bundles[0].First; first != "" {
		fmt.Fprintf(&text, "\nStart node %s first. It goes on alone until the others are started; it lets them in one after the other.\n", first)
	}
	return text.String()
}

// writeBundle makes a new file that its owner alone can read.
func writeBundle(name string, b *charter.Bundle) error {
	text, err := b.Encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a file %s already: it may be that of another cell; choose another directory with --out", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func (p *Program) cellJoin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "join FILE", Short: "Make the data directory that of a node, by its bundle", Args: cobra.ExactArgs(1),
		Long: `Make the data directory, in which there must be nothing yet, that of the node that
FILE is for. The server that 'bavard cell init --first' has made the first node keeps
what it has. FILE is removed then: a node begins once. With --again it is the node of
a cell that runs, and has lost its data directory: FILE is a copy that was kept,
however old, it stays, and 'bavard serve' has the others let the node in again.`,
		RunE: p.runCellJoin,
	}
	cmd.Flags().Bool("again", false, "the node has been in the cell before")
	return cmd
}

func (p *Program) runCellJoin(cmd *cobra.Command, args []string) error {
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	b, err := readBundle(args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if cfg.Domain != b.Domain && cfg.Domain != config.Default().Domain {
		return fmt.Errorf("the cell was made for %s, the configuration says %s", b.Domain, cfg.Domain)
	}
	dir, err := datadir.Open(cfg.Data)
	if err != nil {
		return err
	}
	again, _ := cmd.Flags().GetBool("again")
	if again {
		err = charter.JoinAgain(dir.Path(), b)
	} else {
		err = charter.Join(dir.Path(), b, time.Now())
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	if again {
		_, err = fmt.Fprintf(p.Stdout, "%s is node %s of the cell of %s for %s again; start it, and the others let it in.\n", cfg.Data, b.Node, strings.Join(b.Nodes, ", "), b.Domain)
		return err
	}
	if err := os.Remove(args[0]); err != nil {
		return fmt.Errorf("%s is node %s now; delete %s, which must not be used again: %w", cfg.Data, b.Node, args[0], err)
	}
	_, err = fmt.Fprintf(p.Stdout, "%s is node %s of the cell of %s for %s now; %s is removed.\n", cfg.Data, b.Node, strings.Join(b.Nodes, ", "), b.Domain, args[0])
	return err
}

func readBundle(name string) (*charter.Bundle, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, bundleMost))
	if err != nil {
		return nil, err
	}
	return charter.Decode(text)
}
