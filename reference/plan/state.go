// Package plan decides what the kernel of a node should hold: a pure function of Kubernetes objects and the node's facts. The
// same input gives the same state, whatever its order.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// State is what the proxy owns in the kernel. Everything else there belongs to somebody else.
type State struct {
	// Families that the node serves: those that its Node object has an address of, IPv4 first.
	Families []Family
	Services map[Service]Virtual
	// VIPs are the addresses on the dummy link, with the source that the node itself is to use towards them.
	VIPs map[netip.Addr]netip.Addr
	// LocalIPs are the node's own addresses, which the firewall exempts.
	LocalIPs map[netip.Addr]bool
	// Hairpins are the endpoints of this node: a connection of one of them that leads back to itself needs another source.
	Hairpins map[Hairpin]bool
	// Health are the health-check node ports.
	Health map[uint16]Health
	// Rules of the firewall and of masquerading, by family.
	Rules map[Family]Rules
}

// Rules are what the rules of a family depend on.
type Rules struct {
	// Source is the node's address: that of connections through IPVS which are masqueraded. It is not left to the kernel, which prefers
	// an address that resembles the destination, in IPv6, and that may be a VIP.
	Source netip.Addr
	// MasqueradeAll: all are; otherwise only those of an endpoint that reaches itself.
	MasqueradeAll bool
}

// Family is 4 or 6.
type Family int

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf tells the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// HostBits is the length of the prefix of a single address.
func (f Family) HostBits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

// Protocol is an IP protocol number.
type Protocol uint8

// The transport protocols that are served.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String is "tcp", "udp" or "sctp".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprint(uint8(p))
}

// Service identifies a virtual service.
type Service struct {
	Address  netip.Addr
	Port     uint16
	Protocol Protocol
}

// String is "[2001:db8::1]:80/tcp".
func (s Service) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(s.Address, s.Port), s.Protocol)
}

// Compare orders services.
func (s Service) Compare(o Service) int {
	return cmp.Or(s.Address.Compare(o.Address), cmp.Compare(s.Port, o.Port), cmp.Compare(s.Protocol, o.Protocol))
}

// Virtual is how a virtual service is served.
type Virtual struct {
	Scheduler string
	// Affinity is the time in seconds for which a client keeps its backend; 0 for none.
	Affinity uint32
	// Dests are the real servers. All have weight 1 and are masqueraded.
	Dests map[Dest]bool
}

// Dest is a real server.
type Dest struct {
	Address netip.Addr
	Port    uint16
}

// String is "[2001:db8::1]:80".
func (d Dest) String() string { return netip.AddrPortFrom(d.Address, d.Port).String() }

// Compare orders destinations.
func (d Dest) Compare(o Dest) int {
	return cmp.Or(d.Address.Compare(o.Address), cmp.Compare(d.Port, o.Port))
}

// Hairpin is a real server of this node, and the protocol that it speaks.
type Hairpin struct {
	Dest
	Protocol Protocol
}

// Compare orders hairpins.
func (h Hairpin) Compare(o Hairpin) int {
	return cmp.Or(h.Dest.Compare(o.Dest), cmp.Compare(h.Protocol, o.Protocol))
}

// Health is what a health-check node port tells about a Service.
type Health struct {
	Service types.NamespacedName
	// Local is the number of endpoints of this node that are ready.
	Local int
}

// SortedServices are the virtual services in their order.
func (s State) SortedServices() []Service {
	return slices.SortedFunc(maps.Keys(s.Services), Service.Compare)
}

// ServiceIPs are the addresses of the virtual services of a family.
func (s State) ServiceIPs(f Family) map[netip.Addr]bool {
	ips := map[netip.Addr]bool{}
	for service := range s.Services {
		if FamilyOf(service.Address) == f {
			ips[service.Address] = true
		}
	}
	return ips
}
