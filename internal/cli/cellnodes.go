// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/datadir"
)

func (p *Program) cellRemove() *cobra.Command {
	return p.aboutNode(&cobra.Command{
		Use: "remove NODE", Short: "Take another node out of the cell",
		Long: `Take NODE out of the cell that the node here is of, whether NODE runs or not. It ends
then, and does not take part any more; the others go on. It is refused when those that
are left would be no majority. It is said to be done when a majority of these has all
that was acknowledged. Given again, it goes on where it was.`,
	}, (*admin.Client).RemoveNode, "node %s is not in the cell any more; on its machine, `systemctl disable --now bavard`, and remove its data\n")
}

func (p *Program) cellAdd() *cobra.Command {
	return p.aboutNode(&cobra.Command{
		Use: "add NODE", Short: "Permit a node that was removed to come back",
		Long: `Permit NODE, which was taken out of the cell by 'bavard cell remove', to be let in
again: with an empty data directory, by 'bavard cell join --again' with the copy of its
bundle, on whichever machine cell.nodes says. A node that has never been in the cell
needs no permission.`,
	}, (*admin.Client).AddNode, "node %s may come back: `bavard cell join --again` with the copy of its bundle, into an empty data directory, then start it\n")
}

// aboutNode completes a command that asks the server here for something about another node; done
// is what it prints with that one's name.
func (p *Program) aboutNode(cmd *cobra.Command, ask func(*admin.Client, context.Context, string) error, done string) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := dialServer(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := ask(client, cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Stdout, done, args[0])
		return err
	}
	return cmd
}

// dialServer reaches the server that runs here.
func dialServer(cmd *cobra.Command) (*admin.Client, error) {
	cfg, err := configure(cmd)
	if err != nil {
		return nil, err
	}
	return admin.Dial(cmd.Context(), datadir.AdminSocket(cfg.Data))
}
