package invariant

import (
	"fmt"
	"net/netip"
	"slices"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
	"proxyproof/sim/world"
)

const (
	lbAddressMissing   finding.ID = "lb-address-missing"
	lbAddressDuplicate finding.ID = "lb-address-duplicate"
)

// judgeLoadBalancers judges the addresses that the subject hands out. They are the cluster's, so the findings name no node.
func (v View) judgeLoadBalancers(expected oracle.Expectation) []finding.Finding {
	var found []finding.Finding
	owners := map[netip.Addr][]string{}
	for _, l := range expected.LoadBalancers {
		for _, f := range l.Wanted {
			if !slices.ContainsFunc(l.Given, func(a netip.Addr) bool { return world.FamilyOf(a) == f }) {
				found = append(found, v.lacksAddress(l, f))
			}
		}
		for _, a := range l.Given {
			owners[a] = append(owners[a], l.Owner)
		}
	}
	for _, a := range sorted(owners) {
		if len(owners[a]) < 2 {
			continue
		}
		f := finding.Finding{ID: lbAddressDuplicate, Family: world.FamilyOf(a).String(), Object: a.String()}
		f.Sentence = fmt.Sprintf("load balancer address %s was given %d times", a, len(owners[a]))
		f.Evidence = prefixed("in the status of Service ", lines(owners[a]))
		found = append(found, f)
	}
	return found
}

func (v View) lacksAddress(l oracle.LoadBalancer, f world.Family) finding.Finding {
	var given []string
	for _, a := range l.Given {
		given = append(given, a.String())
	}
	return finding.Finding{
		ID: lbAddressMissing, Family: f.String(), Object: "Service " + l.Owner,
		Sentence: fmt.Sprintf("Service %s wants an %s load balancer address and was given none", l.Owner, f),
		Evidence: []string{
			fmt.Sprintf("expected in its status: an address of %s", v.Ranges.LoadBalancers[f]),
			"it has: " + list(given),
		},
	}
}
