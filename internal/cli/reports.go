// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"bavard/internal/admin"
)

func (p *Program) userReports() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reports", Short: "List what people report about others, or remove what has been dealt with", Args: cobra.NoArgs,
		Long: `List the reports of spam and abuse that people have made when they blocked somebody,
the newest first, one a line: number, when, who reports, who is reported, why, in
their words; separated by tabs.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, _, done, err := p.backend(cmd)
			if err != nil {
				return err
			}
			if numbers, _ := cmd.Flags().GetUintSlice("remove"); len(numbers) > 0 {
				return errors.Join(removeReports(cmd, b, numbers), done())
			}
			return errors.Join(p.listReports(cmd, b), done())
		},
	}
	cmd.Flags().Bool("json", false, "one JSON object a line")
	cmd.Flags().UintSlice("remove", nil, "remove the reports with these `NUMBERS`, like 3,7")
	return cmd
}

func removeReports(cmd *cobra.Command, b admin.Backend, numbers []uint) error {
	var failed error
	for _, n := range numbers {
		if err := b.RemoveReport(cmd.Context(), uint64(n)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%d: %w", n, err))
		}
	}
	return failed
}

func (p *Program) listReports(cmd *cobra.Command, b admin.Backend) error {
	asJSON, _ := cmd.Flags().GetBool("json")
	for before := uint64(0); ; {
		l, err := b.ListReports(cmd.Context(), before)
		if err != nil {
			return err
		}
		for i := range l.Reports {
			if err := p.printReport(&l.Reports[i], asJSON); err != nil {
				return err
			}
		}
		if !l.More || len(l.Reports) == 0 {
			return nil
		}
		before = l.Reports[len(l.Reports)-1].Number
	}
}

func (p *Program) printReport(r *admin.Report, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(r)
		if err == nil {
			_, err = fmt.Fprintf(p.Stdout, "%s\n", b)
		}
		return err
	}
	reason := strings.TrimPrefix(r.Reason, "urn:xmpp:reporting:")
	_, err := fmt.Fprintf(p.Stdout, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.Time.Local().Format("2006-01-02 15:04"), r.By, r.JID, oneLine(reason), oneLine(r.Text))
	return err
}

// oneLine takes out of a stranger's text what a terminal would act on.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }), " ")
}
