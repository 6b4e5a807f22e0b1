package bisect

import (
	"fmt"
	"time"
)

// Commit is one revision of the proxy's repository.
type Commit struct {
	Hash    string    `json:"hash"`
	Parents []string  `json:"parents,omitempty"`
	Subject string    `json:"subject"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	Tags    []string  `json:"tags,omitempty"`
}

// Short is the commit as people write it.
func (c Commit) Short() string { return c.Hash[:min(len(c.Hash), 8)] }

// String is the short hash, with the tag if it has one.
func (c Commit) String() string {
	if len(c.Tags) > 0 {
		return fmt.Sprintf("%s (%s)", c.Short(), c.Tags[0])
	}
	return c.Short()
}

// History is what lies between two revisions.
type History struct {
	Old, New Commit
	// Range are the commits that New has and Old has not, parents before children; the last is New.
	Range []Commit
	// Forks are the merge bases if Old is on another branch; none if New descends from it.
	Forks []Commit
}

// lineage answers which commits of the range another one contains.
type lineage struct {
	index map[string]int
	has   [][]uint64 // by index: the set of commits of the range that it descends from, itself included
}

func newLineage(h History) lineage {
	l := lineage{index: make(map[string]int, len(h.Range)), has: make([][]uint64, len(h.Range))}
	words := (len(h.Range) + 63) / 64
	for i, c := range h.Range {
		l.index[c.Hash] = i
		set := make([]uint64, words)
		for _, parent := range c.Parents {
			if j, inside := l.index[parent]; inside {
				for w := range set {
					set[w] |= l.has[j][w]
				}
			}
		}
		set[i/64] |= 1 << (i % 64)
		l.has[i] = set
	}
	return l
}

// contains tells whether a commit has the change that another one of the range made. Commits outside of the range have none.
func (l lineage) contains(commit string, change int) bool {
	i, inside := l.index[commit]
	return inside && l.has[i][change/64]&(1<<(change%64)) != 0
}
