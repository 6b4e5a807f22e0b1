package worker

import (
	"strings"
	"testing"

	"proxyproof/harness/scenario"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// TestMeans: a rule is found by what it says, however it is spelled, and not by what is nearly the same.
func TestMeans(t *testing.T) {
	check := scenario.StateCheck{Rule: `-m set --match-set svip dst -m comment --comment "any words" -j REJECT`}
	want, err := netstate.ParseRule(netstate.Rule{Args: check.Says(func(name string) string { return familySet(name, world.IPv6) })})
	if err != nil {
		t.Fatal(err)
	}
	for rule, same := range map[string]bool{
		"-m set --match-set inet6:kube-router-svip dst -j REJECT --reject-with icmp6-port-unreachable": true,
		"-m comment --comment x -m set --match-set inet6:kube-router-svip dst -j REJECT":               true,
		"-m set --match-set kube-router-svip dst -j REJECT":                                            false,
		"-m set ! --match-set inet6:kube-router-svip dst -j REJECT":                                    false,
		"-m set --match-set inet6:kube-router-svip src -j REJECT":                                      false,
		"-p tcp -m set --match-set inet6:kube-router-svip dst -j REJECT":                               false,
		"-m set --match-set inet6:kube-router-svip dst -m u32 --u32 0 -j REJECT":                       false,
		"-m set --match-set inet6:kube-router-svip dst -j DROP":                                        false,
	} {
		if means(netstate.Rule{Spec: rule, Args: strings.Fields(rule)}, want) != same {
			t.Errorf("%s: means the same: %t", rule, !same)
		}
	}
}

// TestMemberOf: what is looked for is in the form of ipset save.
func TestMemberOf(t *testing.T) {
	to := target{address: addressOf("2001:db8::1"), port: 53, protocol: world.UDP}
	if got := memberOf(to, true); got != "2001:db8::1,udp:53" {
		t.Error(got)
	}
	if got := memberOf(to, false); got != "2001:db8::1" {
		t.Error(got)
	}
}
