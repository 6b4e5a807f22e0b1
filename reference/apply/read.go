package apply

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/dump"
	"proxyproof/reference/plan"
)

// Read looks at what the kernel holds and tells what of it is the proxy's own. The sets and chains are: they carry its name. Of
// virtual services and addresses the ledger tells.
func (k *Kernel) Read(s plan.State) (Actual, error) {
	a := Actual{
		Services: map[plan.Service]plan.Virtual{}, VIPs: map[netip.Addr]netip.Addr{}, Members: map[SetKey]map[Member]bool{},
		Foreign: map[plan.Service]bool{}, ForeignVIPs: map[netip.Addr]bool{}, Firewall: map[plan.Family]bool{},
	}
	for _, f := range s.Families {
		for _, set := range slices.Concat(Ledger, Published) {
			members, err := k.readSet(set.Name(f))
			if err != nil {
				return a, err
			}
			a.Members[SetKey{set, f}] = members
		}
	}
	if err := k.readServices(&a); err != nil {
		return a, err
	}
	if err := k.readVIPs(&a); err != nil {
		return a, err
	}
	for _, f := range s.Families {
		right, err := firewallRight(f, s.MasqueradeAll)
		if err != nil {
			return a, err
		}
		a.Firewall[f] = right
	}
	return a, nil
}

// readSet is empty for a set that does not exist.
func (k *Kernel) readSet(name string) (map[Member]bool, error) {
	members := map[Member]bool{}
	all, err := dump.Whole(k.sets.IpsetListAll)
	if err != nil {
		return nil, fmt.Errorf("list ipsets: %w", err)
	}
	for _, set := range all {
		if set.SetName != name {
			continue
		}
		for _, e := range set.Entries {
			ip, ok := netip.AddrFromSlice(e.IP)
			if !ok {
				continue
			}
			m := Member{Address: ip.Unmap()}
			if e.Port != nil && e.Protocol != nil {
				m.Port, m.Protocol = *e.Port, plan.Protocol(*e.Protocol)
			}
			members[m] = true
		}
	}
	return members, nil
}

func (k *Kernel) readServices(a *Actual) error {
	services, err := k.ipvs.GetServices()
	if err != nil {
		return fmt.Errorf("list virtual services: %w", err)
	}
	for _, found := range services {
		ip, ok := netip.AddrFromSlice(found.Address)
		if !ok || found.FWMark != 0 {
			continue
		}
		key := plan.Service{Address: ip.Unmap(), Port: found.Port, Protocol: plan.Protocol(found.Protocol)}
		v := plan.Virtual{Scheduler: found.SchedName, Dests: map[plan.Dest]bool{}}
		if found.Flags&flagPersistent != 0 {
			v.Affinity = found.Timeout
		}
		dests, err := k.ipvs.GetDestinations(found)
		if err != nil {
			return fmt.Errorf("list destinations of %s: %w", key, err)
		}
		for _, d := range dests {
			if ip, ok := netip.AddrFromSlice(d.Address); ok {
				v.Dests[plan.Dest{Address: ip.Unmap(), Port: d.Port}] = true
			}
		}
		has := func(set Set) bool {
			entry, m := ledgerOf(set, key)
			return a.Members[entry][m]
		}
		if has(Made) || has(Intents) && len(v.Dests) == 0 {
			a.Services[key] = v
		} else {
			a.Foreign[key] = true
		}
	}
	return nil
}

// readVIPs takes the addresses of the dummy link that are in the ledger for the proxy's, with the source that their routes have.
func (k *Kernel) readVIPs(a *Actual) error {
	link, err := k.route.LinkByName(DummyLink)
	if err != nil {
		return nil // not made yet
	}
	k.dummy = link
	addresses, err := dump.Whole(func() ([]netlink.Addr, error) { return k.route.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", DummyLink, err)
	}
	for _, address := range addresses {
		ip, ok := netip.AddrFromSlice(address.IP)
		if ip = ip.Unmap(); !ok || ip.IsLinkLocalUnicast() {
			continue
		}
		if !a.Members[SetKey{VIPs, plan.FamilyOf(ip)}][Member{Address: ip}] {
			a.ForeignVIPs[ip] = true
			continue
		}
		routes, err := k.vipRoutes(ip)
		if err != nil {
			return err
		}
		var source netip.Addr
		if len(routes) == 1 { // another route beside ours would be chosen before it
			if src, ok := netip.AddrFromSlice(routes[0].Src); ok {
				source = src.Unmap()
			}
		}
		a.VIPs[ip] = source
	}
	return nil
}

// vipRoutes are the local routes to a VIP.
func (k *Kernel) vipRoutes(vip netip.Addr) ([]netlink.Route, error) {
	family := netlink.FAMILY_V4
	if vip.Is6() {
		family = netlink.FAMILY_V6
	}
	want := &netlink.Route{Dst: hostPrefix(vip), Table: unix.RT_TABLE_LOCAL, LinkIndex: k.dummy.Attrs().Index}
	routes, err := dump.Whole(func() ([]netlink.Route, error) {
		return k.route.RouteListFiltered(family, want, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes to %s: %w", vip, err)
	}
	return routes, nil
}

// deleteOtherRoutes deletes the local routes to an IPv4 VIP that name another source. Usually the proxy's has replaced the kernel's;
// but if somebody took the address away, the kernel did not know the proxy's as its own and left it, and with the address
// it has added its own again, behind it.
func (k *Kernel) deleteOtherRoutes(vip, source netip.Addr) error {
	routes, err := k.vipRoutes(vip)
	if err != nil || len(routes) < 2 {
		return err
	}
	for _, r := range routes {
		if src, ok := netip.AddrFromSlice(r.Src); ok && src.Unmap() == source {
			continue
		}
		if err := k.route.RouteDel(&r); err != nil {
			return fmt.Errorf("delete another route: %w", err)
		}
	}
	return nil
}

// kernelRouteLimit bounds the wait for the route that the kernel makes for a new IPv6 address.
const kernelRouteLimit = 3 * time.Second

// deleteKernelRoute deletes the local route that the kernel made for an IPv6 address: the one without a preferred source. For a
// new address the kernel makes it from a work queue, even without duplicate detection, so that it has to be waited for.
func (k *Kernel) deleteKernelRoute(vip netip.Addr, wait bool) error {
	deadline := time.Now().Add(kernelRouteLimit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		routes, err := k.vipRoutes(vip)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if len(r.Src) == 0 || r.Src.Equal(net.IPv6zero) {
				return k.route.RouteDel(&r)
			}
		}
		if !wait || time.Now().After(deadline) {
			return nil
		}
		time.Sleep(pause)
	}
}
