package netns

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"proxyproof/sim/world"
)

func planSpec() world.Spec {
	return world.Spec{
		Families: []world.Family{world.IPv4, world.IPv6},
		Seed:     7,
		Nodes:    []world.NodeSpec{{Name: "cp"}, {Name: "worker", Addresses: 2}},
		Pods:     []world.PodSpec{{Name: "web-1", Node: "worker"}, {Name: "kube-dns", Node: "worker"}, {Name: "a-rather-long-name", Node: "cp"}},
		Clients:  []world.ClientSpec{{Name: "laptop"}, {Name: "phone"}},
	}
}

func TestPlanIsAFunctionOfTheSeed(t *testing.T) {
	spec := planSpec()
	first, err := plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := plan(spec)
	if !reflect.DeepEqual(first, again) {
		t.Error("the same spec gave two layouts")
	}
	spec.Seed++
	other, _ := plan(spec)
	if reflect.DeepEqual(first.nodes, other.nodes) {
		t.Error("another seed gave the same addresses")
	}
}

func TestPlanAddresses(t *testing.T) {
	for seed := range uint64(100) {
		spec := planSpec()
		spec.Seed = seed
		l, err := plan(spec)
		if err != nil {
			t.Fatal(err)
		}
		ranges := world.DefaultRanges()
		for _, f := range spec.Families {
			used := map[netip.Addr]bool{}
			take := func(a netip.Addr, in netip.Prefix) {
				t.Helper()
				if used[a] || !in.Contains(a) || a == in.Addr() {
					t.Errorf("seed %d: %s is taken or not in %s", seed, a, in)
				}
				used[a] = true
			}
			for i, n := range l.nodes {
				if want := max(spec.Nodes[i].Addresses, 1); len(n.addrs[f]) != want {
					t.Errorf("%s has %v", n.name, n.addrs[f])
				}
				for _, a := range n.addrs[f] {
					take(a, ranges.Nodes[f])
				}
				if !ranges.Pods[f].Overlaps(n.podCIDR[f]) || n.podCIDR[f] != n.podCIDR[f].Masked() {
					t.Errorf("%s has pods %s", n.name, n.podCIDR[f])
				}
			}
			if l.nodes[0].podCIDR[f].Overlaps(l.nodes[1].podCIDR[f]) {
				t.Error("nodes share a pod range")
			}
			for _, p := range l.pods {
				take(p.addr[f], l.nodes[p.node].podCIDR[f])
			}
			for _, c := range l.clients {
				take(c.plain[f], ranges.Nodes[f])
				for _, via := range c.via {
					take(via[f], ranges.Nodes[f])
				}
			}
		}
	}
}

func TestAddressesOfAHostLookAlike(t *testing.T) {
	ranges := world.DefaultRanges()
	if a := host(ranges.Nodes[world.IPv4], 53); a.String() != "192.0.2.53" {
		t.Error(a)
	}
	if a := host(ranges.Nodes[world.IPv6], 153); a.String() != "2001:db8:2::153" {
		t.Error(a)
	}
	if p := podCIDR(ranges.Pods[world.IPv4], 12); p.String() != "198.19.12.0/24" {
		t.Error(p)
	}
	if p := podCIDR(ranges.Pods[world.IPv6], 12); p.String() != "2001:db8:19:12::/64" {
		t.Error(p)
	}
}

func TestPlanOneFamily(t *testing.T) {
	spec := planSpec()
	spec.Families = []world.Family{world.IPv6}
	l, err := plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	if n := l.nodes[1]; len(n.addrs[world.IPv4]) != 0 || n.podCIDR[world.IPv4].IsValid() || len(n.addrs[world.IPv6]) != 2 {
		t.Errorf("%+v", n)
	}
}

func TestPlanRefuses(t *testing.T) {
	for want, change := range map[string]func(*world.Spec){
		"at least one address family":    func(s *world.Spec) { s.Families = nil },
		"each once":                      func(s *world.Spec) { s.Families = []world.Family{world.IPv4, world.IPv4} },
		"want IPv4, IPv6 or both":        func(s *world.Spec) { s.Families = []world.Family{5} },
		"a name of its own":              func(s *world.Spec) { s.Clients[0].Name = "cp" },
		`client "": every place`:         func(s *world.Spec) { s.Clients[0].Name = "" },
		`there is no node "nowhere"`:     func(s *world.Spec) { s.Pods[0].Node = "nowhere" },
		"3 addresses per family":         func(s *world.Spec) { s.Nodes[0].Addresses = 3 },
		"addresses on one link":          func(s *world.Spec) { s.Clients = make([]world.ClientSpec, 100); nameAll(s.Clients) },
		`node "worker": more than`:       func(s *world.Spec) { s.Pods = manyPods(hosts + 1) },
		`pod "web-1": every place needs`: func(s *world.Spec) { s.Pods[1].Name = "web-1" },
	} {
		spec := planSpec()
		change(&spec)
		if _, err := plan(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func nameAll(clients []world.ClientSpec) {
	for i := range clients {
		clients[i].Name = strings.Repeat("c", i+1)
	}
}

func manyPods(n int) []world.PodSpec {
	pods := make([]world.PodSpec, n)
	for i := range pods {
		pods[i] = world.PodSpec{Name: strings.Repeat("p", i+1), Node: "worker"}
	}
	return pods
}

func TestPodLink(t *testing.T) {
	for pod, want := range map[string]string{"web-1": "pod-web-1", "kube-dns": "pod-3", "my-dummy": "pod-3", "a-rather-long-name": "pod-3", "12345678901": "pod-12345678901"} {
		if got := podLink(pod, 3); got != want {
			t.Errorf("%s: %s, want %s", pod, got, want)
		}
	}
}

func TestParseTask(t *testing.T) {
	stat := "4711 (a (strange) name) D 17 4711 42 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 100 2000000 50 18446744073709551615 1 1"
	got, err := parseTask([]byte(stat))
	if err != nil {
		t.Fatal(err)
	}
	if got.pid != 4711 || got.parent != 17 || got.session != 42 || got.state != 'D' || got.cpu.Seconds() != 1 || got.rss != 50*4096 || !got.busy() {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2", strings.Replace(stat, " 17 ", " x ", 1)} {
		if _, err := parseTask([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestDescends(t *testing.T) {
	all := map[int]task{1: {parent: 0, session: 1}, 10: {parent: 1, session: 10}, 11: {parent: 10, session: 11}, 12: {parent: 1, session: 10}, 13: {parent: 1, session: 13}, 20: {parent: 21}, 21: {parent: 20}}
	for id, want := range map[int]bool{10: true, 11: true, 12: true, 13: false, 1: false, 20: false, 99: false} {
		if got := descends(all, id, 10); got != want {
			t.Errorf("%d: %v", id, got)
		}
	}
}

func TestWithPath(t *testing.T) {
	if got := withPath([]string{"A=b"}); !reflect.DeepEqual(got, []string{"A=b", "PATH=" + toolDir + ":" + systemPath}) {
		t.Error(got)
	}
	if got := withPath([]string{"PATH=/x", "A=b"}); !reflect.DeepEqual(got, []string{"A=b", "PATH=" + toolDir + ":/x"}) {
		t.Error(got)
	}
}
