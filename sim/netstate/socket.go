package netstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errInterrupted tells that something was written while the kernel was dumping, so that the dump may lack entries.
var errInterrupted = errors.New("the kernel's tables changed while they were read")

// attempts bounds how often a dump is repeated that was interrupted by a writer.
const attempts = 8

// dial opens a netlink socket in the namespace. The socket belongs to it for good, whichever thread uses it.
func dial(family, ns int) (*netlink.Conn, error) {
	// The kernel fills buffers of 32 KiB for those who can take them.
	return netlink.Dial(family, &netlink.Config{NetNS: ns, MessageBufferSize: 64 << 10})
}

// dump sends a request for all objects of a kind and returns the payload of each answer. It repeats dumps that were interrupted.
func dump(c *netlink.Conn, typ uint16, payload []byte) ([][]byte, error) {
	for range attempts {
		answers, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Dump},
			Data:   payload,
		})
		if err != nil {
			return nil, err
		}
		payloads, interrupted := make([][]byte, len(answers)), false
		for i, m := range answers {
			payloads[i] = m.Data
			interrupted = interrupted || m.Header.Flags&netlink.DumpInterrupted != 0
		}
		if !interrupted {
			return payloads, nil
		}
	}
	return nil, errInterrupted
}

// attrs yields type and value of each netlink attribute, without the type's flags.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (netlink.Nested | netlink.NetByteOrder)
			if !yield(typ, b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// attr appends a netlink attribute.
func attr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// text is a NUL-terminated string.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func u16(b []byte) uint16   { return binary.NativeEndian.Uint16(b) }
func u32(b []byte) uint32   { return binary.NativeEndian.Uint32(b) }
func be16(b []byte) uint16  { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32  { return binary.BigEndian.Uint32(b) }
func put32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// addrOf reads an address of 4 or 16 bytes; any other length is no address.
func addrOf(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// anyAddr is 0.0.0.0 or ::.
func anyAddr(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func familyName(ipv6 bool) string {
	if ipv6 {
		return "inet6"
	}
	return "inet"
}

func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// nfgenmsgSize is that of struct nfgenmsg: family, version u8, resource id u16.
const nfgenmsgSize = 4

func nfgenmsg(family byte) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }
