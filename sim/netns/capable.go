package netns

import (
	"fmt"
	"net"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// Capable finds out by doing it, in the namespace of the switch, where nothing is measured.
func (w *World) Capable(c world.Capability) (bool, string) {
	tries := map[world.Capability]func() error{
		world.CapIPVS:   tryIPVS,
		world.CapIPv6:   func() error { return trySocket(unix.AF_INET6, unix.SOCK_STREAM, 0) },
		world.CapSCTP:   func() error { return trySocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP) },
		world.CapTunnel: w.tryTunnel,
	}
	try, known := tries[c]
	if !known {
		return false, fmt.Sprintf("network namespaces have no %s", c)
	}
	if err := w.bridge.do(try); err != nil {
		return false, fmt.Sprintf("%s: %v", c, err)
	}
	return true, ""
}

// tryIPVS adds a service, which takes more than asking.
func tryIPVS() error {
	h, err := ipvs.New("")
	if err != nil {
		return fmt.Errorf("talk to IPVS: %w", err)
	}
	defer h.Close()
	service := &ipvs.Service{AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: net.IPv4(192, 0, 2, 1), Port: 1, Netmask: ^uint32(0), SchedName: "rr"}
	if err := h.NewService(service); err != nil {
		return fmt.Errorf("add an IPVS service: %w", err)
	}
	return h.DelService(service)
}

func trySocket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
