package probe

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// echo is the ICMP echo of a family. Ping sockets fill in identifier and checksum, and deliver only answers to their own requests.
type echo struct {
	protocol     int
	asks, answer byte // types
}

func echoOf(f world.Family) echo {
	if f == world.IPv6 {
		return echo{unix.IPPROTO_ICMPV6, echoRequest6, echoReply6}
	}
	return echo{unix.IPPROTO_ICMP, echoRequest4, echoReply4}
}

// echoHeader is type, code, checksum, identifier, sequence number.
const echoHeader = 8

func (e echo) request(seq uint16, payload []byte) []byte {
	b := make([]byte, echoHeader, echoHeader+len(payload))
	b[0] = e.asks
	binary.BigEndian.PutUint16(b[6:], seq)
	return append(b, payload...)
}

// reply reads an answer; quoted reads what an ICMP error quotes of a request.
func (e echo) reply(b []byte) (seq uint16, payload []byte, ok bool)  { return e.parse(b, e.answer) }
func (e echo) quoted(b []byte) (seq uint16, payload []byte, ok bool) { return e.parse(b, e.asks) }

func (e echo) parse(b []byte, want byte) (uint16, []byte, bool) {
	if len(b) < echoHeader || b[0] != want {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b[6:]), b[echoHeader:], true
}
