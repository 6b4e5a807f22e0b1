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
	lbAddressWrong     finding.ID = "lb-address-wrong"
)

// judgeLoadBalancers judges the addresses that the subject hands out. They are the cluster's, so the findings name no node.
func (v View) judgeLoadBalancers(expected oracle.Expectation) []finding.Finding {
	owners, ours := v.owners(), map[string]bool{}
	var found []finding.Finding
	for _, l := range expected.LoadBalancers {
		ours[l.Owner] = true
		for _, f := range l.Wanted {
			if !l.Has(f) && v.canGive(l, f, owners) {
				found = append(found, v.lacksAddress(l, f))
			}
		}
		found = append(found, v.wrongAddresses(l)...)
	}
	for _, a := range sorted(owners) {
		if len(owners[a]) < 2 || !slices.ContainsFunc(owners[a], func(owner string) bool { return ours[owner] }) {
			continue
		}
		f := finding.Finding{ID: lbAddressDuplicate, Family: world.FamilyOf(a).String(), Object: a.String()}
		f.Sentence = fmt.Sprintf("load balancer address %s was given %d times", a, len(owners[a]))
		f.Evidence = prefixed("in the status of Service ", lines(owners[a]))
		found = append(found, f)
	}
	return found
}

// owners are the Services that have each load balancer address, whoever gave it.
func (v View) owners() map[netip.Addr][]string {
	owners := map[netip.Addr][]string{}
	for _, s := range v.Objects.Services {
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			if a, err := netip.ParseAddr(ingress.IP); err == nil {
				owners[a] = append(owners[a], s.Namespace+"/"+s.Name)
			}
		}
	}
	for _, list := range owners {
		slices.Sort(list)
	}
	return owners
}

// canGive tells whether the subject has an address for a Service: the one that it asks for if the subject promises to heed that, else
// any that is left in the range, of which a proxy may leave out the first and the last.
func (v View) canGive(l oracle.LoadBalancer, f world.Family, owners map[netip.Addr][]string) bool {
	pool := v.Ranges.LoadBalancers[f]
	if v.Keeps.Has(KeepRequestedAddresses) && l.Requested.IsValid() {
		return world.FamilyOf(l.Requested) == f && pool.Contains(l.Requested) && len(owners[l.Requested]) == 0
	}
	free := 1<<min(f.HostBits()-pool.Bits(), 20) - 2
	for a := range owners {
		if pool.Contains(a) {
			free--
		}
	}
	return free > 0
}

// wrongAddresses are those that the subject must not have given.
func (v View) wrongAddresses(l oracle.LoadBalancer) []finding.Finding {
	var found []finding.Finding
	for _, a := range l.Given {
		f := world.FamilyOf(a)
		want := fmt.Sprintf("an address of %s", v.Ranges.LoadBalancers[f])
		switch {
		case !v.Ranges.LoadBalancers[f].Contains(a):
		case v.Keeps.Has(KeepRequestedAddresses) && l.Requested.IsValid() && a != l.Requested && f == world.FamilyOf(l.Requested):
			want = l.Requested.String() + ", which it asks for"
		default:
			continue
		}
		found = append(found, finding.Finding{
			ID: lbAddressWrong, Family: f.String(), Object: "Service " + l.Owner,
			Sentence: fmt.Sprintf("Service %s was given the load balancer address %s; expected %s", l.Owner, a, want),
			Evidence: []string{"expected in its status: " + want, "it has: " + a.String()},
		})
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
