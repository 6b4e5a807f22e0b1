package invariant

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"proxyproof/harness/finding"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// Names of the sets, without the prefix of the IPv6 ones.
const (
	localIPsSet = "kube-router-local-ips"
	svipSet     = "kube-router-svip"
	svipPortSet = "kube-router-svip-prt"
)

// setName is the name of a set in one family.
func setName(base string, f world.Family) string {
	if f == world.IPv6 {
		return "inet6:" + base
	}
	return base
}

// findSet looks a set up.
func findSet(s *netstate.State, name string) (netstate.Set, bool) {
	for _, set := range s.Sets {
		if set.Name == name {
			return set, true
		}
	}
	return netstate.Set{}, false
}

// setRule is what a set has to look like.
type setRule struct {
	name   string
	typ    string
	family world.Family
	// required members and those that are merely allowed, each with the reason for it.
	required, allowed map[string]string
	// incomplete and excess are the ids of the findings.
	incomplete, excess finding.ID
	// foreign ends the sentence about members that should not be there, and explain tells what one of them is.
	foreign string
	explain func(member string) string
}

// judgeSet compares a set with its rule. A set gives at most one finding of each id, however many members are wrong.
func (v View) judgeSet(r setRule) []finding.Finding {
	set, exists := findSet(v.Now, r.name)
	var found []finding.Finding
	if f := v.finding(r.incomplete, r.family, r.name); r.missing(set, exists, &f) {
		f.Evidence = append(f.Evidence, sideBySide(r.required, set.Members)...)
		found = append(found, f)
	}
	var excess, why []string
	for _, text := range set.Members {
		m := canonicalMember(text)
		if r.required[m] == "" && r.allowed[m] == "" {
			excess = append(excess, m)
			why = append(why, m+" "+r.explain(m))
		}
	}
	if len(excess) > 0 {
		f := v.finding(r.excess, r.family, r.name)
		f.Sentence = fmt.Sprintf("ipset %s holds %s, %s", r.name, list(excess), r.foreign)
		f.Evidence = append(lines(why), sideBySide(r.required, set.Members)...)
		found = append(found, f)
	}
	return found
}

// missing writes the sentence about what a set lacks, and tells whether it lacks anything.
func (r setRule) missing(set netstate.Set, exists bool, f *finding.Finding) bool {
	if !exists {
		f.Sentence = fmt.Sprintf("ipset %s does not exist", r.name)
		return true
	}
	if set.Type != r.typ || set.IPv6 != (r.family == world.IPv6) {
		family := world.IPv4
		if set.IPv6 {
			family = world.IPv6
		}
		f.Sentence = fmt.Sprintf("ipset %s is of type %s (%s) instead of %s (%s)", r.name, set.Type, family, r.typ, r.family)
		return true
	}
	var lacks []string
	for _, m := range slices.Sorted(maps.Keys(r.required)) {
		if !holds(set, m) {
			lacks = append(lacks, fmt.Sprintf("%s (%s)", m, r.required[m]))
		}
	}
	f.Sentence = fmt.Sprintf("ipset %s lacks %s", r.name, list(lacks))
	return len(lacks) > 0
}

// holds tells whether a set has a member, however it is printed.
func holds(set netstate.Set, member string) bool {
	return slices.ContainsFunc(set.Members, func(m string) bool { return canonicalMember(m) == member })
}

// sideBySide is what should be there and what is.
func sideBySide(required map[string]string, members []string) []string {
	want := slices.Sorted(maps.Keys(required))
	return []string{
		fmt.Sprintf("expected %s: %s", count(len(want), "member", "members"), list(want)),
		fmt.Sprintf("it has %s: %s", count(len(members), "member", "members"), list(members)),
	}
}

// canonicalMember writes "ADDRESS" or "ADDRESS,PROTO:PORT" in the one form that this package compares.
func canonicalMember(text string) string {
	address, rest, _ := strings.Cut(text, ",")
	a, err := netip.ParseAddr(address)
	if err != nil {
		return text
	}
	if rest == "" {
		return a.String()
	}
	return a.String() + "," + strings.ToLower(rest)
}
