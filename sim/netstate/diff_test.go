package netstate

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rules(specs ...string) []Rule {
	var all []Rule
	for _, s := range specs {
		args, _ := splitArgs(s)
		all = append(all, Rule{Spec: s, Args: args})
	}
	return all
}

func filter(input ...string) *State {
	return &State{Tables: []Table{{Name: "filter", Chains: []Chain{{Name: "INPUT", Policy: "ACCEPT", Rules: rules(input...)}}}}}
}

func TestDiff(t *testing.T) {
	set := func(members ...string) *State {
		return &State{Sets: []Set{{Name: "inet6:kube-router-svip", Type: "hash:ip", IPv6: true, Members: members}}}
	}
	sysctls := func(pairs ...string) map[string]string {
		m := map[string]string{"net.ipv4.conf.default.rp_filter": "0"}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	addr := func(s string, usable bool) Addr {
		return Addr{Link: "eth0", Prefix: netip.MustParsePrefix(s), Scope: "global", Usable: usable}
	}
	for name, c := range map[string]struct {
		a, b *State
		want []string
	}{
		"nothing": {full(), full(), nil},
		"members": {set("2001:db8::1", "2001:db8::2"), set("2001:db8:2::1", "2001:db8::2"), []string{
			"- ipset inet6:kube-router-svip member 2001:db8::1",
			"+ ipset inet6:kube-router-svip member 2001:db8:2::1",
		}},
		"a set": {&State{}, set("2001:db8::1"), []string{
			"+ ipset inet6:kube-router-svip hash:ip inet6",
			"+ ipset inet6:kube-router-svip member 2001:db8::1",
		}},
		"an address": {&State{Addrs: []Addr{addr("192.0.2.1/24", true), addr("192.0.2.2/24", true)}},
			&State{Addrs: []Addr{addr("192.0.2.1/24", false), addr("192.0.2.3/24", true)}}, []string{
				"~ address 192.0.2.1/24 dev eth0 scope global unusable, was scope global",
				"- address 192.0.2.2/24 dev eth0 scope global",
				"+ address 192.0.2.3/24 dev eth0 scope global",
			}},
		"sysctls": {&State{Sysctls: sysctls("a", "0", "b", "1", "net.ipv4.conf.old.rp_filter", "0")},
			&State{Sysctls: sysctls("a", "1", "c", "1", "net.ipv4.conf.new.rp_filter", "0", "net.ipv4.conf.odd.rp_filter", "1")}, []string{
				"~ sysctl a = 1, was 0", "- sysctl b = 1", "+ sysctl c = 1", "+ sysctl net.ipv4.conf.odd.rp_filter = 1",
			}},
		"a policy rule twice": {&State{Rules: []PolicyRule{{Priority: 5, Action: "lookup", Table: 78}}},
			&State{Rules: []PolicyRule{{Priority: 5, Action: "lookup", Table: 78}, {Priority: 5, Action: "lookup", Table: 78}}},
			[]string{"+ policy rule inet 5: from all lookup 78"}},
		"a rule before others": {filter("-j A", "-j B"), filter("-j X", "-j A", "-j B"), []string{"+ iptables inet filter INPUT 1: -j X"}},
		"a rule between":       {filter("-j A", "-j B"), filter("-j A", "-j X", "-j B"), []string{"+ iptables inet filter INPUT 2: -j X"}},
		"a rule twice":         {filter("-j A"), filter("-j A", "-j A"), []string{"+ iptables inet filter INPUT 2: -j A"}},
		"a rule less":          {filter("-j A", "-j B", "-j C"), filter("-j A", "-j C"), []string{"- iptables inet filter INPUT 2: -j B"}},
		"a rule moved": {filter("-j A", "-j B", "-j C"), filter("-j B", "-j C", "-j A"), []string{
			"- iptables inet filter INPUT 1: -j A", "+ iptables inet filter INPUT 3: -j A"}},
		"a rule replaced": {filter("-j A", "-j B"), filter("-j A", "-j C"), []string{
			"- iptables inet filter INPUT 2: -j B", "+ iptables inet filter INPUT 2: -j C"}},
		"a table": {&State{}, filter("-j A"), []string{"+ iptables chain inet filter INPUT ACCEPT", "+ iptables inet filter INPUT 1: -j A"}},
		"traffic": {&State{IPVS: []IPVSService{{FWMark: 1, Dests: []IPVSDest{{ActiveConns: 1}}}}},
			&State{IPVS: []IPVSService{{FWMark: 1, Dests: []IPVSDest{{InactiveConns: 2}}}}}, nil},
	} {
		var got []string
		for _, change := range Diff(c.a, c.b) {
			got = append(got, change.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Applying what diffChain tells to one chain gives the other.
func TestDiffChainIsComplete(t *testing.T) {
	letters := []string{"a", "b", "c"}
	var chains [][]string
	var build func(prefix []string, n int)
	build = func(prefix []string, n int) {
		chains = append(chains, prefix)
		for _, l := range letters {
			if n > 0 {
				build(append(prefix[:len(prefix):len(prefix)], l), n-1)
			}
		}
	}
	build(nil, 4)
	for _, a := range chains {
		for _, b := range chains {
			removed, added := map[int]bool{}, map[int]string{}
			for _, c := range diffChain("", a, b) {
				var n int
				for _, digit := range c.Object[1:] {
					n = 10*n + int(digit-'0')
				}
				if c.Kind == Removed {
					removed[n] = true
				} else {
					added[n] = c.Detail
				}
			}
			var got []string
			rest := 0
			for i := 1; i <= len(b); i++ {
				if s, ok := added[i]; ok {
					got = append(got, s)
					continue
				}
				for rest++; removed[rest]; rest++ {
				}
				if rest <= len(a) {
					got = append(got, a[rest-1])
				}
			}
			if len(removed)+len(b)-len(added) != len(a) || !cmp.Equal(append([]string{}, got...), append([]string{}, b...)) {
				t.Fatalf("from %v to %v: %v", a, b, diffChain("", a, b))
			}
		}
	}
}
