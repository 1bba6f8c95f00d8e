// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/doctor"
)

func (p *Program) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with this machine and installation",
		Long: `Look at the configuration, the disk, the limits of the process, the clock, the
ports, the certificate, DNS, whether clients get through, and the server if one
runs; say for each what to do. It writes a small file in the data directory and
removes it, and changes nothing.

Exit code 0: no problem; 1: there are problems.`,
		Args: cobra.NoArgs,
		RunE: p.runDoctor,
	}
	cmd.Flags().Bool("json", false, "print an object")
	cmd.Flags().Bool("local", false, "leave out DNS and what is beyond this machine")
	return cmd
}

func (p *Program) runDoctor(cmd *cobra.Command, _ []string) error {
	cfg, mistakes := configure(cmd)
	o := doctor.Options{Config: cfg, Mistakes: mistakes, Status: func(ctx context.Context) (admin.Status, error) { return askStatus(ctx, cfg) }}
	o.File, _ = cmd.Flags().GetString("config")
	o.Local, _ = cmd.Flags().GetBool("local")
	found := doctor.Examine(cmd.Context(), o)
	problems := 0
	for _, f := range found {
		if f.Level == doctor.Problem {
			problems++
		}
	}
	var err error
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		err = p.printJSON(struct {
			Problems int              `json:"problems"`
			Findings []doctor.Finding `json:"findings"`
		}{problems, found})
	} else {
		_, err = p.Stdout.WriteString(describeFindings(found, p.width()))
	}
	if err == nil && problems > 0 {
		err = &exitError{code: exitFailed}
	}
	return err
}

func askStatus(ctx context.Context, cfg config.Config) (admin.Status, error) {
	client, err := admin.Dial(ctx, datadir.AdminSocket(cfg.Data))
	if err != nil {
		return admin.Status{}, err
	}
	s, err := client.Status(ctx)
	return s, errors.Join(err, client.Close())
}

// width of the terminal that a person reads on, 0 when what is printed goes
// elsewhere.
func (p *Program) width() int {
	if !isTerminal(p.Stdout) {
		return 0
	}
	text, err := stty(p.Stdout, "size")
	if _, columns, ok := strings.Cut(text, " "); err == nil && ok {
		if n, err := strconv.Atoi(columns); err == nil && n >= 40 {
			return n
		}
	}
	return 80
}

// describeFindings writes findings for a person, in lines of at most width
// columns, 0 for one line each.
func describeFindings(found []doctor.Finding, width int) string {
	var out strings.Builder
	count := map[doctor.Level]int{}
	for _, f := range found {
		count[f.Level]++
		const indent = 28
		text := fmt.Sprintf("%-12s %-14s %s", f.Level, f.About, f.Text)
		out.WriteString(wrap(text, indent, width))
		if f.Hint != "" {
			out.WriteString(wrap(strings.Repeat(" ", indent-1)+"→ "+f.Hint, indent+1, width))
		}
	}
	fmt.Fprintf(&out, "\n%s, %s, %d not checked\n",
		counted(count[doctor.Problem], "problem"), counted(count[doctor.Warning], "warning"), count[doctor.Unchecked])
	return out.String()
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// wrap breaks a line between words, and indents what comes after the first.
func wrap(text string, indent, width int) string {
	var out strings.Builder
	if width > 0 {
		width = max(width, indent+30)
	}
	for line := []rune(text); ; line = append([]rune(strings.Repeat(" ", indent)), line...) {
		if width == 0 || len(line) <= width {
			out.WriteString(string(line) + "\n")
			return out.String()
		}
		cut := width
		for cut > indent && line[cut] != ' ' {
			cut--
		}
		if cut == indent { // one long word
			cut = width
		}
		out.WriteString(strings.TrimRight(string(line[:cut]), " ") + "\n")
		line = []rune(strings.TrimLeft(string(line[cut:]), " "))
	}
}
