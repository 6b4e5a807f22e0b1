package foreign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/dump"
	"proxyproof/sim/world"
)

// Address is an address on a link. A dummy is made if there is no link of the name; it stays.
type Address struct {
	Link    string
	Address netip.Addr
}

func (a Address) String() string { return fmt.Sprintf("address %s on %s", a.Address, a.Link) }

func (a Address) put(ctx context.Context, n world.Node) error {
	return n.Do(ctx, func() error {
		link, err := netlink.LinkByName(a.Link)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = a.Link
			if err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}); err != nil {
				return fmt.Errorf("make link %s: %w", a.Link, err)
			}
			link, err = netlink.LinkByName(a.Link)
		}
		if err != nil {
			return fmt.Errorf("find link %s: %w", a.Link, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up link %s: %w", a.Link, err)
		}
		if err := netlink.AddrAdd(link, a.address()); err != nil {
			return err
		}
		return awaitLocal(a.Address)
	})
}

func (a Address) take(ctx context.Context, n world.Node) error {
	return n.Do(ctx, func() error {
		link, err := netlink.LinkByName(a.Link)
		if err != nil {
			return fmt.Errorf("find link %s: %w", a.Link, err)
		}
		if err := netlink.AddrDel(link, a.address()); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		return nil
	})
}

func (a Address) address() *netlink.Addr {
	address := &netlink.Addr{IPNet: single(a.Address)}
	if a.Address.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	return address
}

// settleLooks bounds the wait for the kernel's own routes to a new address.
const settleLooks = 1000

// awaitLocal waits for the route that the kernel adds for an address; for IPv6 it does so from a work queue.
func awaitLocal(a netip.Addr) error {
	family := netlink.FAMILY_V4
	if a.Is6() {
		family = netlink.FAMILY_V6
	}
	want := &netlink.Route{Dst: single(a), Table: unix.RT_TABLE_LOCAL}
	for range settleLooks {
		routes, err := dump.Whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, want, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
		})
		if err != nil || len(routes) > 0 {
			return err
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	return fmt.Errorf("the kernel has made no route to %s", a)
}

// Route is an unreachable route to a single address.
type Route struct{ To netip.Addr }

func (r Route) String() string { return fmt.Sprintf("unreachable route to %s", r.To) }

func (r Route) route() *netlink.Route {
	return &netlink.Route{Dst: single(r.To), Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC}
}

func (r Route) put(ctx context.Context, n world.Node) error {
	return n.Do(ctx, func() error { return netlink.RouteAdd(r.route()) })
}

func (r Route) take(ctx context.Context, n world.Node) error {
	return n.Do(ctx, func() error {
		if err := netlink.RouteDel(r.route()); !errors.Is(err, unix.ESRCH) {
			return err
		}
		return nil
	})
}

func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}
