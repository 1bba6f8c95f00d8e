// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
)

// onUser is a command on one account.
func (p *Program) onUser(use, short, long string, change func(*cobra.Command, admin.Backend, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, done, err := p.backend(cmd)
			if err != nil {
				return err
			}
			if err = change(cmd, b, args[0]); err != nil {
				err = fmt.Errorf("%s: %w", args[0], err)
			}
			return errors.Join(err, done())
		},
	}
}

// tell prints the address of an account that was changed.
func (p *Program) tell(address string, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(p.Stdout, address)
	}
	return err
}

func (p *Program) userPasswd() *cobra.Command {
	cmd := p.onUser("passwd NAME", "Set the password of an account",
		`Set the password of an account. It is asked for on a terminal; an empty one, or no
terminal, has one made and printed. The account's devices have to log in again.`,
		func(cmd *cobra.Command, b admin.Backend, name string) error {
			password, made, err := p.password(cmd, name)
			if err != nil {
				return err
			}
			address, err := b.SetPassword(cmd.Context(), name, password)
			if err != nil || !made {
				return p.tell(address, err)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s\t%s\n", address, password)
			fmt.Fprintln(p.Stderr, "The password is shown this once; it is not stored.")
			return err
		})
	cmd.Flags().Bool("password-stdin", false, "read the password from the first line of standard input")
	cmd.Flags().Bool("generate", false, "make a password and print it, without asking")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate")
	return cmd
}

func (p *Program) userEnable(enabled bool) *cobra.Command {
	use, short, long := "disable NAME", "Switch an account off", `Switch an account off: its sessions end and nobody can log in to it. Messages
to it are still accepted, and are there once it is switched on again.`
	if enabled {
		use, short, long = "enable NAME", "Switch an account on again", ""
	}
	return p.onUser(use, short, long, func(cmd *cobra.Command, b admin.Backend, name string) error {
		return p.tell(b.SetEnabled(cmd.Context(), name, enabled))
	})
}

func (p *Program) userDelete() *cobra.Command {
	cmd := p.onUser("delete NAME", "Remove an account for good",
		`Remove an account and all that is its own: its keys, contacts, blocklist, vCard and
archive. What it wrote to others stays in their archives. There is no way back.`,
		func(cmd *cobra.Command, b admin.Backend, name string) error {
			if yes, _ := cmd.Flags().GetBool("yes"); !yes {
				if !isTerminal(p.Stdin) {
					return errors.New("say --yes: there is no way back")
				}
				fmt.Fprintf(p.Stderr, "This removes the account for good. Type %q to go on: ", name)
				typed, err := readTerminalLine(p.Stdin)
				if err != nil {
					return err
				}
				if typed != name {
					return errors.New("nothing was done")
				}
			}
			return p.tell(b.DeleteUser(cmd.Context(), name))
		})
	cmd.Flags().Bool("yes", false, "do not ask")
	return cmd
}

func (p *Program) userList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the accounts", Args: cobra.NoArgs,
		Long: `List the accounts, one a line: address, when it was made, "disabled" if it is, name;
separated by tabs.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, _, done, err := p.backend(cmd)
			if err != nil {
				return err
			}
			return errors.Join(p.listUsers(cmd, b), done())
		},
	}
	cmd.Flags().Bool("json", false, "one JSON object a line")
	return cmd
}

func (p *Program) listUsers(cmd *cobra.Command, b admin.Backend) error {
	asJSON, _ := cmd.Flags().GetBool("json")
	for after := ""; ; {
		l, err := b.ListUsers(cmd.Context(), after)
		if err != nil {
			return err
		}
		for i := range l.Accounts {
			if err := p.printUser(&l.Accounts[i], asJSON); err != nil {
				return err
			}
		}
		if !l.More || len(l.Accounts) == 0 {
			return nil
		}
		after = l.Accounts[len(l.Accounts)-1].Address
	}
}

func (p *Program) printUser(a *admin.Listed, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(a)
		if err == nil {
			_, err = fmt.Fprintf(p.Stdout, "%s\n", b)
		}
		return err
	}
	state := ""
	if a.Disabled {
		state = "disabled"
	}
	_, err := fmt.Fprintf(p.Stdout, "%s\t%s\t%s\t%s\n", a.Address, a.Created.Local().Format("2006-01-02 15:04"), state, a.Name)
	return err
}
