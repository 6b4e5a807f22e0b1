package apply

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// Flow is what clients send to a virtual service and one of its destinations gets; any of them, if there is none.
type Flow struct {
	Service plan.Service
	Dest    plan.Dest
}

// flows matches what conntrack knows of them.
type flows map[Flow]bool

// MatchConntrackFlow looks at where the client sent to, and at who answers.
func (f flows) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	to, _ := netip.AddrFromSlice(c.Forward.DstIP)
	by, _ := netip.AddrFromSlice(c.Reverse.SrcIP)
	key := plan.Service{Address: to.Unmap(), Port: c.Forward.DstPort, Protocol: plan.Protocol(c.Forward.Protocol)}
	return f[Flow{key, plan.Dest{Address: by.Unmap(), Port: c.Reverse.SrcPort}}] || f[Flow{Service: key}]
}

// ForgetFlows deletes what conntrack knows of flows. To find them it has to list all.
func (k *Kernel) ForgetFlows(all []Flow) error {
	families := map[plan.Family]flows{plan.IPv4: {}, plan.IPv6: {}}
	for _, f := range all {
		families[plan.FamilyOf(f.Service.Address)][f] = true
	}
	for number, f := range map[netlink.InetFamily]plan.Family{unix.AF_INET: plan.IPv4, unix.AF_INET6: plan.IPv6} {
		if len(families[f]) == 0 {
			continue
		}
		deleted, err := k.sets.ConntrackDeleteFilters(netlink.ConntrackTable, number, families[f])
		k.writes.Add(int64(deleted))
		if err != nil {
			return err
		}
	}
	return nil
}
