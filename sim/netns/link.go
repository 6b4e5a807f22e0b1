package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/dump"
	"proxyproof/sim/world"
)

// uplink is the name of the link of every place but the switch.
const uplink = "eth0"

// loIndex is the index of lo in every namespace.
const loIndex = 1

// switchLink is the link that nodes and clients share, as their switch sees it.
const switchLink = "switch"

// addBridge makes a link that others can be ports of. Without a hardware address it has that of one of them.
func (s *space) addBridge(name string, mac net.HardwareAddr) (index int, err error) {
	off := false
	bridge := &netlink.Bridge{LinkAttrs: attrs(name), MulticastSnooping: &off}
	bridge.HardwareAddr = mac
	if err := s.route.LinkAdd(bridge); err != nil {
		return 0, fmt.Errorf("add bridge %s: %w", name, err)
	}
	if err := s.noLinkLocal(bridge.Index); err != nil {
		return 0, err
	}
	return bridge.Index, s.up(bridge.Index)
}

// veth is a pair of links, each in its namespace.
type veth struct {
	name, peer   string
	mac, peerMAC net.HardwareAddr
	from, to     *space
	// master is the bridge that this end is a port of, or 0.
	master int
	// bare keeps the kernel from giving the two IPv6 addresses of its own.
	bare             bool
	index, peerIndex int
}

// add makes the pair and brings both ends up.
func (v *veth) add() error {
	link := &netlink.Veth{
		LinkAttrs:        attrs(v.name),
		PeerName:         v.peer,
		PeerHardwareAddr: v.peerMAC,
		PeerNamespace:    netlink.NsFd(v.to.fd),
	}
	link.HardwareAddr, link.MasterIndex = v.mac, v.master
	if err := v.from.route.LinkAdd(link); err != nil {
		return fmt.Errorf("add link %s: %w", v.name, err)
	}
	peer, err := v.to.route.LinkByName(v.peer)
	if err != nil {
		return fmt.Errorf("find link %s: %w", v.peer, err)
	}
	v.index, v.peerIndex = link.Index, peer.Attrs().Index
	for _, end := range []struct {
		space *space
		index int
	}{{v.from, v.index}, {v.to, v.peerIndex}} {
		if v.bare {
			if err := end.space.noLinkLocal(end.index); err != nil {
				return err
			}
		}
		if err := end.space.up(end.index); err != nil {
			return err
		}
	}
	return nil
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// byIndex is a link of which only the index matters.
func byIndex(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func (s *space) up(index int) error {
	if err := s.route.LinkSetUp(byIndex(index)); err != nil {
		return fmt.Errorf("bring link %d up: %w", index, err)
	}
	return nil
}

// addAddress gives a link an address that is usable at once.
func (s *space) addAddress(link int, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := s.route.AddrAdd(byIndex(link), a); err != nil {
		return fmt.Errorf("add address %s: %w", p, err)
	}
	return nil
}

// removeAddress takes an address from a link.
func (s *space) removeAddress(link int, p netip.Prefix) error {
	if err := s.route.AddrDel(byIndex(link), &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("remove address %s: %w", p, err)
	}
	return nil
}

// path is a static route.
type path struct {
	to    netip.Prefix
	via   netip.Addr // zero: on link
	link  int
	table int // 0: main
	// onLink takes the gateway's presence on the link for granted: no address of the link covers it.
	onLink bool
	// source is the preferred source address; zero: the kernel chooses.
	source netip.Addr
}

func (s *space) addRoute(p path) error {
	r := &netlink.Route{Dst: ipNet(p.to), LinkIndex: p.link, Table: p.table, Protocol: unix.RTPROT_STATIC}
	if p.via.IsValid() {
		r.Gw = p.via.AsSlice()
	} else if p.to.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	if p.source.IsValid() {
		r.Src = p.source.AsSlice()
	}
	if p.onLink {
		r.SetFlag(netlink.FLAG_ONLINK)
	}
	if err := s.route.RouteAdd(r); err != nil {
		return fmt.Errorf("add route to %s via %s: %w", p.to, p.via, err)
	}
	return nil
}

// addNeighbour says for good which hardware address a neighbour has.
func (s *space) addNeighbour(link int, a netip.Addr, mac net.HardwareAddr) error {
	n := &netlink.Neigh{LinkIndex: link, IP: a.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT}
	if err := s.route.NeighAdd(n); err != nil {
		return fmt.Errorf("add neighbour %s: %w", a, err)
	}
	return nil
}

// addRule sends packets from an address to a routing table.
func (s *space) addRule(from netip.Addr, table int) error {
	r := netlink.NewRule()
	r.Src, r.Table, r.Priority = ipNet(single(from)), table, table
	r.Family = unix.AF_INET
	if from.Is6() {
		r.Family = unix.AF_INET6
	}
	if err := s.route.RuleAdd(r); err != nil {
		return fmt.Errorf("add a rule for packets from %s: %w", from, err)
	}
	return nil
}

// addrGenNone is IN6_ADDR_GEN_MODE_NONE of the kernel's if_link.h.
const addrGenNone = 1

// noLinkLocal keeps the kernel from giving a link an IPv6 address of its own. To be called before the link is up.
func (s *space) noLinkLocal(link int) error {
	if err := s.route.LinkSetIP6AddrGenMode(byIndex(link), addrGenNone); err != nil {
		return fmt.Errorf("keep link %d without a link-local address: %w", link, err)
	}
	return nil
}

// localRoutes counts the IPv6 addresses that packets are accepted for. The kernel adds these routes in the background, a
// moment after the address.
func (s *space) localRoutes() (int, error) {
	local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	routes, err := dump.Whole(func() ([]netlink.Route, error) {
		return s.route.RouteListFiltered(unix.AF_INET6, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	})
	return len(routes), err
}

// drain removes all neighbours but those of lo. A link that goes away with packets waiting for a neighbour's answer has
// crashed kernels.
func (s *space) drain() error {
	neighbours, err := s.route.NeighList(0, unix.AF_UNSPEC)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range neighbours {
		if n.LinkIndex == loIndex {
			continue
		}
		if err := s.route.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove neighbour %s: %w", n.IP, err)
		}
	}
	return nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// anywhere is the destination of a default route.
func anywhere(f world.Family) netip.Prefix {
	if f == world.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ports names the veth links of the namespace.
func (s *space) ports() ([]string, error) {
	links, err := s.route.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var names []string
	for _, l := range links {
		if l.Type() == "veth" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// tryTunnel adds and removes an IP-in-IP link.
func (w *World) tryTunnel() error {
	tunnel := &netlink.Iptun{LinkAttrs: attrs("try"), Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, 2)}
	if err := w.bridge.route.LinkAdd(tunnel); err != nil {
		return err
	}
	return w.bridge.route.LinkDel(tunnel)
}
