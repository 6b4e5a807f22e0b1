package netstate

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// readLinks returns the links and their names by index.
func readLinks(c *socket) ([]Link, map[int]string, error) {
	answers, err := c.dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, nil, doing("list links", err)
	}
	var links []Link
	names := map[int]string{}
	for _, b := range answers {
		// struct ifinfomsg: family u8, pad u8, type u16, index i32, flags u32, change u32.
		l := Link{Kind: "device", Up: u32(b[8:])&unix.IFF_UP != 0}
		if u16(b[2:]) == unix.ARPHRD_LOOPBACK {
			l.Kind = "loopback"
		}
		for typ, v := range attrs(b[unix.SizeofIfInfomsg:]) {
			switch typ {
			case unix.IFLA_IFNAME:
				l.Name = text(v)
			case unix.IFLA_LINKINFO:
				for typ, v := range attrs(v) {
					if typ == unix.IFLA_INFO_KIND {
						l.Kind = text(v)
					}
				}
			}
		}
		names[int(u32(b[4:]))] = l.Name
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	return links, names, nil
}

// readAddrs returns the addresses of both families.
func readAddrs(c *socket, links map[int]string) ([]Addr, error) {
	answers, err := c.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, doing("list addresses", err)
	}
	const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
	var all []Addr
	for _, b := range answers {
		// struct ifaddrmsg: family, prefix length, flags, scope u8, index u32.
		flags := uint32(b[2])
		var local, address netip.Addr
		for typ, v := range attrs(b[unix.SizeofIfAddrmsg:]) {
			switch typ {
			case unix.IFA_LOCAL: // the own address where IFA_ADDRESS is the peer's
				local = addrOf(v)
			case unix.IFA_ADDRESS:
				address = addrOf(v)
			case unix.IFA_FLAGS: // all 32, of which the header has the lower eight
				flags = u32(v)
			}
		}
		if !local.IsValid() {
			local = address
		}
		if !local.IsValid() { // another family's, e.g. mctp
			continue
		}
		all = append(all, Addr{
			Link:   linkName(links, u32(b[4:])),
			Prefix: netip.PrefixFrom(local, int(b[1])),
			Scope:  scopeName(b[3]),
			Usable: flags&unusable == 0,
		})
	}
	slices.SortFunc(all, compareAddrs)
	return all, nil
}

func compareAddrs(a, b Addr) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), comparePrefixes(a.Prefix, b.Prefix))
}

// comparePrefixes orders by family, then address, then length; the zero Prefix comes first.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
