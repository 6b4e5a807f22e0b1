// Package invariant is what must always hold: pure functions from a View to findings, one file each. They know nothing of
// where the view came from: a run, an audit of a real node or a replay.
package invariant

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"net/netip"

	"proxyproof/harness/finding"
	"proxyproof/harness/scenario"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// View is everything that an invariant may look at: one node at one moment, and what should be there.
type View struct {
	Node Node
	// Families of the cluster, primary first.
	Families []world.Family
	Ranges   world.Ranges
	Objects  Objects
	Options  scenario.Options
	// Keeps tells which state the subject keeps. A check runs only if the subject keeps what it judges.
	Keeps Keep
	// Before is what is not the subject's: the node's state before it was first started, and what the scenario injected since. Now
	// is the state to be judged.
	Before, Now *netstate.State
	// Injected are the foreign things among it that the scenario has put there.
	Injected []Injected
	Subject  Subject
}

// Injected is something that the scenario has put into the kernel in the name of others.
type Injected struct {
	Name  string
	State *netstate.State
}

// Keep is a set of kinds of kernel state that a subject promises to keep.
type Keep uint8

// The kinds of state.
const (
	// KeepIPVS: virtual services and their destinations.
	KeepIPVS Keep = 1 << iota
	// KeepSets: the ipsets local-ips, svip and svip-prt.
	KeepSets
	// KeepAddresses: the VIPs on kube-dummy-if and their routes.
	KeepAddresses
	// KeepNodePortsPerFamily: node ports on the node's first address of each family of the Service, not only on its primary one.
	KeepNodePortsPerFamily

	// KeepFirewall: the chain KUBE-ROUTER-SERVICES and the jump to it.
	KeepFirewall

	// KeepRequestedAddresses: a Service gets the load balancer address that it asks for, or none.
	KeepRequestedAddresses

	// KeepConflictEvents: where somebody else has the virtual service that a Service wants, an Event on the Service says so.
	KeepConflictEvents

	// KeepSysctls: the settings of IPVS and ARP.
	KeepSysctls

	// KeepAll is what the contract asks for at its strictest.
	KeepAll = KeepIPVS | KeepSets | KeepAddresses | KeepNodePortsPerFamily | KeepFirewall | KeepRequestedAddresses |
		KeepConflictEvents | KeepSysctls
)

// Has tells whether all of the others are in the set.
func (k Keep) Has(others Keep) bool { return k&others == others }

// Node is what is known of the node without looking into its kernel.
type Node struct {
	Name string
	// Addresses are its global addresses by family, primary first, as the Node object lists them.
	Addresses map[world.Family][]netip.Addr
	PodCIDR   map[world.Family]netip.Prefix
}

// Objects is a consistent picture of the API.
type Objects struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
	Nodes    []*corev1.Node
	Events   []*corev1.Event
}

// Subject is what is known of the proxy's process.
type Subject struct {
	// Name of the profile and version, for sentences.
	Name string
	// Expected is true while the scenario wants the subject to run. While it does not, what it left behind is not judged.
	Expected bool
	Alive    bool
	Exit     int
	// Errors are log lines that the subject's profile takes for errors and does not allow.
	Errors []string
	// Missed are signs of life of its parts that it reports as overdue, for longer than this machine explains.
	Missed []string
	// Written are files that it made, changed or removed outside of what belongs to its node.
	Written []string
}

// Check is one invariant.
type Check struct {
	// Name by which a scenario can exempt it; scenario.Invariants lists them.
	Name string
	Doc  string
	// Findings that it can report.
	Findings []finding.ID
	Judge    func(View) []finding.Finding
}
