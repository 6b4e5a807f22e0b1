package finding_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/onsi/gomega"

	"proxyproof/harness/finding"
)

var update = flag.Bool("update", false, "write docs/findings.md anew")

const document = "../../docs/findings.md"

func TestCatalogueIsComplete(t *testing.T) {
	g := gomega.NewWithT(t)
	seen := map[finding.ID]bool{}
	for _, e := range finding.Catalogue() {
		g.Expect(seen[e.ID]).To(gomega.BeFalse(), "%s is in the catalogue twice", e.ID)
		seen[e.ID] = true
		for what, text := range map[string]string{"summary": e.Summary, "meaning": e.Meaning, "place to look at": e.LookAt} {
			g.Expect(strings.HasSuffix(text, ".")).To(gomega.BeTrue(), "the %s of %s is no sentence: %q", what, e.ID, text)
		}
	}
	for id, where := range raised(t) {
		g.Expect(seen[id]).To(gomega.BeTrue(), "finding %s, raised in %s, is not in the catalogue", id, where)
	}
}

func TestDocumentIsFresh(t *testing.T) {
	g := gomega.NewWithT(t)
	want := markdown(finding.Catalogue())
	if *update {
		g.Expect(os.WriteFile(document, []byte(want), 0o644)).To(gomega.Succeed())
	}
	have, err := os.ReadFile(document)
	g.Expect(err).NotTo(gomega.HaveOccurred())
	g.Expect(string(have)).To(gomega.Equal(want), "docs/findings.md is stale: run `go test ./harness/finding -update`")
}

func markdown(entries []finding.Entry) string {
	var b strings.Builder
	b.WriteString("# Findings\n\n")
	b.WriteString("<!-- Made from harness/finding/catalogue.go by `go test ./harness/finding -update`. Do not edit. -->\n\n")
	b.WriteString("A finding is one thing that is wrong at one place. Its id is stable across releases: verdicts, known issues and bisection\n")
	b.WriteString("compare ids, never colours. What the words local-ips, svip and VIP stand for is in [contract.md](contract.md).\n\n")
	b.WriteString("| id | what it is |\n|---|---|\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", e.ID, e.ID, e.Summary)
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n- **Means:** %s\n- **Look at:** %s\n", e.ID, e.Summary, e.Meaning, e.LookAt)
	}
	return b.String()
}

// raised finds the ids in the sources of the harness: constants of type finding.ID, and literals in the field ID of a
// finding.Finding.
func raised(t *testing.T) map[finding.ID]string {
	ids := map[finding.ID]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			for _, e := range idsOf(n) {
				if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if id, err := strconv.Unquote(lit.Value); err == nil {
						ids[finding.ID(id)] = path
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) < 20 {
		t.Fatalf("found only %d ids in the sources: %v", len(ids), ids)
	}
	return ids
}

func idsOf(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.ValueSpec:
		if isFinding(n.Type, "ID") {
			return n.Values
		}
	case *ast.CompositeLit:
		if isFinding(n.Type, "Finding") {
			return idFields(n)
		}
		if array, ok := n.Type.(*ast.ArrayType); ok && isFinding(array.Elt, "Finding") {
			var all []ast.Expr
			for _, e := range n.Elts {
				if lit, ok := e.(*ast.CompositeLit); ok {
					all = append(all, idFields(lit)...)
				}
			}
			return all
		}
	}
	return nil
}

func idFields(lit *ast.CompositeLit) []ast.Expr {
	var all []ast.Expr
	for _, e := range lit.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "ID" {
				all = append(all, pair.Value)
			}
		}
	}
	return all
}

// isFinding tells whether an expression is the type finding.NAME.
func isFinding(e ast.Expr, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	return ok && pkg.Name == "finding"
}
