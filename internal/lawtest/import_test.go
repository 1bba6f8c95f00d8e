// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The words: addresses, XML, stanzas, commands, what a view hands out.
const words = "internal/jid internal/xmlstream internal/stanza internal/command internal/state"

// mayImport says which packages of ours a package may import, besides those
// under itself. A package that is not here may import any: it puts together.
// immutable
var mayImport = []struct{ packages, imports, why string }{
	{words, words, "words import nothing but words"},
	{"internal/route", words, "route decides without I/O: it imports nothing but words"},
	{
		"internal/account internal/archive internal/blocking internal/chat internal/host internal/invite internal/lastactivity internal/pubsub internal/roster internal/vcard",
		words + " internal/route", "features declare the interfaces that they need",
	},
	{"internal/journal", words, "the journal carries bytes"},
	{"internal/view", words, "the view folds commands"},
	{"internal/config", words + " internal/datadir", "everything else imports it"},
	{"internal/datadir", "", "everything else imports it"},
	{"internal/health", words, "everything else imports it"},
	{"internal/cert", "internal/datadir internal/health", "certificates know nothing of messages"},
	{"internal/admin", words + " internal/account internal/datadir internal/health", "the operator's surface works on interfaces"},
}

// onlyIn says which packages may import what begins with a path.
// immutable
var onlyIn = []struct{ prefix, packages, why string }{
	{"go.etcd.io/", "internal/journal", "only the journal knows etcd"},
	{"github.com/cockroachdb/", "internal/view", "only the view knows Pebble"},
	{"github.com/spf13/", "internal/cli", "only the commands know cobra"},
	{"github.com/pelletier/", "internal/config", "only the configuration knows TOML"},
	{"encoding/xml", "", "its tokens do not round-trip safely: use internal/xmlstream"},
	{"math/rand", "drill bench internal/session", "chance is for keys (crypto/rand); math/rand for jitter and drills"},
	{"log", "", "log/slog, through a logger that is handed on"},
	{"unsafe", "", "there is no need"},
}

// under reports whether pkg is one of the space-separated packages or under it.
func under(pkg, packages string) bool {
	return slices.ContainsFunc(strings.Fields(packages), func(p string) bool {
		return pkg == p || strings.HasPrefix(pkg, p+"/")
	})
}

func TestImportLaw(t *testing.T) {
	for _, f := range sources(t) {
		for _, law := range mayImport {
			if f.test || !under(f.pkg, law.packages) {
				continue
			}
			for _, imported := range f.imports {
				pkg, is := ours(imported)
				if is && !under(pkg, law.imports) && !under(pkg, f.pkg) && !under(f.pkg, pkg) {
					t.Errorf("%s imports %s: %s", f.path, pkg, law.why)
				}
			}
		}
		for _, law := range onlyIn {
			for _, imported := range f.imports {
				exact := !strings.HasSuffix(law.prefix, "/")
				hit := imported == law.prefix || strings.HasPrefix(imported, strings.TrimSuffix(law.prefix, "/")+"/")
				if law.prefix == "log" && imported != "log" { // log/slog is well
					hit = false
				}
				if f.test && imported == "github.com/cockroachdb/pebble/v2/vfs" { // a disk in memory
					hit = false
				}
				if hit && !under(f.pkg, law.packages) && !(f.test && exact) {
					t.Errorf("%s imports %s: %s", f.path, imported, law.why)
				}
			}
		}
	}
}

// Nothing that is compiled in may depend on what only tests need.
func TestTestOnlyPackagesStayInTests(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			pkg, _ := ours(imported)
			testOnly := imported == "testing" || strings.HasPrefix(imported, "pgregory.net/rapid") ||
				strings.HasSuffix(pkg, "test") && pkg != ""
			if testOnly && !f.test && !strings.HasSuffix(f.pkg, "test") && !under(f.pkg, "drill interop bench") {
				t.Errorf("%s imports %s, which is for tests", f.path, imported)
			}
		}
	}
}

// Each module that our code imports has its reason in docs/decisions.
func TestEachDependencyHasItsReason(t *testing.T) {
	records, err := filepath.Glob(filepath.Join(root, "docs/decisions/*.md"))
	if err != nil || len(records) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	var decisions strings.Builder
	for _, r := range records {
		text, err := os.ReadFile(r)
		if err != nil {
			t.Fatal(err)
		}
		decisions.Write(text)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+\.\S+) v`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		modules = append(modules, m[1])
	}
	missing := map[string]string{}
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				continue // standard library or ours
			}
			var of string
			for _, m := range modules {
				if (imported == m || strings.HasPrefix(imported, m+"/")) && len(m) > len(of) {
					of = m
				}
			}
			if of == "" || !strings.Contains(decisions.String(), "`"+of+"`") {
				missing[imported] = f.path
			}
		}
	}
	for imported, by := range missing {
		t.Errorf("%s, imported by %s, has no reason in docs/decisions (or is not in go.mod)", imported, by)
	}
}

// A warning that nothing raises is a promise to operators that is not kept.
func TestEachWarningIsRaised(t *testing.T) {
	raised := map[string]bool{}
	var kinds []string
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := sel.X.(*ast.Ident); ok && f.imports[id.Name] == module+"/internal/health" {
					raised[sel.Sel.Name] = true
				}
			}
			if kv, ok := n.(*ast.KeyValueExpr); ok && f.path == "internal/health/warnings.go" {
				if key, ok := kv.Key.(*ast.Ident); ok {
					if _, ok := kv.Value.(*ast.CompositeLit); ok {
						kinds = append(kinds, key.Name)
					}
				}
			}
			return true
		})
	}
	if len(kinds) == 0 {
		t.Fatal("no kinds found")
	}
	for _, k := range kinds {
		if !raised[k] {
			t.Errorf("health.%s is raised nowhere", k)
		}
	}
}
