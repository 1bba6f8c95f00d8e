// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// Several nodes run in one test process: a package-level variable is allowed
// only if nothing ever changes it.
func TestNoPackageHasMutableState(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if !constant(decl, spec) {
					t.Errorf("%s: package-level variable %s: hand it on instead, or say // immutable if nothing changes it", f.at(spec), spec.Names[0])
				}
			}
		}
	}
}

// constant reports whether a package-level variable never changes: errors,
// compiled expressions, embedded files, assertions of interfaces, and what says
// that it is immutable.
func constant(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, group := range []*ast.CommentGroup{decl.Doc, spec.Doc, spec.Comment} {
		if group == nil {
			continue
		}
		for _, c := range group.List {
			if strings.Contains(strings.ToLower(c.Text), "immutable") || strings.HasPrefix(c.Text, "//go:embed") {
				return true
			}
		}
	}
	for i, name := range spec.Names {
		if name.Name == "_" {
			continue
		}
		if i >= len(spec.Values) || !constantValue(spec.Values[i]) {
			return false
		}
	}
	return true
}

func constantValue(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := fun.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch pkg.Name + "." + fun.Sel.Name {
	case "errors.New", "fmt.Errorf", "regexp.MustCompile", "netip.MustParseAddr", "netip.MustParsePrefix", "strings.NewReplacer", "flag.Int", "flag.Bool", "flag.String", "flag.Duration":
		return true
	}
	return false
}

// Tests wait for what they want to see, or run on fake time.
func TestNoTestSleeps(t *testing.T) {
	for _, f := range sources(t) {
		fake := false
		for _, imported := range f.imports {
			fake = fake || imported == "testing/synctest"
		}
		if !f.test || fake {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && f.selects(sel, "time", "Sleep") {
				t.Errorf("%s sleeps: wait for a condition, or use testing/synctest", f.at(sel))
			}
			return true
		})
	}
}

// selects reports whether sel is name of the package imported as importPath.
func (f *file) selects(sel *ast.SelectorExpr, importPath, name string) bool {
	id, ok := sel.X.(*ast.Ident)
	return ok && f.imports[id.Name] == importPath && sel.Sel.Name == name
}
