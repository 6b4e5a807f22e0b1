package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// meter hears every netlink message of a node, through the kernel's own tap (nlmon), and counts those that are to change something.
// Rules that are written through a socket option, as iptables-legacy does, are no messages.
type meter struct {
	fd      int
	ipvs    uint16 // the number of its generic family
	quit    chan struct{}
	reading sync.WaitGroup

	lock    sync.Mutex
	pending map[request]bool // sent and not yet acknowledged
	heard   heard
	err     error
}

// heard are the writes since the last reset.
type heard struct {
	writes      int
	first, last time.Time // when one was sent, and when one was acknowledged
}

// request identifies a write until it is acknowledged.
type request struct {
	protocol uint16
	port     uint32
	seq      uint32
}

// tapBuffer is room for what the meter has not read yet.
const tapBuffer = 256 << 20

func newMeter(ctx context.Context, node world.Node) (*meter, error) {
	m := &meter{quit: make(chan struct{}), pending: map[request]bool{}}
	err := node.Do(ctx, func() error {
		family, err := netlink.GenlFamilyGet("IPVS")
		if err != nil {
			return fmt.Errorf("find IPVS: %w", err)
		}
		m.ipvs = family.ID
		m.fd, err = openTap()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tap netlink: %w", err)
	}
	m.reading.Go(m.read)
	return m, nil
}

// openTap makes a tap in the calling thread's namespace.
func openTap() (int, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "nlmon0"
	link := &netlink.GenericLink{LinkAttrs: attrs, LinkType: "nlmon"}
	if err := netlink.LinkAdd(link); err != nil {
		return -1, fmt.Errorf("make a link of type nlmon: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return -1, fmt.Errorf("bring up the link: %w", err)
	}
	made, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return -1, err
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		return -1, err
	}
	limit := unix.Timeval{Usec: 100_000} // for the reader to see that it is to end
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: made.Attrs().Index}),
	)
}

// read takes in messages until the meter is closed.
func (m *meter) read() {
	data, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		select {
		case <-m.quit:
			return
		default:
		}
		n, c, _, from, err := unix.Recvmsg(m.fd, data, control, 0)
		link, ok := from.(*unix.SockaddrLinklayer)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), err == nil && !ok:
			continue
		case err != nil:
			m.fail(fmt.Errorf("read the tap: %w", err))
			return
		}
		protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, link.Protocol))
		m.packet(protocol, data[:n], timestamp(control[:c]))
	}
}

func (m *meter) fail(err error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.err = errors.Join(m.err, err)
}

// timestamp is when the kernel saw the packet.
func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil && len(messages) > 0 && len(messages[0].Data) >= 16 {
		d := messages[0].Data
		return time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:])))
	}
	return time.Now()
}

const headerSize = unix.SizeofNlMsghdr

// packet takes in all messages of a packet.
func (m *meter) packet(protocol uint16, data []byte, at time.Time) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for len(data) >= headerSize {
		size := int(binary.NativeEndian.Uint32(data))
		if size < headerSize || size > len(data) {
			return
		}
		m.message(protocol, data[:size], at)
		data = data[min((size+3)&^3, len(data)):]
	}
}

func (m *meter) message(protocol uint16, data []byte, at time.Time) {
	kind, flags := binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:])
	switch {
	case flags&unix.NLM_F_REQUEST != 0 && m.isWrite(protocol, kind, data[headerSize:]):
		m.pending[requestOf(protocol, data)] = true
		if m.heard.writes++; m.heard.writes == 1 {
			m.heard.first = at
		}
		m.heard.last = at
	case kind == unix.NLMSG_ERROR && len(data) >= 2*headerSize+4: // the kernel's answer, with the request's header in it
		r := requestOf(protocol, data[headerSize+4:])
		if m.pending[r] {
			delete(m.pending, r)
			m.heard.last = at
		}
	}
}

func requestOf(protocol uint16, header []byte) request {
	return request{protocol, binary.NativeEndian.Uint32(header[12:]), binary.NativeEndian.Uint32(header[8:])}
}

// Commands that only read, by protocol; of linux/ip_vs.h, ipset/ip_set.h, nf_tables.h and nfnetlink_conntrack.h.
var (
	ipvsReads  = map[uint8]bool{4: true, 8: true, 11: true, 13: true, 15: true}
	ipsetReads = map[uint8]bool{1: true, 7: true, 8: true, 11: true, 12: true, 13: true, 14: true, 15: true, 16: true}
	nftReads   = map[uint8]bool{1: true, 4: true, 7: true, 10: true, 13: true, 16: true, 19: true, 21: true, 23: true}
)

// isWrite tells whether a request is to change something.
func (m *meter) isWrite(protocol, kind uint16, payload []byte) bool {
	command := uint8(kind)
	switch protocol {
	case unix.NETLINK_ROUTE:
		return kind >= unix.RTM_NEWLINK && kind&3 != 2 // new, delete, get, set
	case unix.NETLINK_GENERIC:
		return kind == m.ipvs && len(payload) > 0 && !ipvsReads[payload[0]]
	case unix.NETLINK_NETFILTER:
		switch kind >> 8 {
		case unix.NFNL_SUBSYS_IPSET:
			return !ipsetReads[command]
		case unix.NFNL_SUBSYS_NFTABLES:
			return !nftReads[command]
		case unix.NFNL_SUBSYS_CTNETLINK:
			return command&1 == 0 // new, get, delete
		}
	}
	return false
}

// reset forgets what was heard.
func (m *meter) reset() {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.heard = heard{}
}

// now is what was heard since the reset.
func (m *meter) now() (heard, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.heard, m.err
}

// settled waits until something was written and then nothing for a while.
func (m *meter) settled(ctx context.Context, quiet, limit time.Duration) (heard, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing was written, or no end of it came, within %v", limit))
	defer cancel()
	tick := time.NewTicker(quiet / 10)
	defer tick.Stop()
	for {
		h, err := m.now()
		if err != nil {
			return h, err
		}
		if h.writes > 0 && time.Since(h.last) > quiet {
			return h, m.complete()
		}
		select {
		case <-ctx.Done():
			return h, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// complete tells whether the tap has lost nothing.
func (m *meter) complete() error {
	s, err := unix.GetsockoptTpacketStats(m.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("ask the tap what it has lost: %w", err)
	}
	if s.Drops > 0 {
		return fmt.Errorf("the tap has lost %d messages", s.Drops)
	}
	return nil
}

func (m *meter) close() {
	close(m.quit)
	m.reading.Wait()
	unix.Close(m.fd)
}
