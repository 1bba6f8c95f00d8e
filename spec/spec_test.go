// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// pending are wrong citations, by file, that are about to be put right.
var pending = map[string]string{
	"internal/account/invite.go":  "XEP-0401 §create-invitation", // @0.6.0
	"internal/admin/admin.go":     "XEP-0401 §ibr",               // §account-creation @0.6.0
	"internal/archive/archive.go": "XEP-0059 §protocol",          // §usecases @1.0
	"internal/route/message.go":   "XEP-0297 §usecases",          // @1.0, it has no such anchor
	"internal/state/state.go":     "XEP-0313 §4",                 // §query @1.1.3
}

// Every citation in the sources names a specification of the index, the
// version that the index has, and an anchor that is there.
func TestCitations(t *testing.T) {
	x, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", "dist", "bin", "data", ".git"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".ts", ".svelte", ".proto"}, filepath.Ext(path)) || path == filepath.Join("..", "spec", "spec_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, c := range Citations(string(source)) {
			found++
			name := filepath.ToSlash(path[len("../"):])
			if err := x.Check(c); err != nil && pending[name] != c.ID+" §"+c.Section {
				t.Errorf("%s:%d: %v", name, c.Line, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("%d citations found", found)
	}
}

func TestCitationsAreFound(t *testing.T) {
	source := "// Follows RFC 6120 §6.4.2, as\n" +
		"// XEP-0198\n" +
		"\t// §acking @1.6.3. See RFC 6121\n" +
		"/* RFC7395 §3.3.3) and §3.4, XEP-0280 §inbound @1.0.1, §outbound\n" +
		" * and §security; XEP-0030. XEP-0313 @1.1.3 */\n" +
		"<!-- RFC 3454 §B.1 -->\n"
	want := []Citation{
		{1, "RFC 6120", "6.4.2", ""},
		{2, "XEP-0198", "acking", "1.6.3"},
		{3, "RFC 6121", "", ""},
		{4, "RFC 7395", "3.3.3", ""},
		{4, "XEP-0280", "inbound", "1.0.1"},
		{4, "XEP-0280", "outbound", "1.0.1"},
		{4, "XEP-0280", "security", "1.0.1"},
		{5, "XEP-0030", "", ""},
		{5, "XEP-0313", "", "1.1.3"},
		{6, "RFC 3454", "B.1", ""},
	}
	if got := Citations(source); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestWrongCitations(t *testing.T) {
	x, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{
		"RFC 1", "XEP-9999", "RFC 6120 §acking", "RFC 6120 §4 @1.0", "RFC 6120 §04", "XEP-0198 §acking", "XEP-0198 §acking @1.6", "XEP-0198 §4 @1.6.3",
		"XEP-0198 @1.6.2", "XEP-0198 §acking @1.6.3 and §nothing",
	} {
		var err error
		for _, c := range Citations(source) {
			if e := x.Check(c); e != nil {
				err = e
			}
		}
		if err == nil {
			t.Errorf("%q passes", source)
		}
	}
	for _, source := range []string{"RFC 6120", "RFC 6120 §4.9.3.2", "RFC 3454 §A.1", "XEP-0198", "XEP-0198 §acking @1.6.3", "XEP-0198 @1.6.3"} {
		for _, c := range Citations(source) {
			if err := x.Check(c); err != nil {
				t.Errorf("%q: %v", source, err)
			}
		}
	}
}

func TestIndexIsComplete(t *testing.T) {
	index, err := Index()
	if err != nil {
		t.Fatal(err)
	}
	anchors := Anchors()
	xeps := 0
	for _, e := range index {
		if _, ok := anchors[e.ID]; !ok && !e.RFC() {
			t.Errorf("%s is not in anchors.txt: go run ./spec/refresh", e.ID)
		}
		if !e.RFC() {
			xeps++
		}
	}
	if xeps != len(anchors) {
		t.Errorf("anchors.txt has %d XEPs, the index %d", len(anchors), xeps)
	}
}

func TestComplianceIsNotStale(t *testing.T) {
	index, err := Index()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/compliance.md")
	if err != nil || string(got) != Compliance(index) {
		t.Errorf("docs/compliance.md is stale (%v): go run ./spec/table", err)
	}
}
