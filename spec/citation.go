// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// Citation is a specification named in a source.
type Citation struct {
	Line    int    // 1 is the first
	ID      string // "RFC 6120" or "XEP-0198"
	Section string // section number or anchor; may be ""
	Version string // of a XEP; may be ""
}

var (
	// In a text whose white space is single spaces.
	cited = regexp.MustCompile(`\b(RFC ?[0-9]+|XEP-[0-9]{4})\b(?: §(` + section + `))?(?: @(` + version + `))?`)
	// More sections of the same specification: ", §outbound" or " and §8.5.3".
	more = regexp.MustCompile(`^(?:,| and| or| to)+ §(` + section + `)(?: @(` + version + `))?`)

	rfcSection = regexp.MustCompile(`^([1-9][0-9]*|[A-Z])(\.[1-9][0-9]*)*$`)
)

const (
	section = `[A-Za-z0-9](?:[A-Za-z0-9_.:#-]*[A-Za-z0-9])?`
	version = `[0-9]+(?:\.[0-9]+)*`
)

// Citations finds the citations in a source. They may go on in the next line
// of a comment.
func Citations(source string) []Citation {
	text, starts := flow(source)
	var out []Citation
	for _, m := range cited.FindAllStringSubmatchIndex(text, -1) {
		group := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		id := group(1)
		if n, ok := strings.CutPrefix(id, "RFC"); ok {
			id = "RFC " + strings.TrimSpace(n)
		}
		c := Citation{Line: sort.SearchInts(starts, m[0]+1), ID: id, Section: group(2), Version: group(3)}
		out = append(out, c)
		for rest := text[m[1]:]; ; {
			n := more.FindStringSubmatch(rest)
			if n == nil {
				break
			}
			if n[2] != "" {
				c.Version = n[2]
			}
			c.Section = n[1]
			out = append(out, c)
			rest = rest[len(n[0]):]
		}
	}
	return out
}

// flow joins the lines of a source, without what marks comments, into one text
// with single spaces. starts is where each line begins in it.
func flow(source string) (text string, starts []int) {
	var b strings.Builder
	for line := range strings.Lines(source) {
		starts = append(starts, b.Len())
		for i, word := range strings.Fields(line) {
			if i == 0 && strings.Trim(word, "/*#<!-") == "" {
				continue
			}
			b.WriteString(word)
			b.WriteByte(' ')
		}
	}
	return b.String(), starts
}

// Checker holds citations against the index.
type Checker struct {
	entries map[string]Entry
	anchors map[string]map[string]bool
}

// NewChecker reads the index.
func NewChecker() (*Checker, error) {
	index, err := Index()
	if err != nil {
		return nil, err
	}
	c := &Checker{entries: map[string]Entry{}, anchors: Anchors()}
	for _, e := range index {
		c.entries[e.ID] = e
	}
	return c, nil
}

// Check says what is wrong with a citation.
func (x *Checker) Check(c Citation) error {
	e, ok := x.entries[c.ID]
	switch {
	case !ok:
		return fmt.Errorf("%s is not in spec/index.txt", c.ID)
	case e.RFC() && c.Version != "":
		return fmt.Errorf("%s has no versions", c.ID)
	case e.RFC():
		if c.Section != "" && !rfcSection.MatchString(c.Section) {
			return fmt.Errorf("%s §%s is not the number of a section", c.ID, c.Section)
		}
		return nil
	case c.Section != "" && !x.anchors[c.ID][c.Section]:
		return fmt.Errorf("%s @%s has no anchor %s", c.ID, e.Version, c.Section)
	case c.Section != "" && c.Version == "":
		return fmt.Errorf("%s §%s is cited without version: add @%s, if that is what the code follows", c.ID, c.Section, e.Version)
	case c.Version != "" && c.Version != e.Version:
		return fmt.Errorf("%s is cited @%s, the index has %s", c.ID, c.Version, e.Version)
	}
	return nil
}
