package netns_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// burst is more packets than IPv4 reports as unroutable in a row.
const burst = 8

// TestRouter sends to what is nobody's, from everywhere: each single datagram is answered by the router, at once.
func TestRouter(t *testing.T) {
	families := familySets["dual-v4"]
	w := newWorld(t, smallSpec(families, 1))
	for _, f := range families {
		for _, n := range w.Nodes() {
			hasDefaultRoute(t, n, f)
		}
		for what, a := range map[string]netip.Addr{
			"an external address": world.Last(w.Ranges().Externals[f], 2),
			"no pod of a node":    w.Nodes()[0].PodCIDR(f).Addr().Next(),
		} {
			for _, from := range places(w) {
				t.Run(strings.Join([]string{f.String(), what, from.Name()}, "/"), func(t *testing.T) {
					t.Parallel()
					isLost(t, from, netip.AddrPortFrom(a, 80), w.Ranges().Router(f))
				})
			}
		}
	}
}

func hasDefaultRoute(t *testing.T, n world.Node, f world.Family) {
	t.Helper()
	state, err := n.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	router := world.DefaultRanges().Router(f)
	for _, r := range state.Routes {
		if r.Dst.Bits() == 0 && r.Gateway == router && r.Link == "eth0" {
			return
		}
	}
	t.Errorf("%s has no default route via %s: %v", n.Name(), router, state.Routes)
}

func isLost(t *testing.T, from world.Place, to netip.AddrPort, router netip.Addr) {
	t.Helper()
	for range burst {
		r := probe.UDP(t.Context(), probe.Aim{From: from, To: to, Timeout: 5 * time.Second})
		if r.Outcome != probe.Rejected || r.ICMP.From != router {
			t.Fatalf("want an ICMP error from %s: %v", router, r)
		}
	}
}
