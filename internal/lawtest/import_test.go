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

// mayImport says what of ours a package may import, besides what is under
// itself. A package of internal that has no row is a feature: see features.
// immutable
var mayImport = []struct{ packages, imports, why string }{
	{words, words, "words import nothing but words"},
	{"internal/route", words, "route decides without I/O: it imports nothing but words"},
	{"internal/journal", words, "the journal carries bytes"},
	{"internal/view", words, "the view folds commands"},
	{"internal/cell", words + " internal/journal internal/view", "the cell joins journal and view"},
	{"internal/dispatch", words + " internal/route internal/archive internal/roster", "dispatch delivers what features have decided"},
	{"internal/mesh", words + " internal/dispatch internal/room", "the mesh takes what dispatch and rooms tell"},
	{"internal/room", features + " internal/lane", "rooms are a feature that hands out much at once"},
	{"internal/lane", "", "it is under everything"},
	{"internal/listen", words, "listen knows streams, not who speaks"},
	{"internal/negotiate", words + " internal/listen internal/account", "negotiate ends where the session begins"},
	{"internal/session", words + " internal/route internal/dispatch", "a session performs effects; it knows no feature"},
	{"internal/datadir", "", "it is under everything"},
	{"internal/health", words, "it is under everything"},
	{"internal/config", words, "it is under everything"},
	{"internal/cert", "internal/datadir internal/health", "certificates know nothing of messages"},
	{"internal/charter", "internal/datadir", "it makes certificates and puts them into the data directory"},
	{"internal/backup", "internal/datadir", "it keeps files, whatever is in them"},
	{"internal/admin", words + " internal/account internal/datadir internal/health", "the operator's surface works on interfaces"},
	{"internal/dashboard", "internal/health", "it shows figures, and knows nothing of messages"},
	{"internal/doctor", "internal/admin internal/charter internal/config internal/datadir", "it looks from outside"},
	{"internal/quickstart", "internal/config", "it writes texts, with the defaults in them"},
	{"internal/cli", "internal/server internal/admin internal/backup internal/charter internal/config internal/datadir internal/doctor internal/health internal/quickstart bench drill", "commands go through the server's surface, or are the load generator's and the drills'"},
	{"internal/server", "internal web", "it puts all together"},
	{"internal/lawtest", "", "it reads, it does not link"},
}

// features is what every other package of internal may import.
const features = words + " internal/route"

// onlyIn says which packages may import what begins with a path.
// immutable
var onlyIn = []struct{ prefix, packages, why string }{
	{"go.etcd.io/", "internal/journal", "only the journal knows etcd"},
	{"github.com/cockroachdb/", "internal/view", "only the view knows Pebble"},
	{"github.com/spf13/", "internal/cli", "only the commands know cobra"},
	{"github.com/pelletier/", "internal/config", "only the configuration knows TOML"},
	{"encoding/xml", "", "its tokens do not round-trip safely: use internal/xmlstream"},
	{"math/rand", "drill bench internal/session internal/cert internal/webpush internal/mesh", "chance is for keys (crypto/rand); math/rand for jitter and drills"},
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
		allowed, why := lawOf(f.pkg)
		for _, imported := range f.imports {
			pkg, is := ours(imported)
			if is && !f.test && !under(pkg, allowed) && !under(pkg, f.pkg) && !under(f.pkg, pkg) {
				t.Errorf("%s imports %s: %s", f.path, pkg, why)
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

// lawOf gives what pkg may import of ours, and why no more.
func lawOf(pkg string) (allowed, why string) {
	if !under(pkg, "internal") {
		return "internal web drill bench spec interop", "" // programs and tests on top of all
	}
	for _, law := range mayImport {
		if under(pkg, law.packages) {
			return law.imports, law.why
		}
	}
	return features, "features import words and route, and declare the interfaces that they need"
}

// The map of the packages is whole.
func TestEachPackageIsInTheArchitecture(t *testing.T) {
	text := read(t, "docs/ARCHITECTURE.md")
	seen := map[string]bool{}
	for _, f := range sources(t) {
		parts := strings.Split(f.pkg, "/")
		name := strings.Join(parts[:min(2, len(parts))], "/")
		if parts[0] != "internal" {
			name = parts[0]
		}
		if f.test || seen[name] || name == "." || name == "scripts" {
			continue
		}
		seen[name] = true
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/ARCHITECTURE.md does not say what %s is for", name)
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
