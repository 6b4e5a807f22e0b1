package worker

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/finding"
	"proxyproof/harness/invariant"
	"proxyproof/sim/netstate"
	"proxyproof/sim/probe"
)

// How far a request to the API server came decides what is reported.
func TestAPIServerFault(t *testing.T) {
	for _, c := range []struct {
		result probe.Result
		want   finding.ID
	}{
		{probe.Result{Outcome: probe.Refused}, apiserverRefused},
		{probe.Result{Outcome: probe.Rejected}, apiserverRefused},
		{probe.Result{Outcome: probe.Unreachable}, apiserverRefused},
		{probe.Result{Outcome: probe.Silent}, apiserverRefused},
		{probe.Result{Outcome: probe.Silent, Connected: true}, apiserverNoAnswer},
		{probe.Result{Outcome: probe.TLSFailed, Connected: true}, apiserverNoAnswer},
		{probe.Result{Outcome: probe.Reset, Connected: true}, apiserverNoAnswer},
		{probe.Result{Outcome: probe.Closed, Connected: true}, apiserverNoAnswer},
		{probe.Result{Outcome: probe.Unexpected, Connected: true}, apiserverNoAnswer},
		{probe.Result{Outcome: probe.WrongCertificate, Connected: true}, apiserverWrongCertificate},
		{probe.Result{Outcome: probe.Unexpected, Connected: true, Status: 500}, apiserverError},
	} {
		if id, format := apiserverFault(c.result); id != c.want || strings.Count(format, "%s") != 1 {
			t.Errorf("%v: want %s, got %s, %q", c.result, c.want, id, format)
		}
	}
}

// One address that several places cannot reach is one finding; what they saw comes first, and what explains it for all of them once.
func TestExplainMerges(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.10")
	view := invariant.View{Node: invariant.Node{Name: "cp"}, Now: &netstate.State{Addrs: []netstate.Addr{{Link: "eth0", Prefix: netip.PrefixFrom(a, 24)}}}}
	of := func(from string, offender netip.Addr) probed {
		return probed{
			finding.Finding{ID: apiserverRefused, Node: "cp", Object: a.String(), Evidence: []string{"from " + from}},
			&invariant.Attempt{From: from, Entry: "cp", To: a, Port: apiserverPort, Protocol: "tcp", Home: "cp", HomeNode: "cp", Offender: offender},
		}
	}
	merged := explain([]probed{of("laptop", a), of("web-1", a), {Finding: finding.Finding{ID: reachFailed}}}, []invariant.View{view})
	if len(merged) != 2 || merged[0].ID != apiserverRefused || merged[1].ID != reachFailed || len(merged[1].Evidence) != 0 {
		t.Fatalf("got %v", merged)
	}
	evidence := merged[0].Evidence
	if !slices.Equal(evidence[:2], []string{"from laptop", "from web-1"}) || !strings.HasPrefix(evidence[2], "node cp sent the ICMP error") || len(evidence) != 6 {
		t.Errorf("got %s", strings.Join(evidence, "\n"))
	}
}
