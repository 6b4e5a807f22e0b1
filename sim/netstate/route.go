package netstate

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// readRoutes returns the routes of all tables and both families.
func readRoutes(c *socket, links map[int]string) ([]Route, error) {
	var all []Route
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, unix.SizeofRtMsg)
		request[0] = family
		answers, err := c.dump(unix.RTM_GETROUTE, request)
		if err != nil {
			return nil, doing("list "+familyName(family == unix.AF_INET6)+" routes", err)
		}
		for _, b := range answers {
			all = append(all, parseRoute(b, links)...)
		}
	}
	slices.SortFunc(all, compareRoutes)
	return all, nil
}

// parseRoute returns a route per next hop. IPv6 dumps contain exceptions (path MTU, redirects), which are caches.
func parseRoute(b []byte, links map[int]string) []Route {
	// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type u8, flags u32.
	family, bits := b[0], int(b[1])
	if family != unix.AF_INET && family != unix.AF_INET6 || u32(b[8:])&unix.RTM_F_CLONED != 0 {
		return nil
	}
	dst := anyAddr(family == unix.AF_INET6)
	r := Route{Table: int(b[4]), Protocol: protocolName(b[5]), Scope: scopeName(b[6]), Type: routeTypeName(b[7])}
	var multipath []byte
	for typ, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			dst = addrOf(v)
		case unix.RTA_TABLE: // all 32 bits, of which the header has eight
			r.Table = int(u32(v))
		case unix.RTA_PREFSRC:
			r.Src = addrOf(v)
		case unix.RTA_PRIORITY:
			r.Metric = int(u32(v))
		case unix.RTA_MULTIPATH:
			multipath = v
		default:
			r.hop(typ, v, links)
		}
	}
	r.Dst = netip.PrefixFrom(dst, bits)
	if multipath == nil {
		return []Route{r}
	}
	var hops []Route
	for len(multipath) >= unix.SizeofRtNexthop {
		// struct rtnexthop: len u16, flags u8, hops u8, ifindex i32.
		size := int(u16(multipath))
		if size < unix.SizeofRtNexthop || size > len(multipath) {
			break
		}
		hop := r
		hop.Link = linkName(links, u32(multipath[4:]))
		for typ, v := range attrs(multipath[unix.SizeofRtNexthop:size]) {
			hop.hop(typ, v, links)
		}
		hops = append(hops, hop)
		multipath = multipath[min((size+3)&^3, len(multipath)):]
	}
	return hops
}

// hop takes the attributes that a route and a next hop have in common.
func (r *Route) hop(typ uint16, v []byte, links map[int]string) {
	switch typ {
	case unix.RTA_GATEWAY:
		r.Gateway = addrOf(v)
	case unix.RTA_VIA: // struct rtvia: family u16, address
		r.Gateway = addrOf(v[2:])
	case unix.RTA_OIF:
		r.Link = linkName(links, u32(v))
	}
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		cmp.Compare(a.Dst.Addr().BitLen(), b.Dst.Addr().BitLen()),
		cmp.Compare(a.Table, b.Table),
		comparePrefixes(a.Dst, b.Dst),
		cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Link, b.Link),
		a.Gateway.Compare(b.Gateway),
		a.Src.Compare(b.Src),
		cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Scope, b.Scope),
	)
}

// linkName is the name of a link, or its index if it is gone or in another namespace.
func linkName(links map[int]string, index uint32) string {
	if name, ok := links[int(index)]; ok {
		return name
	}
	return "if" + strconv.Itoa(int(index))
}

func routeTypeName(t byte) string {
	names := [...]string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable",
		"prohibit", "throw", "nat", "xresolve"}
	if int(t) < len(names) {
		return names[t]
	}
	return strconv.Itoa(int(t))
}

func scopeName(s byte) string {
	switch s {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_SITE:
		return "site"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	case unix.RT_SCOPE_NOWHERE:
		return "nowhere"
	}
	return strconv.Itoa(int(s))
}

func protocolName(p byte) string {
	switch p {
	case unix.RTPROT_UNSPEC:
		return "unspec"
	case unix.RTPROT_REDIRECT:
		return "redirect"
	case unix.RTPROT_KERNEL:
		return "kernel"
	case unix.RTPROT_BOOT:
		return "boot"
	case unix.RTPROT_STATIC:
		return "static"
	case unix.RTPROT_RA:
		return "ra"
	}
	return strconv.Itoa(int(p))
}
