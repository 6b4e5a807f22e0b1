package netstate

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// full is a state in which every field of every type is set.
func full() *State {
	return &State{
		Links: []Link{{Name: "eth0", Kind: "veth", Up: true}},
		Addrs: []Addr{{Link: "eth0", Prefix: netip.MustParsePrefix("2001:db8:2::1/64"), Scope: "global", Usable: true}},
		Routes: []Route{{Table: 78, Type: "local", Dst: netip.MustParsePrefix("198.18.0.1/32"), Gateway: netip.MustParseAddr("192.0.2.9"),
			Link: "eth0", Src: netip.MustParseAddr("192.0.2.1"), Metric: 7, Protocol: "kernel", Scope: "host"}},
		Rules: []PolicyRule{{IPv6: true, Priority: 100, Invert: true, Src: netip.MustParsePrefix("2001:db8::/64"),
			Dst: netip.MustParsePrefix("2001:db8:1::/64"), Mark: 1, Mask: 3, IifName: "eth0", OifName: "eth1", Action: "lookup", Table: 78,
			Other: "ipproto tcp"}},
		IPVS: []IPVSService{
			{Protocol: "TCP", Address: netip.MustParseAddr("198.18.0.1"), Port: 80, Scheduler: "rr", Persistent: true, Timeout: 10800,
				Flags: 0x19, Netmask: 0xffffff00, Engine: "sip", Dests: []IPVSDest{{Address: netip.MustParseAddr("198.19.0.1"), Port: 8080,
					Weight: 1, Forward: "Tunnel", Tunnel: "gue:6080", Upper: 9, Lower: 5, ActiveConns: 3, InactiveConns: 4}}},
			{FWMark: 7, IPv6: true, Scheduler: "lc", Netmask: 128},
		},
		Sets: []Set{{Name: "inet6:kube-router-svip", Type: "hash:ip", IPv6: true, Options: "timeout 0", Members: []string{"2001:db8::1"}}},
		Tables: []Table{{IPv6: true, Name: "filter", Chains: []Chain{{Name: "INPUT", Policy: "DROP",
			Rules: []Rule{{Spec: "-j ACCEPT", Args: []string{"-j", "ACCEPT"}}}}}}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
}

func TestJSON(t *testing.T) {
	for name, s := range map[string]*State{"full": full(), "empty": {}} {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back State
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*s, back) {
			t.Errorf("%s: %s does not come back: %+v", name, b, back)
		}
	}
}

// Each field is printed, so that the fingerprint covers it, and told by Diff; traffic is not.
func TestEveryFieldCounts(t *testing.T) {
	silent := map[string]bool{"ActiveConns": true, "InactiveConns": true, "Args": true}
	// A service has an address that tells the family, or a mark.
	void := map[string]bool{".IPVS[0].IPv6": true, ".IPVS[1].Protocol": true, ".IPVS[1].Address": true, ".IPVS[1].Port": true}
	seen := map[string]bool{}
	for i := range leavesOf(full()) {
		before, after := full(), full()
		l := leavesOf(after)[i]
		l.change()
		name := l.path[strings.LastIndex(l.path, ".")+1:]
		name, _, _ = strings.Cut(name, "[")
		seen[name] = true
		differs := Print(before) != Print(after)
		if want := !silent[name] && !void[l.path]; differs != want {
			t.Errorf("%s: printed differently: %t, want %t", l.path, differs, want)
		}
		if diff := Diff(before, after); (len(diff) > 0) != differs {
			t.Errorf("%s: printed differently: %t, but Diff tells %v", l.path, differs, diff)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d fields were changed: %v", len(seen), seen)
	}
}

// leaf is a field of a state that has no fields, and a way to change it.
type leaf struct {
	path   string
	change func()
}

func leavesOf(s *State) []leaf {
	var all []leaf
	leaves(reflect.ValueOf(s).Elem(), "", func(path string, change func()) { all = append(all, leaf{path, change}) })
	return all
}

func leaves(v reflect.Value, path string, visit func(path string, change func())) {
	switch v.Interface().(type) {
	case netip.Addr:
		visit(path, func() { v.Set(reflect.ValueOf(netip.MustParseAddr("203.0.113.200"))) })
		return
	case netip.Prefix:
		visit(path, func() { v.Set(reflect.ValueOf(netip.MustParsePrefix("203.0.113.128/25"))) })
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Map:
		visit(path, func() { v.SetMapIndex(v.MapKeys()[0], reflect.ValueOf("changed")) })
	case reflect.String:
		visit(path, func() { v.SetString("changed") })
	case reflect.Bool:
		visit(path, func() { v.SetBool(!v.Bool()) })
	case reflect.Int:
		visit(path, func() { v.SetInt(v.Int() + 1) })
	case reflect.Uint16, reflect.Uint32:
		visit(path, func() { v.SetUint(v.Uint() + 1) })
	default:
		panic(path)
	}
}

func TestPrint(t *testing.T) {
	s := full()
	s.Routes = append(s.Routes, Route{Table: 254, Type: "unicast", Dst: netip.MustParsePrefix("::/0"),
		Gateway: netip.MustParseAddr("2001:db8:2::fe"), Link: "eth0", Metric: 1024, Protocol: "static", Scope: "global"})
	s.Rules = append(s.Rules, PolicyRule{Priority: 32765, Action: "lookup", Table: 79})
	want := `link eth0 veth up
address 2001:db8:2::1/64 dev eth0 scope global
route local 198.18.0.1/32 dev eth0 table 78 metric 7 via 192.0.2.9 src 192.0.2.1 proto kernel scope host
route ::/0 dev eth0 table main metric 1024 via 2001:db8:2::fe proto static scope global
policy rule inet6 100: not from 2001:db8::/64 to 2001:db8:1::/64 fwmark 0x1/0x3 iif eth0 oif eth1 ipproto tcp lookup 78
policy rule inet 32765: from all lookup 79
IPVS service TCP 198.18.0.1:80 rr persistent 10800 netmask 0xffffff00 engine sip flags 0x18
IPVS destination TCP 198.18.0.1:80 -> 198.19.0.1:8080 Tunnel gue:6080 weight 1 threshold 5-9
IPVS service fwmark 7 inet6 lc
ipset inet6:kube-router-svip hash:ip inet6 timeout 0
ipset inet6:kube-router-svip member 2001:db8::1
iptables chain inet6 filter INPUT DROP
iptables inet6 filter INPUT 1: -j ACCEPT
sysctl net.ipv4.ip_forward = 1
`
	if diff := cmp.Diff(want, Print(s)); diff != "" {
		t.Error(diff)
	}
}
