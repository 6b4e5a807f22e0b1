package invariant

import (
	"fmt"
	"net/netip"
	"slices"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
	"proxyproof/sim/netstate"
)

const (
	ipvsDestMissing     finding.ID = "ipvs-dest-missing"
	ipvsDestUnjustified finding.ID = "ipvs-dest-unjustified"
	ipvsDestWrong       finding.ID = "ipvs-dest-wrong"
)

// judgeDests compares the destinations of one virtual service: at most one finding of each id. A destination of weight 0 gets no
// new connections: it is being drained, so it needs no justification, and it serves nothing.
func (v View) judgeDests(want oracle.Service, have netstate.IPVSService) []finding.Finding {
	present := map[netip.AddrPort]netstate.IPVSDest{}
	for _, d := range have.Dests {
		present[netip.AddrPortFrom(d.Address, d.Port)] = d
	}
	justified := map[netip.AddrPort]bool{}
	var missing, wrong, unjustified []string
	for _, d := range want.Dests {
		justified[d.AddrPort] = true
		got, ok := present[d.AddrPort]
		if !ok {
			missing = append(missing, fmt.Sprintf("%s (%s)", d.AddrPort, d.Why))
			continue
		}
		if got.Weight != 1 {
			wrong = append(wrong, fmt.Sprintf("%s (%s): expected weight 1, is %d", d.AddrPort, d.Why, got.Weight))
		}
		if got.Forward != "Masq" {
			wrong = append(wrong, fmt.Sprintf("%s (%s): expected forwarding Masq, is %s", d.AddrPort, d.Why, got.Forward))
		}
	}
	for _, d := range have.Dests {
		if at := netip.AddrPortFrom(d.Address, d.Port); !justified[at] && d.Weight != 0 {
			unjustified = append(unjustified, at.String())
		}
	}
	var found []finding.Finding
	report := func(id finding.ID, says string, items []string) {
		if len(items) == 0 {
			return
		}
		f := v.finding(id, want.Family(), want.Key.String())
		f.Sentence = fmt.Sprintf("IPVS service %s (%s) %s %s", want.Key, want.Why(), says, list(items))
		f.Evidence = destsSideBySide(want, have)
		found = append(found, f)
	}
	report(ipvsDestMissing, "lacks destination", missing)
	report(ipvsDestUnjustified, "has a destination that is no endpoint in use:", unjustified)
	report(ipvsDestWrong, "has a wrong destination:", wrong)
	return found
}

// Drains tells whether a destination that is no endpoint in use keeps its connections and gets no more: that ends some time. One that is in
// use and gets none is wrong at once.
func (v View) Drains() bool {
	expected := v.expectation()
	return slices.ContainsFunc(v.Now.IPVS, func(s netstate.IPVSService) bool {
		want, _ := expected.Find(keyOf(s))
		return slices.ContainsFunc(s.Dests, func(d netstate.IPVSDest) bool {
			at := netip.AddrPortFrom(d.Address, d.Port)
			return d.Weight == 0 && !slices.ContainsFunc(want.Dests, func(w oracle.Dest) bool { return w.AddrPort == at })
		})
	})
}

// destsSideBySide is which destinations should be there and which are.
func destsSideBySide(want oracle.Service, have netstate.IPVSService) []string {
	var expected, actual []string
	for _, d := range want.Dests {
		expected = append(expected, fmt.Sprintf("%s weight 1 Masq", d.AddrPort))
	}
	for _, d := range have.Dests {
		actual = append(actual, fmt.Sprintf("%s weight %d %s", netip.AddrPortFrom(d.Address, d.Port), d.Weight, d.Forward))
	}
	return []string{
		fmt.Sprintf("expected %s: %s", count(len(expected), "destination", "destinations"), list(expected)),
		fmt.Sprintf("it has %s: %s", count(len(actual), "destination", "destinations"), list(actual)),
	}
}
