package invariant

import (
	"fmt"

	"proxyproof/harness/finding"
)

const sysctlWrong finding.ID = "sysctl-wrong"

// wantedSysctls are the settings of the node's namespace with which IPVS does what a Service promises, and what is broken without.
// Those of
// net.ipv4.vs rule IPVS for IPv6, too.
var wantedSysctls = []struct{ name, value, without string }{
	{"net.ipv4.vs.conntrack", "1", "iptables rules do not recognise connections through IPVS"},
	{"net.ipv4.vs.expire_nodest_conn", "1", "clients that keep their port go on to an endpoint that is gone"},
	{"net.ipv4.vs.expire_quiescent_template", "1", "session affinity leads new connections to an endpoint that is gone"},
	{"net.ipv4.vs.conn_reuse_mode", "0", "a client that uses its port again waits for a second"},
	{"net.ipv4.conf.all.arp_ignore", "1", "every node answers ARP for every VIP"},
	{"net.ipv4.conf.all.arp_announce", "2", "the node asks for its neighbours in the name of a VIP"},
}

// sysctls is the eighth invariant: the settings are those with which IPVS serves Services. One that the kernel does not have is nobody's fault.
func sysctls() Check {
	return Check{
		Name:     "sysctls",
		Doc:      "The node's sysctls for IPVS and ARP are what a Service needs.",
		Findings: []finding.ID{sysctlWrong},
		Judge:    whileRunning(judgeSysctls),
	}
}

func judgeSysctls(v View) []finding.Finding {
	if !v.Keeps.Has(KeepSysctls) {
		return nil
	}
	var found []finding.Finding
	for _, want := range wantedSysctls {
		have, exists := v.Now.Sysctls[want.name]
		if !exists || have == want.value {
			continue
		}
		found = append(found, finding.Finding{
			ID: sysctlWrong, Node: v.Node.Name, Object: want.name,
			Sentence: fmt.Sprintf("sysctl %s of node %s is %s: %s", want.name, v.Node.Name, have, want.without),
			Evidence: []string{"expected: " + want.value, "it is: " + have},
		})
	}
	return found
}
