// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/backup"
	"bavard/internal/server"
)

func (p *Program) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup DEST", Short: "Keep the state of the server in a directory, while it runs or not", Args: cobra.ExactArgs(1),
		Long: `Keep the state of the server in the directory DEST: accounts, archives, rooms, shared
files, keys, certificates and the configuration. What is there from an earlier backup is
not copied again. The server goes on meanwhile; what has a tick when the command starts is in it.

DEST holds the keys of the server and what people have written: keep it as you keep the
data directory, and have it, or a copy of it, on another machine.`,
		RunE: p.runBackup,
	}
	cmd.Flags().Int("keep", 0, "remove all but the newest `N` states afterwards; 0 removes none")
	cmd.Flags().Bool("list", false, "list the states in DEST, and make none")
	cmd.Flags().Bool("json", false, "print an object")
	return cmd
}

// backedUp is what the command prints with --json.
type backedUp struct {
	State string `json:"state"`
	backup.About
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"`
	NewFiles int      `json:"new_files"`
	NewBytes int64    `json:"new_bytes"`
	Removed  []string `json:"removed,omitempty"`
}

func (p *Program) runBackup(cmd *cobra.Command, args []string) error {
	if list, _ := cmd.Flags().GetBool("list"); list {
		return p.listBackups(cmd, args[0])
	}
	keep, _ := cmd.Flags().GetInt("keep")
	if keep < 0 {
		return usage(cmd, errors.New("--keep is at least 0"))
	}
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	if err := apart(args[0], cfg.Data); err != nil {
		return usage(cmd, err)
	}
	store, err := backup.Create(args[0])
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	made, err := p.makeBackup(cmd, store, cfg.Data)
	if err == nil && keep > 0 {
		made.Removed, err = store.Keep(keep)
	}
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return p.printJSON(made)
	}
	_, err = fmt.Fprintf(p.Stdout, "%s  accounts %d; files %d, %s; new %d, %s\n", made.State, made.Accounts, made.Files, size(made.Bytes), made.NewFiles, size(made.NewBytes))
	for _, name := range made.Removed {
		if err == nil {
			_, err = fmt.Fprintf(p.Stdout, "%s  removed\n", name)
		}
	}
	return err
}

// apart errs when a backup would be part of what it is made of.
func apart(dest, data string) error {
	d, err := filepath.Abs(dest)
	if err != nil {
		return err
	}
	of, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if below, err := filepath.Rel(of, d); err == nil && filepath.IsLocal(below) {
		return fmt.Errorf("%s is in the data directory %s: a backup belongs on another disk", dest, data)
	}
	return nil
}

func (p *Program) makeBackup(cmd *cobra.Command, store *backup.Store, data string) (made backedUp, err error) {
	// Whoever interrupts it takes the checkpoint back, too.
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, _, done, err := p.backend(cmd)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, done()) }()
	c, err := b.Checkpoint(ctx)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, b.DropCheckpoint(cmd.Context())) }()
	file, _ := cmd.Flags().GetString("config")
	about := backup.About{Made: c.Made.UTC(), Version: p.Version, Domain: c.Domain, Node: c.Node, Epoch: c.Epoch, Position: c.Position, Accounts: c.Accounts}
	m, err := store.Add(ctx, about, server.BackupSources(&c, data, file), p.progress(func(done backup.Progress) {
		made.Files, made.Bytes, made.NewFiles, made.NewBytes = done.Files, done.Bytes, done.NewFiles, done.NewBytes
	}))
	if err != nil {
		return made, err
	}
	made.State, made.About = m.Name, m.About
	return made, nil
}

// progress shows how far the copying is, each second.
func (p *Program) progress(also func(backup.Progress)) func(backup.Progress) {
	shown := time.Now()
	return func(done backup.Progress) {
		also(done)
		if time.Since(shown) >= time.Second {
			shown = time.Now()
			fmt.Fprintf(p.Stderr, "%d of %d files, %s of %s\n", done.Files, done.AllFiles, size(done.Bytes), size(done.AllBytes))
		}
	}
}

func (p *Program) listBackups(cmd *cobra.Command, dir string) error {
	store, err := backup.Open(dir)
	if err != nil {
		return err
	}
	err = func() error {
		names, err := store.List()
		if err != nil {
			return err
		}
		asJSON, _ := cmd.Flags().GetBool("json")
		for _, name := range names {
			m, err := store.Read(name)
			switch {
			case err != nil:
				_, err = fmt.Fprintf(p.Stdout, "%s  cannot be used: %v\n", name, err)
			case asJSON:
				err = p.printJSON(backedUp{State: name, About: m.About, Files: len(m.Files), Bytes: m.Bytes()})
			default:
				_, err = fmt.Fprintf(p.Stdout, "%s  %s; accounts %d; files %d, %s; by version %s\n", name, m.Domain, m.Accounts, len(m.Files), size(m.Bytes()), m.Version)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}()
	return errors.Join(err, store.Close())
}

func (p *Program) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore SRC", Short: "Make an empty data directory that of a server that was backed up", Args: cobra.ExactArgs(1),
		Long: `Make the data directory, in which there must be nothing yet, that of the server of which
SRC has backups: the newest state, or the one that --state names. Each file is compared with
what was backed up. The server that is started with it goes on from there; what was said
later is not in it, and who has it on their devices keeps it there.

The server of which the backup is must not run any more: there would be two of it.`,
		RunE: p.runRestore,
	}
	cmd.Flags().String("state", "", "the `NAME` of a state, as 'bavard backup --list SRC' shows it; without it, the newest")
	cmd.Flags().Bool("log-out", false, "let no device in without the password or a recovery code: after a theft. Without it, a device that was shut out since is in again")
	cmd.Flags().Uint16("epoch", 0, "where nothing can be written in SRC: the `NUMBER` of this restore, larger than that of any before")
	return cmd
}

func (p *Program) runRestore(cmd *cobra.Command, args []string) error {
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	store, err := backup.Open(args[0])
	if err != nil {
		return err
	}
	m, err := func() (*backup.Manifest, error) {
		name, _ := cmd.Flags().GetString("state")
		if name == "" {
			if name, err = store.Latest(); err != nil {
				return nil, fmt.Errorf("%s: %w", args[0], err)
			}
		}
		m, err := store.Read(name)
		if err != nil {
			return nil, err
		}
		if cmd.Flags().Changed("domain") && cfg.Domain != m.Domain {
			return nil, fmt.Errorf("the backup is of %s, which is part of each address in it: it cannot become %s", m.Domain, cfg.Domain)
		}
		epoch, err := epochOf(cmd, store, m)
		if err != nil {
			return nil, err
		}
		logOut, _ := cmd.Flags().GetBool("log-out")
		return m, server.Restore(cmd.Context(), &cfg, store, m, epoch, logOut, p.progress(func(backup.Progress) {}))
	}()
	if err := errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = p.Stdout.WriteString(describeRestored(m, cfg.Data, time.Now()))
	return err
}

func epochOf(cmd *cobra.Command, store *backup.Store, m *backup.Manifest) (uint16, error) {
	if given, _ := cmd.Flags().GetUint16("epoch"); given > 0 {
		if given <= m.Epoch {
			return 0, usage(cmd, fmt.Errorf("--epoch: the backup is of epoch %d already", m.Epoch))
		}
		return given, nil
	}
	epoch, err := store.NextEpoch(m)
	if err != nil {
		err = fmt.Errorf("%w: no two restores may have the same number. Copy the backups to where they can be written, or give one with --epoch", err)
	}
	return epoch, err
}

func describeRestored(m *backup.Manifest, data string, now time.Time) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s is that of %s as it was at %s, %s ago: accounts %d; files %d, %s.\n",
		data, m.Domain, m.Made.Local().Format("2006-01-02 15:04:05"), now.Sub(m.Made).Round(time.Second), m.Accounts, len(m.Files), size(m.Bytes()))
	out.WriteString("What was said, set or uploaded since is not in it. ")
	if m.Has("bavard.toml") {
		fmt.Fprintf(&out, "Its configuration was %s.\n", filepath.Join(data, "bavard.toml"))
	} else {
		out.WriteString("It has no configuration file.\n")
	}
	return out.String()
}
