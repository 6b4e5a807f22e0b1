package netstate

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func meaningOf(t *testing.T, spec string) Meaning {
	t.Helper()
	rule, err := newRule(spec)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseRule(rule)
	if err != nil {
		t.Errorf("%s: %v", spec, err)
	}
	return m
}

func TestParseRule(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	accept := Action{Target: "ACCEPT"}
	for spec, want := range map[string]Meaning{
		"":          {},
		"-j ACCEPT": {Action: accept},
		"-g CHAIN":  {Action: Action{Target: "CHAIN", Goto: true}},
		`-m comment --comment "reject all unexpected traffic to service IPs" -m set ! --match-set inet6:kube-router-local-ips dst -j REJECT --reject-with icmp6-port-unreachable`: {
			Sets: []SetMatch{{"inet6:kube-router-local-ips", []string{"dst"}, true}}, Comments: []string{"reject all unexpected traffic to service IPs"},
			Action: Action{Target: "REJECT", RejectWith: "icmp6-port-unreachable"}},
		"-m set --match-set kube-router-svip-prt dst,dst -j ACCEPT": {Sets: []SetMatch{{"kube-router-svip-prt", []string{"dst", "dst"}, false}}, Action: accept},
		"-s 192.0.2.0/24 ! -d 2001:db8::1/128 -i eth0 ! -o veth+ -p tcp -m tcp --sport 1:1024 ! --dport 80 -j ACCEPT": {
			Src: PrefixMatch{prefix("192.0.2.0/24"), false}, Dst: PrefixMatch{prefix("2001:db8::1/128"), true}, In: NameMatch{"eth0", false},
			Out: NameMatch{"veth+", true}, Protocol: NameMatch{"tcp", false},
			Ports: []PortMatch{{"src", []PortRange{{1, 1024}}, false}, {"dst", []PortRange{{80, 80}}, true}}, Action: accept},
		"--source 192.0.2.1 --destination 192.0.2.0/255.255.255.0 --protocol 17 --jump ACCEPT": {Src: PrefixMatch{prefix("192.0.2.1/32"), false},
			Dst: PrefixMatch{prefix("192.0.2.0/24"), false}, Protocol: NameMatch{"udp", false}, Action: accept},
		"-p udp -m multiport ! --dports 53,1000:2000 -j ACCEPT": {Protocol: NameMatch{"udp", false},
			Ports: []PortMatch{{"dst", []PortRange{{53, 53}, {1000, 2000}}, true}}, Action: accept},
		"-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu": {Protocol: NameMatch{"tcp", false},
			TCPFlags: &FlagsMatch{[]string{"SYN", "RST"}, []string{"SYN"}, false}, Action: Action{Target: "TCPMSS", SetMSS: -1}},
		"-m conntrack ! --ctstate RELATED,ESTABLISHED -j ACCEPT": {States: &StatesMatch{[]string{"RELATED", "ESTABLISHED"}, true}, Action: accept},
		"-m state --state NEW -j ACCEPT":                         {States: &StatesMatch{[]string{"NEW"}, false}, Action: accept},
		"-m mark --mark 0x10000/0x10000 -m connmark ! --mark 0x7 -j ACCEPT": {Marks: []MarkMatch{{Mark{0x10000, 0x10000}, false, false},
			{Mark{7, 0xffffffff}, true, true}}, Action: accept},
		"-m addrtype ! --dst-type LOCAL --limit-iface-in -j RETURN": {AddrType: &AddrTypeMatch{Dst: []string{"LOCAL"}, DstNot: true, LimitIn: true},
			Action: Action{Target: "RETURN"}},
		"-m ipvs --vaddr 198.18.0.1/32 --vport 80 --vdir ORIGINAL ! --vmethod MASQ -j MASQUERADE --to-ports 1024-2048 --random-fully": {
			IPVS: &IPVSMatch{Address: PrefixMatch{prefix("198.18.0.1/32"), false}, Port: PortMatch{"dst", []PortRange{{80, 80}}, false},
				Direction: "ORIGINAL", Method: NameMatch{"MASQ", true}},
			Action: Action{Target: "MASQUERADE", Ports: PortRange{1024, 2048}, Options: []string{"--random-fully"}}},
		"-m ipvs ! --ipvs -j ACCEPT":               {IPVS: &IPVSMatch{Any: NotMatch{true, true}}, Action: accept},
		"-m limit --limit 10/min --limit-burst 7":  {Limit: "10/min burst 7"},
		"! -f -j ACCEPT":                           {Fragment: NotMatch{true, true}, Action: accept},
		"-j MARK --set-xmark 0x10/0xf0":            {Action: Action{Target: "MARK", SetMark: &Mark{0x10, 0xf0}}},
		"-j SNAT --to-source 192.0.2.1":            {Action: Action{Target: "SNAT", To: [2]netip.Addr{addr("192.0.2.1"), addr("192.0.2.1")}}},
		"-j SNAT --to-source 2001:db8::1":          {Action: Action{Target: "SNAT", To: [2]netip.Addr{addr("2001:db8::1"), addr("2001:db8::1")}}},
		"-j NFLOG --nflog-prefix x":                {Action: Action{Target: "NFLOG", Options: []string{"--nflog-prefix x"}}},
		"-p udp -j DNAT --to-destination :53":      {Protocol: NameMatch{"udp", false}, Action: Action{Target: "DNAT", Ports: PortRange{53, 53}}},
		"-j DNAT --to-destination 192.0.2.1:80-90": {Action: Action{Target: "DNAT", To: [2]netip.Addr{addr("192.0.2.1"), addr("192.0.2.1")}, Ports: PortRange{80, 90}}},
		"-j DNAT --to-destination [2001:db8::1]-[2001:db8::9]:80": {Action: Action{Target: "DNAT",
			To: [2]netip.Addr{addr("2001:db8::1"), addr("2001:db8::9")}, Ports: PortRange{80, 80}}},

		// What is not known is kept, with its negation, and does not hide what is.
		"-m recent --rcheck --name DEFAULT -j DROP":        {Unknown: []string{"-m", "recent", "--rcheck", "--name", "DEFAULT"}, Action: Action{Target: "DROP"}},
		"-m policy --dir in --proto esp -p tcp -j ACCEPT":  {Unknown: []string{"-m", "policy", "--dir", "in", "--proto", "esp"}, Protocol: NameMatch{"tcp", false}, Action: accept},
		"-m set --match-set x src ! --update-counters":     {Sets: []SetMatch{{"x", []string{"src"}, false}}, Unknown: []string{"!", "--update-counters"}},
		"-m conntrack --ctstate NEW ! --ctdir REPLY":       {States: &StatesMatch{[]string{"NEW"}, false}, Unknown: []string{"!", "--ctdir", "REPLY"}},
		"-j TPROXY --on-port 80":                           {Action: Action{Target: "TPROXY"}, Unknown: []string{"--on-port", "80"}},
		"-j CONNMARK --save-mark":                          {Action: Action{Target: "CONNMARK"}, Unknown: []string{"--save-mark"}},
		"-j ACCEPT !":                                      {Action: accept, Unknown: []string{"!"}},
		"-m statistic --mode random --probability 0.5":     {Unknown: []string{"-m", "statistic", "--mode", "random", "--probability", "0.5"}},
		"-m mark --mark 0x1 -m iprange --src-range 1-2 -i": {Marks: []MarkMatch{{Mark{1, 0xffffffff}, false, false}}, Unknown: []string{"-m", "iprange", "--src-range", "1-2"}},
	} {
		if spec == "-m mark --mark 0x1 -m iprange --src-range 1-2 -i" { // -i lacks its value
			rule, _ := newRule(spec)
			if m, err := ParseRule(rule); err == nil {
				t.Errorf("%s: %+v", spec, m)
			}
			continue
		}
		if diff := cmp.Diff(want, meaningOf(t, spec), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s: %s", spec, diff)
		}
	}
}

// Releases and tools spell ICMP types by number or by one of several names.
func TestParseRuleICMP(t *testing.T) {
	for spec, want := range map[string]ICMPMatch{
		"-p icmp -m icmp --icmp-type 8":                                   {false, 8, -1, false},
		"-p icmp -m icmp --icmp-type echo-request":                        {false, 8, -1, false},
		"-p icmp -m icmp --icmp-type any":                                 {false, -1, -1, false},
		"-p icmp -m icmp --icmp-type 255":                                 {false, -1, -1, false},
		"-p icmp -m icmp ! --icmp-type 3/4":                               {false, 3, 4, true},
		"-p icmp -m icmp --icmp-type destination-unreachable":             {false, 3, -1, false},
		"-p icmp -m icmp --icmp-type ttl-exceeded":                        {false, 11, -1, false},
		"-p ipv6-icmp -m icmp6 --icmpv6-type 128":                         {true, 128, -1, false},
		"-p ipv6-icmp -m icmp6 --icmpv6-type echo-request":                {true, 128, -1, false},
		"-p icmpv6 -m icmp6 --icmpv6-type neighbor-solicitation":          {true, 135, -1, false},
		"-p icmpv6 -m ipv6-icmp --icmpv6-type neighbour-advertisement":    {true, 136, -1, false},
		"-p icmpv6 -m icmp6 --icmpv6-type destination-unreachable":        {true, 1, -1, false},
		"-p icmpv6 -m icmp6 --icmpv6-type 1/4 -m comment --comment 'x y'": {true, 1, 4, false},
	} {
		m := meaningOf(t, spec)
		if m.ICMP == nil || *m.ICMP != want {
			t.Errorf("%s: %+v, want %+v", spec, m.ICMP, want)
		}
		if name := map[bool]string{false: "icmp", true: "icmpv6"}[want.IPv6]; m.Protocol.Name != name {
			t.Errorf("%s: protocol %q, want %q", spec, m.Protocol.Name, name)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for _, spec := range []string{"-s", "-s nonsense", "-s 192.0.2.0/255.0.255.0", "-m set --match-set x", "-p tcp -m tcp --dport http", "-m tcp --dport 70000",
		"-j ACCEPT -j DROP", "-s 192.0.2.1 -s 192.0.2.2", "-m mark --mark x", "-m mark --mark 1/x", "-p icmp -m icmp --icmp-type nonsense",
		"-p icmp -m icmp --icmp-type 3/x", "-m conntrack --ctstate NEW --ctstate NEW", "-j SNAT --to-source x", "-j SNAT --to-source 192.0.2.1:x",
		"-j TCPMSS --set-mss x"} {
		rule, err := newRule(spec)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := ParseRule(rule); err == nil {
			t.Errorf("%s: %+v", spec, m)
		}
	}
}

// All that this package spells has a meaning, but for a few kinds that no service proxy uses.
func TestMeaningOfWhatIsSpelled(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		tables, err := ParseSave(rulesOf(ipv6), ipv6)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			for _, c := range table.Chains {
				for _, r := range c.Rules {
					m := meaningOf(t, r.Spec)
					known := cmp.Equal(m.Unknown, []string(nil))
					odd := cmp.Equal(r.Args[:min(2, len(r.Args))], []string{"-m", "statistic"}) || cmp.Equal(r.Args[:min(2, len(r.Args))], []string{"-m", "physdev"}) ||
						m.Action.Target == "CONNMARK"
					if known == odd {
						t.Errorf("%s: unknown %q", r.Spec, m.Unknown)
					}
				}
			}
		}
	}
}
