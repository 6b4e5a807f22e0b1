// Package shard divides the cases of a run among machines. Each machine makes the division for itself, and all make the same one: it
// is a pure function of the cases and of what is known of their lengths, never of the machine.
package shard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Shard is one part of a run that is divided into several.
type Shard struct{ Index, Of int }

// Whole is the only part of a run that is not divided.
var Whole = Shard{1, 1}

// Parse reads "2/4": the second of four parts.
func Parse(text string) (Shard, error) {
	left, right, _ := strings.Cut(text, "/")
	index, err := strconv.Atoi(left)
	of, err2 := strconv.Atoi(right)
	switch {
	case err != nil || err2 != nil:
		return Shard{}, fmt.Errorf("%q is no part of a run: write I/N, such as 2/4 for the second of four", text)
	case of < 1:
		return Shard{}, fmt.Errorf("%q: a run has at least one part: write I/N, such as 1/4", text)
	case index < 1 || index > of:
		return Shard{}, fmt.Errorf("%q: write a part between 1/%d and %d/%d", text, of, of, of)
	}
	return Shard{index, of}, nil
}

// String is the form that Parse reads.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Of) }

// Item is what is divided: something with a name of its own, and how long it takes, in whatever unit.
type Item struct {
	ID     string
	Length float64
}

// Divide gives each item, by its id, the index of the part that it belongs to. The longest is dealt first, each to the part that has
// the least so far: the longest part then takes at most a third more than in the best division. The order of the items does not matter.
func Divide(items []Item, parts int) map[string]int {
	sorted := slices.SortedFunc(slices.Values(items), func(a, b Item) int {
		return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.ID, b.ID))
	})
	sums := make([]float64, parts)
	part := map[string]int{}
	for _, item := range sorted {
		least := slices.Index(sums, slices.Min(sums))
		sums[least] += item.Length
		part[item.ID] = least + 1
	}
	return part
}
