// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/datadir"
)

func (p *Program) cellRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NODE", Short: "Take another node out of the cell", Args: cobra.ExactArgs(1),
		Long: `Take NODE out of the cell that the node here is of, whether NODE runs or not. It ends
then, and does not take part any more; the others go on. It is refused when those that
are left would be no majority. It is said to be done when a majority of these has all
that was acknowledged. Given again, it goes on where it was.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.dialNode(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			if err := client.RemoveNode(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "node %s is not in the cell any more; on its machine, `systemctl disable --now bavard`, and remove its data\n", args[0])
			return err
		},
	}
}

func (p *Program) cellAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add NODE", Short: "Permit a node that was removed to come back", Args: cobra.ExactArgs(1),
		Long: `Permit NODE, which was taken out of the cell by 'bavard cell remove', to be let in
again: with an empty data directory, by 'bavard cell join --again' with the copy of its
bundle, on whichever machine cell.nodes says. A node that has never been in the cell
needs no permission.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.dialNode(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			if err := client.AddNode(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "node %s may come back: `bavard cell join --again` with the copy of its bundle, into an empty data directory, then start it\n", args[0])
			return err
		},
	}
}

// dialNode reaches the server that runs here.
func (p *Program) dialNode(cmd *cobra.Command) (*admin.Client, error) {
	cfg, err := configure(cmd)
	if err != nil {
		return nil, err
	}
	return admin.Dial(cmd.Context(), datadir.AdminSocket(cfg.Data))
}
