package apply

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/dump"
	"proxyproof/reference/plan"
)

// hostPrefix is the prefix of a single address.
func hostPrefix(a netip.Addr) *net.IPNet {
	bits := a.BitLen()
	return &net.IPNet{IP: net.IP(a.AsSlice()), Mask: net.CIDRMask(bits, bits)}
}

// The kernel's priority of a route that a user adds without one, in IPv6: IP6_RT_PRIO_USER.
const userPriority = 1024

// AddVIPs adds the addresses, and to each a local route that makes the node use source towards it: by itself the kernel would take
// the address itself as source, and a backend on another node would answer to its own node. For IPv6 the kernel's own local route
// (metric 0) and prefix route (metric 256) come before any other and must go. It makes the local route from a work queue, so all
// addresses are added before the first is waited for.
func (k *Kernel) AddVIPs(vips []VIP) error {
	present := map[netip.Addr]bool{}
	for _, vip := range vips {
		k.writes.Add(1)
		err := k.route.AddrAdd(k.dummy, k.vipAddress(vip.Address))
		if present[vip.Address] = errors.Is(err, unix.EEXIST); err != nil && !present[vip.Address] {
			return fmt.Errorf("add %s to %s: %w", vip.Address, DummyLink, err)
		}
	}
	for _, vip := range vips {
		if err := k.routeVIP(vip, present[vip.Address]); err != nil {
			return fmt.Errorf("route %s with source %s: %w", vip.Address, vip.Source, err)
		}
	}
	return nil
}

func (k *Kernel) vipAddress(vip netip.Addr) *netlink.Addr {
	address := &netlink.Addr{IPNet: hostPrefix(vip), Scope: unix.RT_SCOPE_LINK}
	if vip.Is6() {
		address.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	}
	return address
}

// routeVIP makes the proxy's route the only one. To list a VIP's routes is to list all, so it does that only if something was odd
// when the kernel was read.
func (k *Kernel) routeVIP(vip VIP, present bool) error {
	odd := k.disordered[vip.Address]
	if vip.Address.Is6() && !present && !odd {
		if err := k.deleteKernelRoute(vip.Address); err != nil {
			return err
		}
	}
	k.writes.Add(1)
	if err := k.route.RouteReplace(k.vipRoute(vip.Address, vip.Source)); err != nil {
		return err
	}
	if !odd {
		return nil
	}
	if err := k.deleteOtherRoutes(vip, present); err != nil {
		return err
	}
	delete(k.disordered, vip.Address)
	return nil
}

// vipRoute is the local route of a VIP. In IPv4 it replaces the kernel's own.
func (k *Kernel) vipRoute(vip, source netip.Addr) *netlink.Route {
	r := &netlink.Route{
		Type: unix.RTN_LOCAL, Dst: hostPrefix(vip), LinkIndex: k.dummy.Attrs().Index, Table: unix.RT_TABLE_LOCAL,
		Protocol: unix.RTPROT_KERNEL, Scope: unix.RT_SCOPE_HOST,
	}
	if source.IsValid() {
		r.Src = net.IP(source.AsSlice())
	}
	if vip.Is6() {
		r.Scope, r.Priority = unix.RT_SCOPE_UNIVERSE, userPriority
	}
	return r
}

// kernelRouteLimit bounds the wait for the route that the kernel makes for a new IPv6 address.
const kernelRouteLimit = 3 * time.Second

// deleteKernelRoute deletes the local route that the kernel makes for a new IPv6 address, as soon as it is there. The proxy's own
// must not be there yet: without a metric the kernel deletes the first route that fits.
func (k *Kernel) deleteKernelRoute(vip netip.Addr) error {
	route := k.vipRoute(vip, netip.Addr{})
	route.Priority = 0
	return awaitRoute(func() (bool, error) {
		k.writes.Add(1)
		err := k.route.RouteDel(route)
		return !errors.Is(err, unix.ESRCH), ignore(err, unix.ESRCH)
	})
}

// awaitRoute tries until it is done; that the kernel has no route in the end is no error.
func awaitRoute(try func() (done bool, err error)) error {
	deadline := time.Now().Add(kernelRouteLimit)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if done, err := try(); done || err != nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

func ignore(err error, number unix.Errno) error {
	if errors.Is(err, number) {
		return nil
	}
	return err
}

// deleteOtherRoutes deletes the local routes to a VIP that are not the proxy's. In IPv4, if somebody took the address away, the kernel
// did not know the proxy's route as its own and left it, and with the address it has added its own again, behind it. In
// IPv6, a proxy may have died before it had deleted the kernel's.
func (k *Kernel) deleteOtherRoutes(vip VIP, present bool) error {
	return awaitRoute(func() (bool, error) {
		routes, err := k.vipRoutes(plan.FamilyOf(vip.Address))
		if err != nil {
			return false, err
		}
		deleted := false
		for _, r := range routes[vip.Address] {
			if sourceOf(r) == vip.Source {
				continue
			}
			k.writes.Add(1)
			if err := k.route.RouteDel(&r); err != nil {
				return false, fmt.Errorf("delete another route: %w", err)
			}
			deleted = true
		}
		return deleted || present || vip.Address.Is4(), nil
	})
}

func sourceOf(r netlink.Route) netip.Addr {
	source, _ := netip.AddrFromSlice(r.Src)
	return source.Unmap()
}

// DeleteVIP removes the route and the address.
func (k *Kernel) DeleteVIP(vip netip.Addr) error {
	route := k.vipRoute(vip, netip.Addr{})
	for again := true; again; again = again && k.disordered[vip] { // whatever there is, if it was odd
		k.writes.Add(1)
		err := k.route.RouteDel(route)
		if again = err == nil; ignore(err, unix.ESRCH) != nil {
			return fmt.Errorf("delete its route: %w", err)
		}
	}
	k.writes.Add(1)
	if err := k.route.AddrDel(k.dummy, &netlink.Addr{IPNet: hostPrefix(vip)}); err != nil {
		return fmt.Errorf("delete it from %s: %w", DummyLink, err)
	}
	delete(k.disordered, vip)
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
	routes := map[plan.Family]map[netip.Addr][]netlink.Route{}
	k.disordered = map[netip.Addr]bool{}
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		if routes[f], err = k.vipRoutes(f); err != nil {
			return err
		}
		for vip := range routes[f] {
			k.disordered[vip] = true // unless an address goes with it
		}
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
		a.VIPs[ip], k.disordered[ip] = sourceAmong(routes[plan.FamilyOf(ip)][ip])
	}
	return nil
}

// sourceAmong is the source of a VIP's only route, if that is the proxy's: another route beside it would be chosen before it.
func sourceAmong(routes []netlink.Route) (source netip.Addr, odd bool) {
	if len(routes) != 1 {
		return netip.Addr{}, true
	}
	source = sourceOf(routes[0])
	return source, !source.IsValid() || source.Is6() && routes[0].Priority != userPriority
}

// vipRoutes are the local routes over the link, by VIP.
func (k *Kernel) vipRoutes(f plan.Family) (map[netip.Addr][]netlink.Route, error) {
	family := netlink.FAMILY_V4
	if f == plan.IPv6 {
		family = netlink.FAMILY_V6
	}
	want := &netlink.Route{Table: unix.RT_TABLE_LOCAL, LinkIndex: k.dummy.Attrs().Index}
	routes, err := dump.Whole(func() ([]netlink.Route, error) {
		return k.route.RouteListFiltered(family, want, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("list local routes: %w", err)
	}
	by := map[netip.Addr][]netlink.Route{}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if ip, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			by[ip.Unmap()] = append(by[ip.Unmap()], r)
		}
	}
	return by, nil
}
