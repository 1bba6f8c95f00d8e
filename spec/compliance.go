// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"strings"
)

// Compliance renders the index for the public, in Markdown.
func Compliance(index []Entry) string {
	var b strings.Builder
	b.WriteString("<!-- Made from spec/index.txt by `go run ./spec/table`. -->\n\n# What bavard speaks\n\n")
	b.WriteString("*Yes* means everything that the specification demands of a server; *Partial* says what is there or what is\n" +
		"missing; *No* means not yet, unless the note says more.\n")
	group := ""
	for i := range index {
		e := &index[i]
		if e.Group != group {
			group = e.Group
			fmt.Fprintf(&b, "\n## %s\n\n| specification | version | status | title | |\n|---|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s | %s | %s |\n", e.ID, e.URL(), e.Version, e.Status, cell(e.Title), cell(e.Note))
	}
	return b.String()
}

// URL is where the specification is published.
func (e *Entry) URL() string {
	if e.RFC() {
		return "https://www.rfc-editor.org/rfc/rfc" + strings.TrimPrefix(e.ID, "RFC ")
	}
	return "https://xmpp.org/extensions/" + strings.ToLower(e.ID) + ".html"
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}
