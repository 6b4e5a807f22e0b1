package netstate

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// What this package cannot spell stands in a State as "undecoded" and a digest, until it is replaced by what the kernel's own
// tool prints: good enough to see whether it changed, at no cost.
const undecoded = "undecoded "

// undecodedRule stands for a rule. Its content is everything that tells it from others.
func undecodedRule(content ...[]byte) Rule {
	sum := sha256.New()
	for _, c := range content {
		fmt.Fprintf(sum, "%d:", len(c))
		sum.Write(c)
	}
	return Rule{Spec: fmt.Sprintf("%s%x", undecoded, sum.Sum(nil)[:16])}
}

func (r Rule) undecoded() bool { return r.Args == nil && strings.HasPrefix(r.Spec, undecoded) }

func hasUndecoded(tables []Table) bool {
	return slices.ContainsFunc(tables, func(t Table) bool {
		return slices.ContainsFunc(t.Chains, func(c Chain) bool {
			return slices.ContainsFunc(c.Rules, Rule.undecoded)
		})
	})
}

// graft replaces each undecoded rule by its text in saved. It fails if the two are not the same rule set.
func graft(tables, saved []Table) ([]Table, error) {
	if len(tables) != len(saved) {
		return nil, fmt.Errorf("%w: %d tables, of which %d were printed", errInterrupted, len(tables), len(saved))
	}
	result := make([]Table, len(tables))
	for i, t := range tables {
		s := saved[i]
		if t.Name != s.Name || len(t.Chains) != len(s.Chains) {
			return nil, fmt.Errorf("%w: table %s", errInterrupted, t.Name)
		}
		chains := make([]Chain, len(t.Chains))
		for j, c := range t.Chains {
			p := s.Chains[j]
			if c.Name != p.Name || c.Policy != p.Policy || len(c.Rules) != len(p.Rules) {
				return nil, fmt.Errorf("%w: chain %s of table %s", errInterrupted, c.Name, t.Name)
			}
			c.Rules = slices.Clone(c.Rules)
			for k, r := range c.Rules {
				if r.undecoded() {
					c.Rules[k] = p.Rules[k]
				}
			}
			chains[j] = c
		}
		t.Chains = chains
		result[i] = t
	}
	return result, nil
}
