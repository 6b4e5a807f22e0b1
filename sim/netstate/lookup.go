package netstate

import (
	"net/netip"
	"slices"
	"strings"
)

// SetByName finds an ipset.
func (s *State) SetByName(name string) (Set, bool) {
	i := slices.IndexFunc(s.Sets, func(set Set) bool { return set.Name == name })
	if i < 0 {
		return Set{}, false
	}
	return s.Sets[i], true
}

// Table finds an iptables table; one that is as good as absent is not there.
func (s *State) Table(ipv6 bool, name string) (Table, bool) {
	i := slices.IndexFunc(s.Tables, func(t Table) bool { return t.IPv6 == ipv6 && t.Name == name })
	if i < 0 {
		return Table{}, false
	}
	return s.Tables[i], true
}

// Chain finds a chain of an iptables table.
func (s *State) Chain(ipv6 bool, table, chain string) (Chain, bool) {
	t, _ := s.Table(ipv6, table)
	return t.Chain(chain)
}

// Chain finds a chain.
func (t Table) Chain(name string) (Chain, bool) {
	i := slices.IndexFunc(t.Chains, func(c Chain) bool { return c.Name == name })
	if i < 0 {
		return Chain{}, false
	}
	return t.Chains[i], true
}

// IPVSFor finds the virtual service for an address, port and protocol ("TCP", "UDP", "SCTP").
func (s *State) IPVSFor(protocol string, addr netip.AddrPort) (IPVSService, bool) {
	i := slices.IndexFunc(s.IPVS, func(v IPVSService) bool {
		return v.FWMark == 0 && v.Protocol == protocol && v.Address == addr.Addr() && v.Port == addr.Port()
	})
	if i < 0 {
		return IPVSService{}, false
	}
	return s.IPVS[i], true
}

// IPVSForMark finds the virtual service for a firewall mark in a family.
func (s *State) IPVSForMark(mark uint32, ipv6 bool) (IPVSService, bool) {
	i := slices.IndexFunc(s.IPVS, func(v IPVSService) bool { return v.FWMark == mark && v.IPv6 == ipv6 && mark != 0 })
	if i < 0 {
		return IPVSService{}, false
	}
	return s.IPVS[i], true
}

// HasAddr tells whether a link has an address, whatever the length of its prefix.
func (s *State) HasAddr(link string, addr netip.Addr) bool {
	return slices.ContainsFunc(s.Addrs, func(a Addr) bool { return a.Link == link && a.Prefix.Addr() == addr })
}

// Contains tells whether a set of addresses or networks ("hash:ip", "hash:net") matches an address, as the kernel would: the
// longest prefix decides, and a member with "nomatch" is an exception. Sets of other types contain no address.
func (s Set) Contains(addr netip.Addr) bool {
	if s.Type != "hash:ip" && s.Type != "hash:net" {
		return false
	}
	addr = s.masked(addr)
	best, match := -1, false
	for _, m := range s.Members {
		element, options, _ := strings.Cut(m, " ")
		p, err := parsePrefix(element)
		if err != nil || !p.Contains(addr) || p.Bits() <= best {
			continue
		}
		best = p.Bits()
		match = options != "nomatch" && !strings.HasPrefix(options, "nomatch ")
	}
	return match
}

// masked applies the set's option "netmask", by which the kernel masks what it looks up.
func (s Set) masked(addr netip.Addr) netip.Addr {
	words := strings.Fields(s.Options)
	i := slices.Index(words, "netmask")
	if i < 0 || i+1 == len(words) {
		return addr
	}
	p, err := parsePrefix(addr.String() + "/" + words[i+1])
	if err != nil {
		return addr
	}
	return p.Masked().Addr()
}

// parsePrefix reads a prefix, or an address as the prefix that holds it alone.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}
