package server

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"proxyproof/sim/world"
)

// datagrams is a socket that listens on all addresses and answers from the one that was asked: a node has several.
type datagrams interface {
	// read returns the sender and the address that it sent to.
	read(b []byte) (n int, from *net.UDPAddr, to netip.Addr, err error)
	write(b []byte, from netip.Addr, to *net.UDPAddr) error
	port() uint16
}

// answer serves datagrams until the socket is closed.
func (s *Server) answer(d datagrams) {
	b := make([]byte, world.MaxAnswer)
	for {
		n, from, to, err := d.read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // what became of an earlier answer
			if !transient(err) {
				return
			}
			continue
		}
		answer, err := json.Marshal(world.Answer{
			Server: s.name,
			Saw:    from.String(),
			To:     netip.AddrPortFrom(to, d.port()).String(),
			Echo:   string(b[:n]),
		})
		if err != nil {
			continue
		}
		_ = d.write(answer, to, from) // lost like any datagram
	}
}

// transient tells whether a socket that gave an error can be read again.
func transient(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (errno == syscall.ECONNREFUSED || errno == syscall.EHOSTUNREACH || errno == syscall.ENETUNREACH || errno == syscall.EINTR)
}

func newDatagrams(c net.PacketConn, f world.Family) (datagrams, error) {
	number := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	if f == world.IPv4 {
		p := ipv4.NewPacketConn(c)
		return &datagrams4{p, number}, p.SetControlMessage(ipv4.FlagDst, true)
	}
	p := ipv6.NewPacketConn(c)
	return &datagrams6{p, number}, p.SetControlMessage(ipv6.FlagDst, true)
}

type datagrams4 struct {
	*ipv4.PacketConn
	number uint16
}

func (d *datagrams4) port() uint16 { return d.number }

func (d *datagrams4) read(b []byte) (int, *net.UDPAddr, netip.Addr, error) {
	n, control, from, err := d.ReadFrom(b)
	if err != nil {
		return 0, nil, netip.Addr{}, err
	}
	to, _ := netip.AddrFromSlice(control.Dst)
	return n, from.(*net.UDPAddr), to.Unmap(), nil
}

func (d *datagrams4) write(b []byte, from netip.Addr, to *net.UDPAddr) error {
	_, err := d.WriteTo(b, &ipv4.ControlMessage{Src: from.AsSlice()}, to)
	return err
}

type datagrams6 struct {
	*ipv6.PacketConn
	number uint16
}

func (d *datagrams6) port() uint16 { return d.number }

func (d *datagrams6) read(b []byte) (int, *net.UDPAddr, netip.Addr, error) {
	n, control, from, err := d.ReadFrom(b)
	if err != nil {
		return 0, nil, netip.Addr{}, err
	}
	to, _ := netip.AddrFromSlice(control.Dst)
	return n, from.(*net.UDPAddr), to, nil
}

func (d *datagrams6) write(b []byte, from netip.Addr, to *net.UDPAddr) error {
	control := &ipv6.ControlMessage{Src: from.AsSlice()}
	if from.IsLinkLocalUnicast() {
		control = nil // needs a link too; the route knows both
	}
	_, err := d.WriteTo(b, control, to)
	return err
}
