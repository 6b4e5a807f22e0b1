package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// ICMP is an error message of the network.
type ICMP struct {
	Family world.Family `json:"family"`
	Type   uint8        `json:"type"`
	Code   uint8        `json:"code"`
	// From is who sent it.
	From netip.Addr `json:"from,omitzero"`
}

// The codes of destination-unreachable messages, RFC 792, RFC 1122, RFC 1812 and RFC 4443.
var (
	unreachable4 = []string{"net unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed", "source route failed",
		"net unknown", "host unknown", "host isolated", "net prohibited", "host prohibited", "net unreachable for this service", "host unreachable for this service", "administratively prohibited"}
	unreachable6 = []string{"no route", "administratively prohibited", "beyond scope of source address", "address unreachable", "port unreachable",
		"source address failed policy", "reject route"}
)

// ICMP types, by family.
const (
	unreachableType4  = 3
	unreachableType6  = 1
	timeExceededType4 = 11
	timeExceededType6 = 3
	echoRequest4      = 8
	echoRequest6      = 128
	echoReply4        = 0
	echoReply6        = 129
)

// String is such as "ICMP port unreachable from 192.0.2.17".
func (e ICMP) String() string {
	name, unreachable, exceeded, codes := "ICMP", uint8(unreachableType4), uint8(timeExceededType4), unreachable4
	if e.Family == world.IPv6 {
		name, unreachable, exceeded, codes = "ICMPv6", unreachableType6, timeExceededType6, unreachable6
	}
	what := fmt.Sprintf("type %d code %d", e.Type, e.Code)
	switch {
	case e.Type == unreachable && int(e.Code) < len(codes):
		what = codes[e.Code]
	case e.Type == exceeded:
		what = "time exceeded"
	}
	if !e.From.IsValid() {
		return name + " " + what
	}
	return fmt.Sprintf("%s %s from %s", name, what, e.From)
}

// unresolved tells whether a host sent this to itself because a neighbour did not answer.
func (e ICMP) unresolved(local netip.Addr) bool {
	if e.From != local {
		return false
	}
	if e.Family == world.IPv6 {
		return e.Type == unreachableType6 && e.Code == 3
	}
	return e.Type == unreachableType4 && e.Code == 1
}

// queued takes the next ICMP error from a socket's error queue, with what it quotes of the packet that it is about: the payload of a
// datagram. ok is false if there is none.
func queued(fd int) (e ICMP, payload []byte, ok bool) {
	quote, control := make([]byte, 512), make([]byte, 512)
	for {
		n, controlLen, _, _, err := unix.Recvmsg(fd, quote, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return ICMP{}, nil, false
		}
		messages, err := unix.ParseSocketControlMessage(control[:controlLen])
		if err != nil {
			return ICMP{}, nil, false
		}
		for _, m := range messages {
			if e, ok := extended(m); ok {
				return e, quote[:max(n, 0)], true
			}
		}
	}
}

// extended reads struct sock_extended_err and the address of the offender, which follows it.
func extended(m unix.SocketControlMessage) (ICMP, bool) {
	v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
	v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
	const size = 16
	if !v4 && !v6 || len(m.Data) < size {
		return ICMP{}, false
	}
	e := ICMP{Family: world.IPv4, Type: m.Data[5], Code: m.Data[6]}
	offender := m.Data[size:]
	switch origin := m.Data[4]; {
	case v4 && origin == unix.SO_EE_ORIGIN_ICMP:
		// struct sockaddr_in: family, port, address
		if len(offender) >= 8 && binary.NativeEndian.Uint16(offender) == unix.AF_INET {
			e.From, _ = netip.AddrFromSlice(offender[4:8])
		}
	case v6 && origin == unix.SO_EE_ORIGIN_ICMP6:
		e.Family = world.IPv6
		// struct sockaddr_in6: family, port, flow, address
		if len(offender) >= 24 && binary.NativeEndian.Uint16(offender) == unix.AF_INET6 {
			e.From, _ = netip.AddrFromSlice(offender[8:24])
		}
	default:
		return ICMP{}, false
	}
	return e, true
}
