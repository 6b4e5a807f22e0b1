// Package apply makes the kernel hold what was planned with the fewest writes, and reads what it holds. Every write goes
// through a Writer, in an order in which at no moment the node's own addresses are refused.
package apply

import (
	"net/netip"

	"proxyproof/reference/plan"
)

// Set is one of the proxy's ipsets. Each exists once per family.
type Set string

// The sets of the contract.
const (
	LocalIPs   Set = "kube-router-local-ips"
	ServiceIPs Set = "kube-router-svip"
	// ServicePorts has members of address, protocol and port.
	ServicePorts Set = "kube-router-svip-prt"
	// Hairpins has members of address, protocol, port and the same address again: the endpoints of this node.
	Hairpins Set = "kube-router-hairpin"
)

// Published are the sets that rules refer to, in the order in which they must be filled: an address is protected before it is
// guarded.
var Published = []Set{LocalIPs, Hairpins, ServiceIPs, ServicePorts}

// Name is the kernel's name of the set of a family.
func (s Set) Name(f plan.Family) string {
	if f == plan.IPv6 {
		return "inet6:" + string(s)
	}
	return string(s)
}

// hasPorts tells whether members are of address, protocol and port.
func (s Set) hasPorts() bool { return s == ServicePorts || s == Intents || s == Made }

// isPairs tells whether members are of a source and a destination, which are the same.
func (s Set) isPairs() bool { return s == Hairpins }

// Member of a set. Port and Protocol are zero in sets of addresses.
type Member struct {
	Address  netip.Addr
	Port     uint16
	Protocol plan.Protocol
}

// Writer changes the kernel. Defects and failpoints wrap it.
type Writer interface {
	// Prepare makes what does not depend on objects: the dummy link, sysctls, and per family the sets.
	Prepare(families []plan.Family) error
	// Firewall makes the rules of a family what they must be; they refer to the sets.
	Firewall(f plan.Family, rules plan.Rules) error

	AddMembers(s Set, f plan.Family, members []Member) error
	DeleteMembers(s Set, f plan.Family, members []Member) error

	AddService(s plan.Service, v plan.Virtual) error // without destinations
	UpdateService(s plan.Service, v plan.Virtual) error
	DeleteService(s plan.Service) error
	AddDest(s plan.Service, d plan.Dest) error
	DeleteDest(s plan.Service, d plan.Dest) error
	// WeighDest gives a destination weight 1, or 0: then it keeps its connections and gets no new ones.
	WeighDest(s plan.Service, d plan.Dest, weight int) error
	// ForgetFlows makes the kernel forget what it tracks of flows to destinations that are gone.
	ForgetFlows(flows []Flow) error

	// AddVIPs puts addresses on the dummy link and makes the node use their sources towards them.
	AddVIPs(vips []VIP) error
	DeleteVIP(vip netip.Addr) error
}

// VIP is a service address that the node takes on, and the node's own address that it uses towards it.
type VIP struct{ Address, Source netip.Addr }
