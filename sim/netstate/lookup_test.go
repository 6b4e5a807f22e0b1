package netstate

import (
	"net/netip"
	"testing"
)

func TestSetContains(t *testing.T) {
	hosts := Set{Type: "hash:ip", Members: []string{"192.0.2.1", `192.0.2.2 comment "x"`}}
	nets := Set{Type: "hash:net", Members: []string{"198.51.100.0/24", "198.51.100.128/25 nomatch", "198.51.100.129", "203.0.113.7"}}
	v6 := Set{Type: "hash:ip", IPv6: true, Members: []string{"2001:db8::1"}}
	masked := Set{Type: "hash:ip", Options: "netmask 28 timeout 0", Members: []string{"192.0.2.32"}}
	pairs := Set{Type: "hash:ip,port", Members: []string{"192.0.2.1,tcp:80"}}
	for _, c := range []struct {
		set  Set
		addr string
		want bool
	}{
		{hosts, "192.0.2.1", true}, {hosts, "192.0.2.2", true}, {hosts, "192.0.2.3", false}, {hosts, "2001:db8::1", false},
		{nets, "198.51.100.1", true}, {nets, "198.51.100.200", false}, {nets, "198.51.100.129", true}, {nets, "203.0.113.7", true},
		{nets, "203.0.113.8", false}, {v6, "2001:db8::1", true}, {v6, "2001:db8::2", false},
		{masked, "192.0.2.40", true}, {masked, "192.0.2.31", false}, {pairs, "192.0.2.1", false}, {Set{}, "192.0.2.1", false},
	} {
		if got := c.set.Contains(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%v contains %s: %t, want %t", c.set, c.addr, got, c.want)
		}
	}
}

func TestLookups(t *testing.T) {
	s := full()
	if v, ok := s.IPVSFor("TCP", netip.MustParseAddrPort("198.18.0.1:80")); !ok || v.Scheduler != "rr" {
		t.Errorf("service: %v %t", v, ok)
	}
	for _, c := range []struct{ protocol, addr string }{{"UDP", "198.18.0.1:80"}, {"TCP", "198.18.0.1:81"}, {"TCP", "198.18.0.2:80"}} {
		if v, ok := s.IPVSFor(c.protocol, netip.MustParseAddrPort(c.addr)); ok {
			t.Errorf("%v: found %v", c, v)
		}
	}
	if v, ok := s.IPVSForMark(7, true); !ok || v.Scheduler != "lc" {
		t.Errorf("service with mark: %v %t", v, ok)
	}
	if v, ok := s.IPVSForMark(7, false); ok {
		t.Errorf("service with mark in the other family: %v", v)
	}
	if v, ok := s.SetByName("inet6:kube-router-svip"); !ok || len(v.Members) != 1 {
		t.Errorf("set: %v %t", v, ok)
	}
	if v, ok := s.SetByName("kube-router-svip"); ok {
		t.Errorf("set that is not there: %v", v)
	}
	if c, ok := s.Chain(true, "filter", "INPUT"); !ok || c.Policy != "DROP" {
		t.Errorf("chain: %v %t", c, ok)
	}
	for _, c := range []struct {
		ipv6         bool
		table, chain string
	}{{false, "filter", "INPUT"}, {true, "nat", "INPUT"}, {true, "filter", "OUTPUT"}} {
		if v, ok := s.Chain(c.ipv6, c.table, c.chain); ok {
			t.Errorf("%v: found %v", c, v)
		}
	}
	if !s.HasAddr("eth0", netip.MustParseAddr("2001:db8:2::1")) || s.HasAddr("eth1", netip.MustParseAddr("2001:db8:2::1")) ||
		s.HasAddr("eth0", netip.MustParseAddr("2001:db8:2::2")) {
		t.Error("addresses")
	}
}
