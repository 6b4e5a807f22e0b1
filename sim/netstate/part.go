package netstate

import "slices"

// Gain is what b has and a has not: whole things, and the new rules of a chain. New members of a set and destinations of a service
// that a had are not told, nor are sysctls.
func Gain(a, b *State) *State {
	return &State{
		Links: minus(b.Links, a.Links), Addrs: minus(b.Addrs, a.Addrs), Routes: minus(b.Routes, a.Routes), Rules: minus(b.Rules, a.Rules),
		IPVS: addedServices(a, b), Sets: addedSets(a, b), Tables: addedTables(a, b),
	}
}

// where are those for which something is true; nil if there are none.
func where[T any](list []T, is func(T) bool) []T {
	var some []T
	for _, v := range list {
		if is(v) {
			some = append(some, v)
		}
	}
	return some
}

// minus is what x has beyond y.
func minus[T comparable](x, y []T) []T {
	rest := slices.Clone(y)
	var left []T
	for _, v := range x {
		if i := slices.Index(rest, v); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			left = append(left, v)
		}
	}
	return left
}

func addedServices(a, b *State) []IPVSService {
	return where(b.IPVS, func(s IPVSService) bool { _, ok := a.like(s); return !ok })
}

// like finds the virtual service for the same traffic.
func (s *State) like(v IPVSService) (IPVSService, bool) {
	i := slices.IndexFunc(s.IPVS, func(o IPVSService) bool {
		return o.Protocol == v.Protocol && o.Address == v.Address && o.Port == v.Port && o.FWMark == v.FWMark && o.IPv6 == v.IPv6
	})
	if i < 0 {
		return IPVSService{}, false
	}
	return s.IPVS[i], true
}

func addedSets(a, b *State) []Set {
	return where(b.Sets, func(s Set) bool { _, ok := a.SetByName(s.Name); return !ok })
}

func addedTables(a, b *State) []Table {
	var added []Table
	for _, t := range b.Tables {
		old, _ := a.Table(t.IPv6, t.Name)
		var chains []Chain
		for _, c := range t.Chains {
			before, existed := old.Chain(c.Name)
			c.Rules = newRules(c.Rules, before.Rules)
			if len(c.Rules) > 0 || !existed && c.Policy == "" {
				chains = append(chains, c)
			}
		}
		if t.Chains = chains; len(chains) > 0 {
			added = append(added, t)
		}
	}
	return added
}

// newRules are those whose text occurs more often in x than in y.
func newRules(x, y []Rule) []Rule {
	var specs []string
	for _, r := range y {
		specs = append(specs, r.Spec)
	}
	var left []Rule
	for _, r := range x {
		if i := slices.Index(specs, r.Spec); i >= 0 {
			specs = slices.Delete(specs, i, i+1)
		} else {
			left = append(left, r)
		}
	}
	return left
}

// Union is a with all that b has beyond it, as Gain tells; the rules of a chain come after those of a.
func Union(a, b *State) *State {
	return &State{
		Links: append(slices.Clone(a.Links), minus(b.Links, a.Links)...), Addrs: append(slices.Clone(a.Addrs), minus(b.Addrs, a.Addrs)...),
		Routes: append(slices.Clone(a.Routes), minus(b.Routes, a.Routes)...), Rules: append(slices.Clone(a.Rules), minus(b.Rules, a.Rules)...),
		IPVS: append(slices.Clone(a.IPVS), addedServices(a, b)...), Sets: append(slices.Clone(a.Sets), addedSets(a, b)...), Tables: unionTables(a, b), Sysctls: a.Sysctls,
	}
}

func unionTables(a, b *State) []Table {
	var all []Table
	for _, t := range a.Tables {
		more, _ := b.Table(t.IPv6, t.Name)
		var chains []Chain
		for _, c := range t.Chains {
			also, _ := more.Chain(c.Name)
			c.Rules = append(slices.Clone(c.Rules), also.Rules...)
			chains = append(chains, c)
		}
		for _, c := range more.Chains {
			if _, ok := t.Chain(c.Name); !ok {
				chains = append(chains, c)
			}
		}
		t.Chains = chains
		all = append(all, t)
	}
	return append(all, where(b.Tables, func(t Table) bool { _, ok := a.Table(t.IPv6, t.Name); return !ok })...)
}

// Damage is what happened to a part that was once added to a state: what of it is gone or changed, and what was put into its
// sets and behind its services. Rules that others have put beside those of the part are no damage.
func Damage(part, now *State) []Change {
	inside := map[What]bool{WhatDestination: true, WhatMember: true}
	return where(Diff(part, part.sameThings(now)), func(c Change) bool { return c.Kind != Added || inside[c.What] })
}

// sameThings are the services, sets and chains of now that the part has, too, and all else of it.
func (s *State) sameThings(now *State) *State {
	same := *now
	same.IPVS = where(now.IPVS, func(v IPVSService) bool { _, ok := s.like(v); return ok })
	same.Sets = where(now.Sets, func(set Set) bool { _, ok := s.SetByName(set.Name); return ok })
	return &same
}
