package netstate

import (
	"net/netip"
	"reflect"
	"testing"
)

// village is a state with a bit of everything.
func village() *State {
	vip := netip.MustParseAddr("192.0.2.1")
	return &State{
		Links: []Link{{Name: "eth0", Kind: "veth", Up: true}},
		Addrs: []Addr{{Link: "eth0", Prefix: netip.PrefixFrom(vip, 24), Scope: "global", Usable: true}},
		IPVS:  []IPVSService{{Protocol: "TCP", Address: vip, Port: 80, Scheduler: "rr", Dests: []IPVSDest{{Address: vip, Port: 8080, Weight: 1, Forward: "Masq"}}}},
		Sets:  []Set{{Name: "a", Type: "hash:ip", Members: []string{"192.0.2.1"}}},
		Tables: []Table{{Name: "filter", Chains: []Chain{
			{Name: "INPUT", Policy: "ACCEPT", Rules: []Rule{{Spec: "-j A"}}}, {Name: "A", Rules: []Rule{{Spec: "-j ACCEPT"}}},
		}}},
	}
}

// newcomers come to the village.
var newcomers = map[string]func(*State){
	"a link":        func(s *State) { s.Links = append(s.Links, Link{Name: "x", Kind: "dummy"}) },
	"an address":    func(s *State) { s.Addrs = append(s.Addrs, Addr{Link: "x", Scope: "global"}) },
	"a route":       func(s *State) { s.Routes = append(s.Routes, Route{Table: 254, Type: "unreachable"}) },
	"a policy rule": func(s *State) { s.Rules = append(s.Rules, PolicyRule{Priority: 7}) },
	"a service":     func(s *State) { s.IPVS = append(s.IPVS, IPVSService{FWMark: 7, Scheduler: "wlc"}) },
	"a set":         func(s *State) { s.Sets = append(s.Sets, Set{Name: "b", Type: "hash:ip"}) },
	"a rule":        func(s *State) { c := &s.Tables[0].Chains[0]; c.Rules = append(c.Rules, Rule{Spec: "-j B"}) },
	"a chain":       func(s *State) { s.Tables[0].Chains = append(s.Tables[0].Chains, Chain{Name: "C"}) },
	"a table": func(s *State) {
		s.Tables = append(s.Tables, Table{IPv6: true, Name: "nat", Chains: []Chain{{Name: "D"}}})
	},
}

func TestGainAndUnionAreInverse(t *testing.T) {
	if part := Gain(village(), village()); !reflect.DeepEqual(part, &State{}) {
		t.Errorf("nothing came, and it found %s", Print(part))
	}
	for name, come := range newcomers {
		now := village()
		come(now)
		part := Gain(village(), now)
		if got := Print(Union(village(), part)); got != Print(now) {
			t.Errorf("%s: the part is\n%sand with it the village is\n%s, not\n%s", name, Print(part), got, Print(now))
		}
		if damage := Damage(part, now); len(damage) > 0 {
			t.Errorf("%s: it is there, and the damage is %v", name, damage)
		}
		if damage := Damage(part, village()); len(damage) == 0 {
			t.Errorf("%s: it is gone, and there is no damage", name)
		}
		for other, comeToo := range newcomers {
			if other == name {
				continue
			}
			more := village()
			come(more)
			comeToo(more)
			if damage := Damage(part, more); len(damage) > 0 {
				t.Errorf("%s came after %s, and the damage is %v", other, name, damage)
			}
		}
	}
}

func TestDamageWithin(t *testing.T) {
	part := Gain(&State{}, village())
	for name, change := range map[string]func(*State){
		"another scheduler": func(s *State) { s.IPVS[0].Scheduler = "wlc" },
		"another weight":    func(s *State) { s.IPVS[0].Dests[0].Weight = 0 },
		"one more backend":  func(s *State) { s.IPVS[0].Dests = append(s.IPVS[0].Dests, IPVSDest{Port: 9}) },
		"one more member":   func(s *State) { s.Sets[0].Members = append(s.Sets[0].Members, "192.0.2.2") },
		"no rule":           func(s *State) { s.Tables[0].Chains[1].Rules = nil },
		"link down":         func(s *State) { s.Links[0].Up = false },
	} {
		now := village()
		change(now)
		if damage := Damage(part, now); len(damage) != 1 {
			t.Errorf("%s: the damage is %v", name, damage)
		}
	}
}
