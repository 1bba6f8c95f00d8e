// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
)

// maxPasswordLine bounds a password that is read, in bytes.
const maxPasswordLine = 4 << 10

func (p *Program) user() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make and manage accounts, while the server runs or not",
		Args:  group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &exitError{code: exitUsage}
		},
	}
	cmd.AddCommand(p.userAdd(), p.userImport(), p.userList(), p.userPasswd(), p.userEnable(false), p.userEnable(true), p.userDelete(), p.userReports())
	return cmd
}

func (p *Program) userAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make one account",
		Long: `Make the account NAME@DOMAIN. The password is asked for on a terminal; an empty
one, or no terminal, has one made and printed. Passwords are never stored: only
the keys that SCRAM (RFC 5802) checks them with.`,
		Args: cobra.ExactArgs(1),
		RunE: p.runUserAdd,
	}
	cmd.Flags().Bool("password-stdin", false, "read the password from the first line of standard input")
	cmd.Flags().Bool("generate", false, "make a password and print it, without asking")
	cmd.Flags().String("name", "", "the `NAME` that people see")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate")
	return cmd
}

func (p *Program) runUserAdd(cmd *cobra.Command, args []string) error {
	backend, _, done, err := p.backend(cmd)
	if err != nil {
		return err
	}
	err = p.addUser(cmd, backend, args[0])
	return errors.Join(err, done())
}

func (p *Program) addUser(cmd *cobra.Command, b admin.Backend, local string) error {
	local, domain, hasDomain := strings.Cut(local, "@")
	if hasDomain {
		s, err := b.Status(cmd.Context())
		if err != nil {
			return err
		}
		if domain != s.Domain {
			return fmt.Errorf("this server is for addresses @%s, not @%s", s.Domain, domain)
		}
	}
	password, made, err := p.password(cmd, local)
	if err != nil {
		return err
	}
	name, _ := cmd.Flags().GetString("name")
	address, err := b.AddUser(cmd.Context(), admin.User{Localpart: local, Password: password, Name: name})
	if err != nil {
		return fmt.Errorf("%s: %w", local, err)
	}
	if made {
		_, err = fmt.Fprintf(p.Stdout, "%s\t%s\n", address, password)
		fmt.Fprintln(p.Stderr, "The password is shown this once; it is not stored.")
		return err
	}
	_, err = fmt.Fprintln(p.Stdout, address)
	return err
}

// password reads or makes the password of a new account.
func (p *Program) password(cmd *cobra.Command, local string) (password string, made bool, err error) {
	if fromStdin, _ := cmd.Flags().GetBool("password-stdin"); fromStdin {
		password, err = readLine(p.Stdin)
		if err == nil && password == "" {
			err = errors.New("the first line of standard input is empty: it is to hold the password")
		}
		return password, false, err
	}
	generate, _ := cmd.Flags().GetBool("generate")
	if !generate && isTerminal(p.Stdin) {
		password, err = p.askHidden("Password for " + local + " (empty: one is made): ")
		if err != nil {
			return "", false, err
		}
	}
	if password != "" {
		again, err := p.askHidden("Once more: ")
		if err == nil && again != password {
			err = errors.New("the two passwords differ: nothing was done")
		}
		return password, false, err
	}
	return rand.Text(), true, nil // 130 random bits
}

// readLine reads one line, without its end, and not a byte more than it may.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) == maxPasswordLine {
		return "", errors.New("the password is too long")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (p *Program) userImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Make an account for each line of a file",
		Long: `Make an account for each line "localpart<TAB>password" of FILE, or of standard
input for "-". In a FILE that ends in .ndjson, lines are like
{"localpart":"alice","password":"…","name":"Alice"}.

Existing accounts are left as they are, so an interrupted import is simply run
again. Lines that cannot be used are reported by number; the others are done,
and the exit code is 1.`,
		Args: cobra.ExactArgs(1),
		RunE: p.runUserImport,
	}
}

func (p *Program) runUserImport(cmd *cobra.Command, args []string) error {
	src, name := p.Stdin, "standard input"
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		src, name = f, args[0]
	}
	format := admin.TSV
	if ext := filepath.Ext(args[0]); ext == ".ndjson" || ext == ".jsonl" {
		format = admin.NDJSON
	}
	backend, _, done, err := p.backend(cmd)
	if err != nil {
		return err
	}
	began := time.Now()
	r := importReport{p: p, name: name, live: isTerminal(p.Stderr)}
	progress, err := backend.Import(cmd.Context(), src, format, r.event)
	r.end(progress, time.Since(began))
	if err != nil {
		err = fmt.Errorf("%s: %w\nwhat was made stays: run the same command again to go on", name, err)
	} else if progress.Bad > 0 {
		err = &exitError{code: exitFailed}
	}
	return errors.Join(err, done())
}

// importReport tells of an import on standard error.
type importReport struct {
	p        *Program
	name     string
	live     bool // on a terminal: progress in place
	existing int  // told of
}

// maxExisting bounds how many existing accounts are told of by line.
const maxExisting = 10

func (r *importReport) event(e admin.ImportEvent) {
	clearLine := ""
	if r.live {
		clearLine = "\r\x1b[K"
	}
	if e.Problem != nil {
		tell := true
		if e.Problem.Code == admin.CodeExists {
			r.existing++
			tell = r.existing <= maxExisting
		}
		if tell {
			fmt.Fprintf(r.p.Stderr, "%s%s:%d: %s\n", clearLine, r.name, e.Line, e.Problem)
		}
	}
	if r.live {
		fmt.Fprintf(r.p.Stderr, "%s%d made, %d lines read", clearLine, e.Progress.Added, e.Progress.Read)
	}
}

func (r *importReport) end(done admin.Progress, took time.Duration) {
	if r.live {
		fmt.Fprint(r.p.Stderr, "\r\x1b[K")
	}
	fmt.Fprintf(r.p.Stderr, "%d accounts made, %d were there already, %d lines were bad; %.1f s\n",
		done.Added, done.Existing, done.Bad, took.Seconds())
}
