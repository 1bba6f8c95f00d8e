// SPDX-License-Identifier: Apache-2.0

// Package spec knows which specifications bavard implements, and how much of
// each: index.txt. Its test holds every citation in the sources against that
// index; docs/compliance.md is made from it. Nothing of the server imports it.
package spec

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed index.txt
var indexText string

//go:embed anchors.txt
var anchorsText string

// Status says how much of a specification the tree implements.
type Status string

// Statuses. Yes is everything that the specification demands of a server.
const (
	Yes     Status = "Yes"
	Partial Status = "Partial"
	No      Status = "No"
)

// Entry is a specification of the index.
type Entry struct {
	ID      string // "RFC 6120" or "XEP-0198"
	Version string // of a XEP; "" for an RFC
	Status  Status
	Title   string
	Note    string // may be ""
	Group   string
}

// RFC reports whether the specification is an RFC; else it is a XEP.
func (e *Entry) RFC() bool { return strings.HasPrefix(e.ID, "RFC ") }

var (
	rfcID      = regexp.MustCompile(`^RFC [1-9][0-9]{0,4}$`)
	xepID      = regexp.MustCompile(`^XEP-[0-9]{4}$`)
	xepVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)
)

// Index reads index.txt.
func Index() ([]Entry, error) {
	var out []Entry
	seen := map[string]bool{}
	group := ""
	for i, line := range strings.Split(indexText, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			group = name
			continue
		}
		e, err := parseEntry(line)
		if err == nil && (seen[e.ID] || group == "") {
			err = fmt.Errorf("%s is there twice, or in no group", e.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("index.txt:%d: %w", i+1, err)
		}
		seen[e.ID] = true
		e.Group = group
		out = append(out, e)
	}
	return out, nil
}

func parseEntry(line string) (Entry, error) {
	f := strings.Split(line, "\t")
	if len(f) == 4 {
		f = append(f, "")
	}
	if len(f) != 5 {
		return Entry{}, fmt.Errorf("%d fields, want specification, version, status, title and note between tabs", len(f))
	}
	e := Entry{ID: f[0], Version: f[1], Status: Status(f[2]), Title: f[3], Note: f[4]}
	switch {
	case e.Status != Yes && e.Status != Partial && e.Status != No:
		return e, fmt.Errorf("%s: the status is Yes, Partial or No", e.ID)
	case rfcID.MatchString(e.ID) && e.Version == "", xepID.MatchString(e.ID) && xepVersion.MatchString(e.Version):
	default:
		return e, fmt.Errorf("%s %s: want an RFC without version or a XEP with one", e.ID, e.Version)
	}
	if e.Title == "" {
		return e, fmt.Errorf("%s: no title", e.ID)
	}
	if e.Status == Partial && e.Note == "" {
		return e, fmt.Errorf("%s: partial, but the note does not say how", e.ID)
	}
	return e, nil
}

// Anchors reads anchors.txt: the section anchors of each XEP.
func Anchors() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for line := range strings.Lines(anchorsText) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		set := map[string]bool{}
		for _, a := range f[1:] {
			set[a] = true
		}
		out[f[0]] = set
	}
	return out
}
