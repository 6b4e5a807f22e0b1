package netns_test

import (
	"os"
	"reflect"
	"testing"

	"proxyproof/sim/world"
)

// ruleset is made of what the rules of kube-proxy's nftables mode are made of, in both families.
const ruleset = `
table ip proxy {
	map ports { type ipv4_addr . inet_proto . inet_service : verdict; }
	set clients { type ipv4_addr; flags dynamic,timeout; timeout 3h; }
	chain affinity { update @clients { ip saddr }; }
	chain endpoint { meta l4proto tcp dnat to 192.0.2.1:80; }
	chain incoming { type nat hook prerouting priority -100; fib daddr type local counter; ip daddr . meta l4proto . th dport vmap @ports; numgen random mod 2 vmap { 0 : goto endpoint, 1 : goto endpoint }; }
	chain outgoing { type nat hook postrouting priority 100; mark & 0x4000 != 0 masquerade fully-random; }
	chain unserved { type filter hook forward priority 0; ct state new reject; }
}
table ip6 proxy {
	map ports { type ipv6_addr . inet_proto . inet_service : verdict; }
	set clients { type ipv6_addr; flags dynamic,timeout; timeout 3h; }
	chain affinity { update @clients { ip6 saddr }; }
	chain endpoint { meta l4proto tcp dnat to [2001:db8::1]:80; }
	chain incoming { type nat hook prerouting priority -100; fib daddr type local counter; ip6 daddr . meta l4proto . th dport vmap @ports; numgen random mod 2 vmap { 0 : goto endpoint, 1 : goto endpoint }; }
	chain outgoing { type nat hook postrouting priority 100; mark & 0x4000 != 0 masquerade fully-random; }
	chain unserved { type filter hook forward priority 0; ct state new reject; }
}
table inet proxy {
	chain c { type filter hook input priority 0; fib daddr type local jhash ip saddr mod 2 vmap { 0 : accept, 1 : accept }; reject; }
}
`

// TestNftables loads a ruleset on a node: everything that it needs is there or is loaded when it is asked for.
func TestNftables(t *testing.T) {
	w := newWorld(t, smallSpec(familySets["dual-v4"], 1))
	n := w.Nodes()[0]
	const file = "/tmp/ruleset"
	if err := n.Do(t.Context(), func() error { return os.WriteFile(file, []byte(ruleset), 0o600) }); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Run(t.Context(), "nft", "-f", file); err != nil {
		need(t, err.Error())
	}
}

// TestMissingModules asks for what is there, for what this kernel has but the machine does not, and for what nobody has.
func TestMissingModules(t *testing.T) {
	w := newWorld(t, smallSpec(familySets["ipv4"], 1))
	n := w.Nodes()[0]
	missing := func() []world.Module {
		t.Helper()
		m, err := n.MissingModules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if _, err := n.Run(t.Context(), "modprobe", "--", "ip_vs_rr"); err != nil {
		need(t, err.Error())
	}
	if m := missing(); m != nil {
		t.Errorf("got %v", m)
	}
	for _, name := range []string{"no-such-module", "tls"} {
		if _, err := n.Run(t.Context(), "modprobe", "-q", "--", name); err == nil {
			need(t, "there is a module "+name)
		}
	}
	if got, want := missing(), []world.Module{{Name: "no_such_module"}, {Name: "tls", Exists: true}}; !reflect.DeepEqual(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	other, err := w.Nodes()[1].MissingModules(t.Context())
	if other != nil || err != nil {
		t.Errorf("the other node: %v, %v", other, err)
	}
}
