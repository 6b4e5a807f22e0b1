package world

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Family is an IP family. Its zero value is none.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf tells the family of an address. An IPv4-mapped IPv6 address counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// String is "IPv4" or "IPv6", as Kubernetes spells it.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "IPv?"
}

// HostBits is the prefix length of a single address: 32 or 128.
func (f Family) HostBits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

// Protocol is a transport protocol, spelled as Kubernetes does.
type Protocol string

// The protocols of a Service port.
const (
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
	SCTP Protocol = "SCTP"
)

// Port is where a server listens, written "8080/tcp".
type Port struct {
	Number   uint16
	Protocol Protocol
}

// String is the written form, "8080/tcp".
func (p Port) String() string {
	return fmt.Sprintf("%d/%s", p.Number, strings.ToLower(string(p.Protocol)))
}

// ParsePort reads "8080/tcp"; the protocol defaults to TCP.
func ParsePort(s string) (Port, error) {
	number, proto, found := strings.Cut(s, "/")
	if !found {
		proto = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return Port{}, fmt.Errorf("port %q: want a number from 1 to 65535, then /tcp, /udp or /sctp", s)
	}
	p := Protocol(strings.ToUpper(proto))
	switch p {
	case TCP, UDP, SCTP:
		return Port{uint16(n), p}, nil
	}
	return Port{}, fmt.Errorf("port %q: unknown protocol %q; want tcp, udp or sctp", s, proto)
}

// Ranges are the address ranges of a cluster, by family. All come from the ranges reserved for documentation and benchmarks
// (RFC 5737, RFC 2544, RFC 3849), so that nothing can ever leak to a real host.
type Ranges struct {
	Nodes         map[Family]netip.Prefix // the link that nodes and clients share
	Pods          map[Family]netip.Prefix // all pods; a node has a part of it
	Services      map[Family]netip.Prefix // cluster IPs
	LoadBalancers map[Family]netip.Prefix
	Externals     map[Family]netip.Prefix
}

// ByName finds a range by the word that scenarios have for it; nil if there is none.
func (r Ranges) ByName(name string) map[Family]netip.Prefix {
	switch name {
	case "nodes":
		return r.Nodes
	case "services":
		return r.Services
	case "loadbalancers":
		return r.LoadBalancers
	case "externals":
		return r.Externals
	}
	return nil
}

// Unused is an address of a range that nothing gets, counted from the end. Nodes and clients have host numbers up to 249, and
// addresses are allocated from the beginning or at random.
func Unused(p netip.Prefix, index int) netip.Addr { return Last(p, 2+index) }

// Router is the address on the nodes' link to which their default routes lead. What is sent there and is not for the router itself is
// answered with an ICMP error.
func (r Ranges) Router(f Family) netip.Addr { return r.Nodes[f].Masked().Addr().Next() }

// Last is an address near the end of a range: n addresses before the one after the last.
func Last(p netip.Prefix, n int) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(raw); bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(raw)
	for range n - 1 {
		a = a.Prev()
	}
	return a
}

// DefaultRanges are the ranges that every world uses.
func DefaultRanges() Ranges {
	both := func(v4, v6 string) map[Family]netip.Prefix {
		return map[Family]netip.Prefix{IPv4: netip.MustParsePrefix(v4), IPv6: netip.MustParsePrefix(v6)}
	}
	return Ranges{
		Nodes:         both("192.0.2.0/24", "2001:db8:2::/64"),
		Pods:          both("198.19.0.0/16", "2001:db8:19::/48"),
		Services:      both("198.18.0.0/20", "2001:db8:18::/112"),
		LoadBalancers: both("203.0.113.0/24", "2001:db8:113::/112"),
		Externals:     both("198.51.100.0/24", "2001:db8:51::/112"),
	}
}

// Capability is something that not every world can do.
type Capability string

// The capabilities that scenarios may need.
const (
	CapIPVS    Capability = "ipvs"
	CapIPv6    Capability = "ipv6"
	CapSCTP    Capability = "sctp"
	CapTunnel  Capability = "tunnel"
	CapRestart Capability = "restart-node"
)
