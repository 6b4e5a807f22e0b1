package scenario

import "strings"

// Nearest is the known word that is closest to what was written, "" if none is close enough to be meant.
func Nearest(written string, known []string) string {
	best, least := "", len(written)
	for _, k := range known {
		d := distance(strings.ToLower(written), strings.ToLower(k))
		if d < least && d <= max(1, max(len(written), len(k))/2) {
			best, least = k, d
		}
	}
	return best
}

// mostKnown is how many words a suggestion lists.
const mostKnown = 16

// Suggest is what could have been meant, and what else there is. known are called by their plural noun.
func Suggest(written string, known []string, nouns string) string {
	var parts []string
	if near := Nearest(written, known); near != "" {
		parts = append(parts, "did you mean "+near+"?")
	}
	switch {
	case len(known) == 0:
		parts = append(parts, "there are no "+nouns)
	case len(parts) == 0 || len(known) <= mostKnown:
		parts = append(parts, nouns+": "+strings.Join(known, ", "))
	}
	return strings.Join(parts, " ")
}

// distance is the number of letters to be inserted, deleted, replaced or swapped with their neighbour (Damerau's optimal string
// alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
