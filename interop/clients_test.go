// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestClientsTable: docs/clients.md names every test that drives a client and no
// other, and the libraries at the versions that are installed.
func TestClientsTable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	versions := map[string]string{}
	link := regexp.MustCompile(`\[([^]]+)\]`)
	for row := range strings.Lines(string(doc)) {
		cells := strings.Split(row, "|")
		if len(cells) != 7 || !strings.Contains(cells[3], "Test") {
			continue
		}
		if client := link.FindStringSubmatch(cells[1]); client != nil {
			versions[client[1]] = strings.TrimSpace(cells[2])
		}
		for name := range strings.SplitSeq(cells[3], ",") {
			named[strings.TrimSpace(name)] = true
		}
	}
	tests := testNames(t)
	for _, name := range tests {
		if !named[name] {
			t.Errorf("docs/clients.md does not name %s", name)
		}
	}
	for name := range named {
		if !slices.Contains(tests, name) {
			t.Errorf("docs/clients.md names %s, which is no test", name)
		}
	}
	var packages struct{ Dependencies, DevDependencies map[string]string }
	data, err := os.ReadFile(filepath.Join("node", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &packages); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"strophe.js", "@xmpp/client", "stanza", "converse.js"} {
		installed := packages.Dependencies[name] + packages.DevDependencies[name]
		if versions[name] != installed {
			t.Errorf("docs/clients.md has %s %s; installed is %s", name, versions[name], installed)
		}
	}
}

// testNames lists the tests of this package that drive clients.
func testNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	var names []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			if m[1] != t.Name() {
				names = append(names, m[1])
			}
		}
	}
	return names
}
