package invariant

import (
	"fmt"
	"strings"
)

// most is how many items of a list are written out.
const most = 5

// list writes items for a sentence: at most five, then how many more. An empty list is "nothing".
func list(items []string) string {
	switch n := len(items); {
	case n == 0:
		return "nothing"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(items[:most], ", "), n-most)
	}
	return strings.Join(items, ", ")
}

// lines bounds lines of evidence in the same way.
func lines(items []string) []string {
	if len(items) <= most {
		return items
	}
	return append(items[:most:most], fmt.Sprintf("and %d more", len(items)-most))
}

// count is "1 address" or "3 addresses".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
