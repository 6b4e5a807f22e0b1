package invariant

import (
	"net/netip"
	"slices"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// All are the invariants, in the order in which they are judged.
func All() []Check {
	return []Check{localIPs(), svip(), foreign(), ipvs(), firewall(), alive(), sysctls()}
}

// whileRunning judges only while the subject runs as it should. What a dead one left behind depends on the moment of its death,
// and says nothing that its death does not say.
func whileRunning(judge func(View) []finding.Finding) func(View) []finding.Finding {
	return func(v View) []finding.Finding {
		if !v.Subject.Expected || !v.Subject.Alive || v.Now == nil {
			return nil
		}
		return judge(v)
	}
}

// families are those that the node serves: of the cluster, and with an address in the Node object.
func (v View) families() []world.Family {
	return slices.DeleteFunc(slices.Clone(v.Families), func(f world.Family) bool { return len(v.Node.Addresses[f]) == 0 })
}

// expectation is what the oracle says about this node.
func (v View) expectation() oracle.Expectation {
	return oracle.Expect(oracle.Input{
		Services: v.Objects.Services, Slices: v.Objects.Slices,
		Node: v.Node.Name, Nodes: v.Objects.Nodes, Addresses: v.Node.Addresses, Local: v.local(), Families: v.Families, Ranges: v.Ranges, Options: v.Options,
		NodePortsPerFamily: v.Keeps.Has(KeepNodePortsPerFamily),
	})
}

// local are the addresses of the node's own links.
func (v View) local() []netip.Addr {
	var all []netip.Addr
	for _, f := range v.families() {
		required, allowed := v.plainAddresses(f)
		for _, of := range []map[string]string{required, allowed} {
			for text := range of {
				if a, err := netip.ParseAddr(text); err == nil {
					all = append(all, a)
				}
			}
		}
	}
	return all
}

// before is what is not the subject's; an empty state if it is not known.
func (v View) before() *netstate.State {
	if v.Before == nil {
		return &netstate.State{}
	}
	return v.Before
}

// finding begins a finding about this node.
func (v View) finding(id finding.ID, f world.Family, object string) finding.Finding {
	return finding.Finding{ID: id, Node: v.Node.Name, Family: f.String(), Object: object}
}
