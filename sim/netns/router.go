package netns

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// The router is the switch's own namespace: the bridge has the first address of the link in each family, and every node's default
// route leads there, as on every real node. It leads nowhere: it answers whatever is not for itself with an ICMP error, so that
// what no node takes is proven to be lost, at once. It never forwards, not even to pods: a packet to a pod that does not exist would
// go round between it and the pod's node.
const (
	// deadEnd is the link behind the router. Nobody is there.
	deadEnd = "nowhere"
	// deadTable is the routing table for all that arrives, and the priority of the rule that says so.
	deadTable = 200
	// deadWait is how long the router asks for a neighbour behind itself. The kernel rounds up to 10 ms.
	deadWait = "10"
)

// makeRouter gives the switch its addresses and what it does with packets. To be called before it has ports: its hardware address
// would change with them.
func (w *World) makeRouter(bridge int) error {
	s := w.bridge
	if err := s.up(loIndex); err != nil {
		return err
	}
	for _, f := range w.spec.Families {
		if err := s.addAddress(bridge, onLink(f, routerOf(f))); err != nil {
			return err
		}
		dead := s.unreachable
		if f == world.IPv4 {
			dead = s.deadEnd
		}
		if err := dead(f); err != nil {
			return fmt.Errorf("make the router a dead end: %w", err)
		}
		for _, n := range w.layout.nodes { // its errors find their way to pods
			if err := s.addRoute(path{to: n.podCIDR[f], via: n.primary(f), link: bridge}); err != nil {
				return err
			}
		}
	}
	return nil
}

// routerOf is the router's address.
func routerOf(f world.Family) netip.Addr { return world.DefaultRanges().Router(f) }

// unreachable rejects what arrives. IPv6 sends an error for each packet.
func (s *space) unreachable(f world.Family) error {
	r := s.arriving(f)
	r.Type = unix.FR_ACT_UNREACHABLE
	return s.route.RuleAdd(r)
}

// deadEnd sends what arrives to neighbours that do not exist. Of routes that are unreachable IPv4 reports one packet a second to each
// source, whatever icmp_ratelimit is: net.ipv4.route.error_cost belongs to the whole machine. For a neighbour that does not answer it reports
// each packet.
func (s *space) deadEnd(f world.Family) error {
	link, err := s.addBridge(deadEnd, nil)
	if err != nil {
		return err
	}
	err = s.do(func() error {
		return setSysctls([]sysctl{
			{"net/ipv4/neigh/" + deadEnd + "/mcast_solicit", "1"},
			{"net/ipv4/neigh/" + deadEnd + "/retrans_time_ms", deadWait},
		})
	})
	if err != nil {
		return err
	}
	if err := s.addRoute(path{to: anywhere(f), link: link, table: deadTable}); err != nil {
		return err
	}
	r := s.arriving(f)
	r.Table = deadTable
	return s.route.RuleAdd(r)
}

// arriving is a rule for what comes from the switch and is not for the router itself.
func (s *space) arriving(f world.Family) *netlink.Rule {
	r := netlink.NewRule()
	r.IifName, r.Priority, r.Family = switchLink, deadTable, unix.AF_INET
	if f == world.IPv6 {
		r.Family = unix.AF_INET6
	}
	return r
}
