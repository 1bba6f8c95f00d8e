// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bavard/internal/config"
	"bavard/internal/doctor"
	"bavard/internal/quickstart"
)

func (p *Program) quickstart() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quickstart DOMAIN",
		Short: "Print what is needed to run for real: DNS, configuration, systemd, firewall",
		Long: `Print what is needed to run bavard for real, with addresses like you@DOMAIN: the
steps, the DNS records, what to open in a firewall, a configuration, a systemd
unit. It changes nothing; with --write it makes files of them.`,
		Args: cobra.ExactArgs(1),
		RunE: p.runQuickstart,
	}
	cmd.Flags().String("host", "", "the `NAME` of the machine, if it is not DOMAIN, like chat.example.org for example.org")
	cmd.Flags().String("write", "", "write the files into `DIR`")
	return cmd
}

func (p *Program) runQuickstart(cmd *cobra.Command, args []string) error {
	host, _ := cmd.Flags().GetString("host")
	plan := quickstart.Plan{}
	for _, n := range []struct {
		from string
		to   *string
	}{{args[0], &plan.Domain}, {host, &plan.Host}} {
		if n.from == "" && n.to == &plan.Host {
			continue
		}
		cfg := config.Default()
		cfg.Domain = n.from
		if err := cfg.Validate(); err != nil || !doctor.Public(cfg.Domain) {
			return &exitError{exitUsage, fmt.Errorf("%q is no name of the public DNS: use one like chat.example.org", n.from)}
		}
		*n.to = cfg.Domain
	}
	// Without addresses there are places to fill in.
	plan.Addresses, _ = doctor.Interfaces()
	files, err := plan.Files()
	if err != nil {
		return err
	}
	if dir, _ := cmd.Flags().GetString("write"); dir != "" {
		if err := quickstart.Write(dir, files); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.Stdout, "Written to %s. Begin with %s/steps.txt.\n", dir, strings.TrimRight(dir, "/"))
		return err
	}
	var out strings.Builder
	for i, f := range files {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "==== %s (%s)\n\n%s", f.Title, f.Name, f.Text)
	}
	if _, err := p.Stdout.WriteString(out.String()); err != nil {
		return err
	}
	fmt.Fprintln(p.Stderr, "\nThe same as files: add --write DIR.")
	return nil
}
