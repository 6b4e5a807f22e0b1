package netstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// errInterrupted tells that something was written while the kernel was dumping, so that the dump may lack entries.
var errInterrupted = errors.New("the kernel's tables changed while they were read")

// attempts bounds how often a dump is repeated that was interrupted by a writer.
const attempts = 8

// socket is a netlink socket for requests. It belongs for good to the namespace of the thread that opened it. It is not safe for
// concurrent use.
type socket struct {
	fd  int
	seq uint32
	// answer is the space for the datagrams of one answer, which is used again for the next.
	answer []byte
}

// The kernel fills datagrams of up to 32 KiB in a dump for those who have the space.
const datagramSize = 64 << 10

// patience is a safety net: the kernel answers these requests before sendto returns.
const patience = 10

// errTimeout tells that the kernel did not answer.
var errTimeout = errors.New("no answer from the kernel")

// openSocket opens a netlink socket in the namespace of the calling thread.
func openSocket(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return &socket{fd: fd, answer: make([]byte, 0, 2*datagramSize)}, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// dump asks for all objects of a kind and returns the payload of each message of the answer, in memory that the next request on
// the socket overwrites. A dump that a writer interrupted is repeated.
func (s *socket) dump(typ uint16, payload []byte) ([][]byte, error) {
	for range attempts {
		answers, interrupted, err := s.request(typ, unix.NLM_F_DUMP, payload)
		if err != nil {
			return nil, err
		}
		if !interrupted {
			return answers, nil
		}
	}
	return nil, errInterrupted
}

// request sends a request. The memory of the answers is as that of dump.
func (s *socket) request(typ, flags uint16, payload []byte) (answers [][]byte, interrupted bool, err error) {
	s.seq++
	s.answer = s.answer[:0]
	b := make([]byte, 0, unix.NLMSG_HDRLEN+len(payload))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, s.seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), payload...)
	if err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, false, os.NewSyscallError("sendto", err)
	}
	for {
		datagram, err := s.receive()
		if err != nil {
			return nil, false, err
		}
		for len(datagram) >= unix.NLMSG_HDRLEN {
			// struct nlmsghdr: len u32, type, flags u16, seq, pid u32.
			size, typ, flags, seq := int(u32(datagram)), u16(datagram[4:]), u16(datagram[6:]), u32(datagram[8:])
			if size < unix.NLMSG_HDRLEN || size > len(datagram) {
				return nil, false, errors.New("a message of the kernel has no sensible size")
			}
			body := datagram[unix.NLMSG_HDRLEN:size]
			datagram = datagram[min((size+3)&^3, len(datagram)):]
			if seq != s.seq { // of a request that was given up
				continue
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			if typ == unix.NLMSG_DONE || typ == unix.NLMSG_ERROR {
				return answers, interrupted, answerError(body)
			}
			answers = append(answers, body)
			if flags&unix.NLM_F_MULTI == 0 {
				return answers, interrupted, nil
			}
		}
	}
}

// answerError reads the negative error number in the last message of an answer.
func answerError(body []byte) error {
	if len(body) < 4 || u32(body) == 0 {
		return nil
	}
	return unix.Errno(-int32(u32(body)))
}

// receive appends a datagram to the answer.
func (s *socket) receive() ([]byte, error) {
	if cap(s.answer)-len(s.answer) < datagramSize { // what was received stays where it is
		s.answer = make([]byte, 0, max(2*cap(s.answer), 2*datagramSize))
	}
	start := len(s.answer)
	for {
		n, _, flags, _, err := unix.Recvmsg(s.fd, s.answer[start:start+datagramSize], nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, errTimeout
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		case flags&unix.MSG_TRUNC != 0:
			return nil, fmt.Errorf("an answer of the kernel is larger than %d bytes", datagramSize)
		}
		s.answer = s.answer[:start+n]
		return s.answer[start:], nil
	}
}

// attrs yields type and value of each netlink attribute, without the type's flags.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
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
