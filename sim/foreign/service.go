package foreign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// Service is a virtual service, at an address or for a firewall mark. Its scheduler and forwarding are those that no Service of
// Kubernetes has by default, so that an overwritten one shows.
type Service struct {
	Family   world.Family
	Protocol world.Protocol
	Address  netip.AddrPort
	Mark     uint32 // instead of an address
	Dests    []netip.AddrPort
}

func (s Service) String() string {
	if s.Mark != 0 {
		return fmt.Sprintf("IPVS service of mark %d (%s)", s.Mark, s.Family)
	}
	return fmt.Sprintf("IPVS service %s %s", s.Protocol, s.Address)
}

var protocolNumbers = map[world.Protocol]uint16{world.TCP: unix.IPPROTO_TCP, world.UDP: unix.IPPROTO_UDP, world.SCTP: unix.IPPROTO_SCTP}

func (s Service) virtual() *ipvs.Service {
	v := &ipvs.Service{SchedName: "wlc", AddressFamily: unix.AF_INET, Netmask: ^uint32(0), FWMark: s.Mark}
	if s.Family == world.IPv6 {
		v.AddressFamily, v.Netmask = unix.AF_INET6, 128
	}
	if s.Mark == 0 {
		v.Protocol, v.Address, v.Port = protocolNumbers[s.Protocol], s.Address.Addr().AsSlice(), s.Address.Port()
	}
	return v
}

func (s Service) put(ctx context.Context, n world.Node) error {
	return s.do(ctx, n, func(h *ipvs.Handle) error {
		if err := h.NewService(s.virtual()); err != nil {
			return err
		}
		for _, d := range s.Dests {
			real := &ipvs.Destination{
				AddressFamily: s.virtual().AddressFamily, Address: net.IP(d.Addr().AsSlice()), Port: d.Port(), Weight: 3,
				ConnectionFlags: ipvs.ConnectionFlagMasq,
			}
			if err := h.NewDestination(s.virtual(), real); err != nil {
				return fmt.Errorf("add destination %s: %w", d, err)
			}
		}
		return nil
	})
}

// take is content if somebody else has removed it.
func (s Service) take(ctx context.Context, n world.Node) error {
	return s.do(ctx, n, func(h *ipvs.Handle) error {
		if err := h.DelService(s.virtual()); !errors.Is(err, unix.ESRCH) {
			return err
		}
		return nil
	})
}

func (s Service) do(ctx context.Context, n world.Node, f func(*ipvs.Handle) error) error {
	return n.Do(ctx, func() error {
		h, err := ipvs.New("")
		if err != nil {
			return fmt.Errorf("talk to IPVS: %w", err)
		}
		defer h.Close()
		return f(h)
	})
}
