package netstate

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Numbers of linux/ip_vs.h, which x/sys/unix lacks.
const (
	ipvsCmdGetService = 4
	ipvsCmdGetDest    = 8

	ipvsCmdAttrService = 1
	ipvsCmdAttrDest    = 2

	ipvsSvcAF        = 1
	ipvsSvcProtocol  = 2
	ipvsSvcAddr      = 3
	ipvsSvcPort      = 4
	ipvsSvcFWMark    = 5
	ipvsSvcScheduler = 6
	ipvsSvcFlags     = 7
	ipvsSvcTimeout   = 8
	ipvsSvcNetmask   = 9
	ipvsSvcEngine    = 11

	ipvsDestAddr     = 1
	ipvsDestPort     = 2
	ipvsDestForward  = 3
	ipvsDestWeight   = 4
	ipvsDestUpper    = 5
	ipvsDestLower    = 6
	ipvsDestActive   = 7
	ipvsDestInactive = 8
	ipvsDestAF       = 11
	ipvsDestTunType  = 13
	ipvsDestTunPort  = 14
	ipvsDestTunFlags = 15

	ipvsFlagPersistent = 1
	ipvsFlagHashed     = 2
)

// ipvsFamily asks for the number of the generic netlink family, which is the same in all namespaces; 0 if the kernel has none.
func ipvsFamily(c *socket) (uint16, error) {
	request := attr([]byte{unix.CTRL_CMD_GETFAMILY, 1, 0, 0}, unix.CTRL_ATTR_FAMILY_NAME, []byte("IPVS\x00"))
	answers, _, err := c.request(unix.GENL_ID_CTRL, 0, request)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, doing("look up the netlink family of IPVS", err)
	}
	for _, b := range answers {
		for typ, v := range attrs(b[unix.GENL_HDRLEN:]) {
			if typ == unix.CTRL_ATTR_FAMILY_ID {
				return u16(v), nil
			}
		}
	}
	return 0, errors.New("look up the netlink family of IPVS: no number in the answer")
}

// readIPVS returns the virtual services with their destinations.
func readIPVS(c *socket, family uint16) ([]IPVSService, error) {
	answers, err := c.dump(family, []byte{ipvsCmdGetService, 1, 0, 0})
	if err != nil {
		return nil, doing("list IPVS services", err)
	}
	var all []IPVSService
	var keys [][]byte
	for _, b := range answers {
		for typ, v := range attrs(b[unix.GENL_HDRLEN:]) {
			if typ == ipvsCmdAttrService {
				s, key := parseIPVSService(v)
				all, keys = append(all, s), append(keys, key)
			}
		}
	}
	for i, key := range keys {
		answers, err := c.dump(family, attr([]byte{ipvsCmdGetDest, 1, 0, 0}, ipvsCmdAttrService|unix.NLA_F_NESTED, key))
		if errors.Is(err, unix.ESRCH) { // deleted since it was listed
			err = errInterrupted
		}
		if err != nil {
			return nil, fmt.Errorf("list destinations of IPVS service %s: %w", all[i].Key(), err)
		}
		all[i].Dests = parseIPVSDests(answers)
	}
	slices.SortFunc(all, compareIPVS)
	return all, nil
}

// parseIPVSService returns a service and the attributes by which the kernel finds it again.
func parseIPVSService(b []byte) (s IPVSService, key []byte) {
	var address, netmask []byte
	for typ, v := range attrs(b) {
		switch typ {
		case ipvsSvcAF:
			s.IPv6 = u16(v) == unix.AF_INET6
		case ipvsSvcProtocol:
			s.Protocol = transportName(u16(v))
		case ipvsSvcAddr:
			address = v
		case ipvsSvcPort:
			s.Port = be16(v)
		case ipvsSvcFWMark:
			s.FWMark = u32(v)
		case ipvsSvcScheduler:
			s.Scheduler = text(v)
		case ipvsSvcFlags: // struct ip_vs_flags: flags, mask u32
			s.Persistent = u32(v)&ipvsFlagPersistent != 0
			s.Flags = u32(v) &^ ipvsFlagHashed
		case ipvsSvcTimeout:
			s.Timeout = u32(v)
		case ipvsSvcNetmask:
			netmask = v
		case ipvsSvcEngine:
			s.Engine = text(v)
		}
		switch typ {
		case ipvsSvcAF, ipvsSvcProtocol, ipvsSvcAddr, ipvsSvcPort, ipvsSvcFWMark:
			key = attr(key, typ, v)
		}
	}
	s.Address = ipvsAddr(address, s.IPv6)
	if s.IPv6 {
		s.Netmask = u32(netmask)
	} else {
		s.Netmask = be32(netmask)
	}
	return s, key
}

func parseIPVSDests(answers [][]byte) []IPVSDest {
	var all []IPVSDest
	for _, b := range answers {
		for typ, v := range attrs(b[unix.GENL_HDRLEN:]) {
			if typ == ipvsCmdAttrDest {
				all = append(all, parseIPVSDest(v))
			}
		}
	}
	slices.SortFunc(all, func(a, b IPVSDest) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port))
	})
	return all
}

func parseIPVSDest(b []byte) IPVSDest {
	var d IPVSDest
	var address []byte
	var ipv6 bool
	var tunnel struct {
		typ   byte
		port  uint16
		flags uint16
	}
	for typ, v := range attrs(b) {
		switch typ {
		case ipvsDestAF:
			ipv6 = u16(v) == unix.AF_INET6
		case ipvsDestAddr:
			address = v
		case ipvsDestPort:
			d.Port = be16(v)
		case ipvsDestForward:
			d.Forward = forwardName(u32(v))
		case ipvsDestWeight:
			d.Weight = int(int32(u32(v)))
		case ipvsDestUpper:
			d.Upper = u32(v)
		case ipvsDestLower:
			d.Lower = u32(v)
		case ipvsDestTunType:
			tunnel.typ = v[0]
		case ipvsDestTunPort:
			tunnel.port = be16(v)
		case ipvsDestTunFlags:
			tunnel.flags = u16(v)
		case ipvsDestActive:
			d.ActiveConns = int(u32(v))
		case ipvsDestInactive:
			d.InactiveConns = int(u32(v))
		}
	}
	d.Address = ipvsAddr(address, ipv6)
	d.Tunnel = tunnelName(tunnel.typ, tunnel.port, tunnel.flags)
	return d
}

// tunnelName is "" for IP in IP, else the encapsulation with its port and what is unusual about it.
func tunnelName(typ byte, port, flags uint16) string {
	var name string
	switch typ {
	case 0:
		return ""
	case 1:
		name = "gue:" + strconv.Itoa(int(port))
	case 2:
		name = "gre"
	default:
		name = "type-" + strconv.Itoa(int(typ))
	}
	if flags != 0 {
		name += fmt.Sprintf("/%#x", flags)
	}
	return name
}

// ipvsAddr reads a union nf_inet_addr: 16 bytes, of which IPv4 uses the first four. A firewall-mark service has none.
func ipvsAddr(b []byte, ipv6 bool) netip.Addr {
	if len(b) == 16 && !ipv6 {
		b = b[:4]
	}
	return addrOf(b)
}

func compareIPVS(a, b IPVSService) int {
	return cmp.Or(
		cmp.Compare(a.FWMark, b.FWMark),
		a.Address.Compare(b.Address),
		cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(familyName(a.IPv6), familyName(b.IPv6)),
	)
}

func transportName(p uint16) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "TCP"
	case unix.IPPROTO_UDP:
		return "UDP"
	case unix.IPPROTO_SCTP:
		return "SCTP"
	}
	return strconv.Itoa(int(p))
}

func forwardName(flags uint32) string {
	names := [...]string{"Masq", "Local", "Tunnel", "Route", "Bypass"}
	if method := flags & 7; int(method) < len(names) {
		return names[method]
	}
	return strconv.Itoa(int(flags & 7))
}
