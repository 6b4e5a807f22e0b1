package invariant_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/finding"
	"proxyproof/sim/world"
)

// realistic is a node with Services of every kind.
func realistic(families ...world.Family) *node {
	n := newNode(families...).withExample()
	n.object("dns", corev1.ServiceTypeClusterIP,
		corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP})
	external := n.object("external", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: 30080})
	external.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	sticky := n.object("sticky", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 81, NodePort: 30081})
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	n.object("empty", corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 82})
	for _, f := range families {
		here, far := endpoint("web-1", "cp", podAddr(f)), endpoint("web-2", "worker", farAddr(f))
		at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

		dns := addr(f, "198.18.0.10", "2001:db8:18::10")
		n.clusterIP("dns", f, dns)
		n.sliceOf("dns", f, corev1.ProtocolUDP, 53, "dns", here)
		n.sliceOf("dns", f, corev1.ProtocolTCP, 5353, "dns-tcp", here)
		n.vip(dns, "UDP", 53, at(podAddr(f), 53))
		n.vip(dns, "TCP", 53, at(podAddr(f), 5353))

		vip, outside := addr(f, "198.18.0.11", "2001:db8:18::11"), addr(f, "198.51.100.5", "2001:db8:51::5")
		n.clusterIP("external", f, vip)
		external.Spec.ExternalIPs = append(external.Spec.ExternalIPs, outside.String())
		n.slice("external", f, 8080, "", here, far)
		n.vip(vip, "TCP", 80, at(podAddr(f), 8080), at(farAddr(f), 8080))
		n.vip(outside, "TCP", 80, at(podAddr(f), 8080))
		n.virtual(nodeAddr(f), "TCP", 30080, at(podAddr(f), 8080))

		vip = addr(f, "198.18.0.12", "2001:db8:18::12")
		n.clusterIP("sticky", f, vip)
		n.slice("sticky", f, 8080, "", far)
		n.vip(vip, "TCP", 81, at(farAddr(f), 8080))
		n.virtual(nodeAddr(f), "TCP", 30081, at(farAddr(f), 8080))
		for i := range n.Now.IPVS {
			if s := &n.Now.IPVS[i]; s.Port == 81 || s.Port == 30081 {
				s.Persistent, s.Flags, s.Timeout = true, 1, 10800
			}
		}

		vip = addr(f, "198.18.0.13", "2001:db8:18::13")
		n.clusterIP("empty", f, vip)
		n.vip(vip, "TCP", 82)
	}
	return n
}

// kinds tells which finding a change of a part of the state must at least give. Where several patterns match, the first counts.
// None means that the part may be as it likes, for the stated reason.
var kinds = []struct {
	path  string
	finds finding.ID
}{
	{`^Tables.*\.(Policy|Spec)$`, ""}, // the policy is the owner's; a rule means what its words say
	{`^Tables\[filter\]\.Chains\[KUBE-ROUTER-SERVICES\]\.Rules\[-p [^]]*\]\.Args`, either},
	{`^Tables\[filter\]\.Chains\[KUBE-ROUTER-SERVICES\]\.Rules\[-p [^]]*icmpv6-type (135|136)`, "firewall-rejects-neighbour-discovery"},
	{`^Tables\[filter\]\.Chains\[KUBE-ROUTER-SERVICES\]\.Rules\[-p `, ""}, // which others are accepted differs between releases
	{`^Tables\[filter\]\.Chains\[KUBE-ROUTER-SERVICES\]\.Rules\[[^]]*svip-prt`, "firewall-accept-missing"},
	{`^Tables\[filter\]\.Chains\[KUBE-ROUTER-SERVICES\]`, "firewall-reject-wrong"},
	{`^Tables`, "firewall-jump-wrong"},
	{`^Links\[.*\]\.Kind`, ""}, // whatever carries the VIPs
	{`^Links\[.*kube-dummy-if\]`, "vip-address-missing"},
	{`^Links`, ""},                       // plain links are the world's, and what counts is their addresses
	{`^Addrs\[.*\]\.(Scope|Usable)`, ""}, // proxies add VIPs with different scopes; a deprecated VIP still receives
	{`^Addrs\[(fe80::20)\]\.Prefix$`, "vip-address-unjustified"},
	{`^Addrs\[(fe80::10|127\.0\.0\.1|::1)\]\.Prefix$`, "local-ips-incomplete"},
	{`^Addrs\[(fe80::|127\.0\.0\.1|::1)`, ""},                        // may be in local-ips or not
	{`^Addrs\[(192\.0\.2|2001:db8:2:).*\]\.(Link|Prefix\.Bits)`, ""}, // on another plain link, or with another neighbourhood: still the node's
	{`^Addrs\[(192\.0\.2|2001:db8:2:)`, "local-ips-excess"},
	{`^Addrs\[.*\]\.Prefix\.Bits`, "vip-address-unjustified"},
	{`^Addrs`, "vip-address-missing"},
	{`^Routes\[fe80::20/128\]\.Dst$`, "vip-route-wrong"},        // a local route for a stranger
	{`^Routes\[(fe80::|ff00::)`, ""},                            // the kernel's own
	{`^Routes\[.*\]\.(Metric|Protocol|Scope|Link|Gateway)`, ""}, // type, table, destination and source decide
	{`^Routes`, "vip-route-wrong"},
	{`^IPVS\[[^]]*\]\.Dests\[[^]]*\]\.(ActiveConns|InactiveConns)`, ""}, // traffic
	// No contract says yet that these must be unset, so they are read and compared between states, but not judged.
	{`^IPVS\[[^]]*\]\.(Engine|Dests\[[^]]*\]\.(Tunnel|Upper|Lower))`, ""},
	{`^IPVS\[[^]]*\]\.Dests\[[^]]*\]\.(Weight|Forward)`, "ipvs-dest-wrong"},
	{`^IPVS\[[^]]*\]\.Dests`, "ipvs-dest-missing"},
	{`^IPVS\[TCP \S+ port (81|30081)\]\.Timeout`, "ipvs-service-wrong"},
	{`^IPVS\[TCP \S+ port (81|30081)\]\.Netmask`, "ipvs-service-wrong"},
	{`^IPVS\[.*\]\.(Timeout|Netmask)`, ""}, // mean nothing without persistence
	{`^IPVS\[.*\]\.(Flags|IPv6)`, ""},      // see TestEachFault; the address tells the family
	{`^IPVS\[.*\]\.(Scheduler|Persistent)`, "ipvs-service-wrong"},
	{`^IPVS`, "ipvs-service-missing"},
	{`^Sysctls\[net\.ipv4\.ip_forward\]`, ""}, // the node's business
	{`^Sysctls`, "sysctl-wrong"},
	{`^Sets\[.*\]\.Options`, ""}, // hash sizes
	{`^Sets\[[^]]*local-ips\]`, "local-ips-incomplete"},
	{`^Sets\[[^]]*svip-prt\]`, "svip-prt-incomplete"},
	{`^Sets\[[^]]*svip\]`, "svip-incomplete"},
}

// either means that it depends on the change whether something is found.
const either finding.ID = "either"

// TestEveryEntryCounts takes the state of a good node, removes or changes one part after the other, and expects the finding that
// this part is there to prevent. A check that cannot fail is worthless.
func TestEveryEntryCounts(t *testing.T) {
	tried := map[finding.ID]int{}
	n := realistic(both...)
	good := n.Now
	mutate(reflect.ValueOf(good).Elem(), "", func(path string) {
		n.Now = copyState(t, good)
		found := judge(n.View)
		i := slices.IndexFunc(kinds, func(k struct {
			path  string
			finds finding.ID
		}) bool {
			return regexp.MustCompile(k.path).MatchString(path)
		})
		if i < 0 {
			t.Fatalf("%s: no kind of finding is stated for this part", path)
		}
		want := kinds[i].finds
		tried[want]++
		switch {
		case want == "" && len(found) > 0:
			t.Errorf("%s: should not matter, but found%s", path, print(found))
		case want != "" && want != either && !slices.Contains(ids(found), want):
			t.Errorf("%s: want %s, found%s", path, want, print(found))
		}
	})
	n.Now = good
	if found := judge(n.View); len(found) > 0 {
		t.Fatalf("the state was not restored: found%s", print(found))
	}
	t.Logf("changes tried by expected finding: %v", tried)
}

// mutate makes every single change to a value in turn, calls try while it is in force, and undoes it: it removes each element of
// each slice, and gives each leaf another value.
func mutate(v reflect.Value, path string, try func(path string)) {
	switch x := v.Interface().(type) {
	case netip.Addr:
		with(v, reflect.ValueOf(other(x)), func() { try(path) })
		return
	case netip.Prefix:
		with(v, reflect.ValueOf(netip.PrefixFrom(other(x.Addr()), x.Bits())), func() { try(path) })
		with(v, reflect.ValueOf(netip.PrefixFrom(x.Addr(), x.Bits()-1)), func() { try(path + ".Bits") })
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mutate(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), try)
		}
	case reflect.Slice:
		for i := range v.Len() {
			where := path + "[" + nameOf(v.Index(i)) + "]"
			rest := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v.Slice(0, i))
			with(v, reflect.AppendSlice(rest, v.Slice(i+1, v.Len())), func() { try(where) })
			mutate(v.Index(i), where, try)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			old, changed := v.MapIndex(key), reflect.New(v.Type().Elem()).Elem()
			changed.Set(old)
			mutate(changed, path+"["+key.String()+"]", func(path string) {
				v.SetMapIndex(key, changed)
				try(path)
				v.SetMapIndex(key, old)
			})
		}
	case reflect.String:
		with(v, reflect.ValueOf(v.String()+"x").Convert(v.Type()), func() { try(path) })
	case reflect.Bool:
		with(v, reflect.ValueOf(!v.Bool()), func() { try(path) })
	case reflect.Int:
		with(v, reflect.ValueOf(int(v.Int())+1), func() { try(path) })
	case reflect.Uint16, reflect.Uint32:
		with(v, reflect.ValueOf(v.Uint()+1).Convert(v.Type()), func() { try(path) })
	}
}

// with holds another value while do runs.
func with(v, value reflect.Value, do func()) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	v.Set(value)
	do()
	v.Set(old)
}

// other is an address that the node has nothing to do with.
func other(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.MustParseAddr("198.51.100.99")
	}
	return netip.MustParseAddr("2001:db8:51::99")
}

// nameOf names an entry of the state in a path.
func nameOf(v reflect.Value) string {
	field := func(name string) any { return v.FieldByName(name).Interface() }
	switch v.Type().Name() {
	case "Addr", "IPVSDest":
		if p, ok := v.Type().FieldByName("Prefix"); ok {
			return v.FieldByIndex(p.Index).Interface().(netip.Prefix).Addr().String()
		}
		return field("Address").(netip.Addr).String()
	case "IPVSService":
		return fmt.Sprintf("%s %s port %d", field("Protocol"), field("Address"), field("Port"))
	case "Route":
		return field("Dst").(netip.Prefix).String()
	case "Link", "Set", "Table", "Chain":
		return field("Name").(string)
	case "Rule":
		return field("Spec").(string)
	}
	return strconv.Quote(v.String())
}
