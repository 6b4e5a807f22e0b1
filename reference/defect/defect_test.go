package defect

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheDocumentNamesEveryDefect: docs/defects.md has a row for each, with its upstream report, and for nothing else.
func TestTheDocumentNamesEveryDefect(t *testing.T) {
	text, err := os.ReadFile("../../docs/defects.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Zoo() {
		if row := fmt.Sprintf("\n| `%s` | %s | ", d.Name, d.Issue); strings.Count(string(text), row) != 1 {
			t.Errorf("docs/defects.md should have one row that begins with%s", row)
		}
	}
	if rows := strings.Count(string(text), "\n| `"); rows != len(Zoo()) {
		t.Errorf("docs/defects.md has %d rows for %d defects", rows, len(Zoo()))
	}
}
