// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root of the module, from this package's directory.
const root = "../.."

// module is the path of ours.
const module = "bavard"

// file is one parsed Go file.
type file struct {
	*ast.File
	path    string // from the root, with slashes
	pkg     string // directory from the root, "." for the root itself
	test    bool
	set     *token.FileSet
	imports map[string]string // local name to import path
}

// at gives file:line of a node.
func (f *file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.set.Position(n.Pos()).Line)
}

// ours gives the package within the module that an import path names, and
// whether it is one.
func ours(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// walk calls do for each file of the project, path from the root.
func walk(t *testing.T, do func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			switch {
			case rel == ".":
			case d.Name() == "node_modules", d.Name() == "testdata", rel == "bin", rel == "data", rel == "web/dist", rel == "dist":
				return fs.SkipDir
			case strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci":
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			do(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses the Go files of the project. Generated ones are left out.
func sources(t *testing.T) []*file {
	t.Helper()
	var all []*file
	walk(t, func(p string) {
		if path.Ext(p) != ".go" {
			return
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root, p), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			return
		}
		if ast.IsGenerated(parsed) {
			return
		}
		f := &file{
			File: parsed, path: p, pkg: path.Dir(p), set: set,
			test: strings.HasSuffix(p, "_test.go"), imports: map[string]string{},
		}
		for _, spec := range parsed.Imports {
			importPath, _ := strconv.Unquote(spec.Path.Value)
			f.imports[localName(spec, importPath)] = importPath
		}
		all = append(all, f)
	})
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: the walk is wrong", len(all))
	}
	return all
}

func localName(spec *ast.ImportSpec, importPath string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	name := path.Base(importPath)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		name = path.Base(path.Dir(importPath)) // a major version
	}
	return name
}

// read gives a text file of the project.
func read(t *testing.T, p string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, p))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
