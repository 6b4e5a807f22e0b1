package netstate

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// ChangeKind tells what happened to a fact.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Change is one difference between two states.
type Change struct {
	Kind ChangeKind `json:"kind"`
	What What       `json:"what"`
	// Object is what changed: a link, "inet6:kube-router-svip" for a member of that set, "inet filter INPUT 3" for the third rule
	// of that chain, counted before a removal and after an addition.
	Object string `json:"object"`
	// Detail is what is, or was, said of it: a member, a rule's text, "rr persistent 10800". Before is set if it changed.
	Detail string `json:"detail,omitempty"`
	Before string `json:"before,omitempty"`
}

// String is "+ ipset inet6:kube-router-svip member 2001:db8:2::1", with "-" for what was removed, or
// "~ sysctl net.ipv4.ip_forward = 1, was 0".
func (c Change) String() string {
	switch c.Kind {
	case Added:
		return "+ " + line(c.What, c.Object, c.Detail)
	case Removed:
		return "- " + line(c.What, c.Object, c.Detail)
	}
	return "~ " + line(c.What, c.Object, c.Detail) + ", was " + c.Before
}

// Diff tells what has to happen to a to become b, in the order of Print; nothing if they differ only in traffic. The order of
// rules in a chain matters: a rule that moved was removed and added. Sysctls that come or go with their link, and are as any
// link's by default, are not told.
func Diff(a, b *State) []Change {
	before, after := index(a), index(b)
	var changes []Change
	for _, key := range before.order {
		old, now := before.details[key], after.details[key]
		old, now = without(old, now), without(now, old)
		for len(old) > 0 && len(now) > 0 {
			changes = append(changes, Change{Kind: Changed, What: key.What, Object: key.Object, Detail: now[0], Before: old[0]})
			old, now = old[1:], now[1:]
		}
		for _, detail := range old {
			changes = append(changes, Change{Kind: Removed, What: key.What, Object: key.Object, Detail: detail})
		}
		for _, detail := range now {
			changes = append(changes, Change{Kind: Added, What: key.What, Object: key.Object, Detail: detail})
		}
	}
	for _, key := range after.order {
		if _, ok := before.details[key]; ok {
			continue
		}
		for _, detail := range after.details[key] {
			changes = append(changes, Change{Kind: Added, What: key.What, Object: key.Object, Detail: detail})
		}
	}
	changes = append(slices.DeleteFunc(changes, func(c Change) bool { return ofLink(c, a, b) }), diffRules(a, b)...)
	slices.SortStableFunc(changes, func(x, y Change) int {
		return cmp.Or(cmp.Compare(rank(x.What), rank(y.What)), cmp.Compare(group(x), group(y)))
	})
	return changes
}

// ofLink tells whether a change is of a sysctl that came or went with its link and has the default's value.
func ofLink(c Change, a, b *State) bool {
	if c.What != WhatSysctl || c.Kind == Changed {
		return false
	}
	s := b
	if c.Kind == Removed {
		s = a
	}
	words := strings.Split(c.Object, ".") // net.ipv4.conf.LINK.NAME
	if len(words) != 5 || words[2] != "conf" {
		return false
	}
	words[3] = "default"
	standard, ok := s.Sysctls[strings.Join(words, ".")]
	return ok && standard == c.Detail
}

// group keeps the changes of a set together; those of a chain are in order already.
func group(c Change) string {
	if c.What == WhatMember || c.What == WhatSet {
		return c.Object
	}
	return ""
}

func rank(w What) int {
	order := []What{WhatLink, WhatAddress, WhatRoute, WhatPolicyRule, WhatService, WhatDestination, WhatSet, WhatMember, WhatChain,
		WhatRule, WhatSysctl}
	return slices.Index(order, w)
}

// factIndex holds the details of all facts but rules. A set's members have a fact each, whose identity is all of it.
type factIndex struct {
	order   []fact
	details map[fact][]string
}

func index(s *State) factIndex {
	x := factIndex{details: map[fact][]string{}}
	for _, f := range facts(s) {
		if f.What == WhatRule {
			continue
		}
		key := f
		if f.What != WhatMember {
			key.Detail = ""
		}
		if _, ok := x.details[key]; !ok {
			x.order = append(x.order, key)
		}
		x.details[key] = append(x.details[key], f.Detail)
	}
	return x
}

// without is what a has beyond b.
func without(a, b []string) []string {
	rest := slices.Clone(b)
	var left []string
	for _, s := range a {
		if i := slices.Index(rest, s); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			left = append(left, s)
		}
	}
	return left
}

// diffRules compares the chains that either state has.
func diffRules(a, b *State) []Change {
	before, after := chainsByPath(a), chainsByPath(b)
	var changes []Change
	for _, path := range before.order {
		changes = append(changes, diffChain(path, before.rules[path], after.rules[path])...)
	}
	for _, path := range after.order {
		if _, ok := before.rules[path]; !ok {
			changes = append(changes, diffChain(path, nil, after.rules[path])...)
		}
	}
	return changes
}

type chainIndex struct {
	order []string
	rules map[string][]string
}

func chainsByPath(s *State) chainIndex {
	x := chainIndex{rules: map[string][]string{}}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			var specs []string
			for _, r := range c.Rules {
				specs = append(specs, r.Spec)
			}
			x.order = append(x.order, t.path(c))
			x.rules[t.path(c)] = specs
		}
	}
	return x
}

// diffChain finds the fewest removals and additions, by the longest common subsequence of what is between a common beginning
// and a common end.
func diffChain(path string, a, b []string) []Change {
	skip := 0
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b, skip = a[1:], b[1:], skip+1
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	common := make([][]int, len(a)+1) // length of the longest common subsequence of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var changes []Change
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			changes = append(changes, Change{Kind: Removed, What: WhatRule, Object: path + " " + strconv.Itoa(skip+i+1), Detail: a[i]})
			i++
		default:
			changes = append(changes, Change{Kind: Added, What: WhatRule, Object: path + " " + strconv.Itoa(skip+j+1), Detail: b[j]})
			j++
		}
	}
	return changes
}
