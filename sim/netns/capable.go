package netns

import (
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// Capable finds out by doing it, in the namespace of the switch, where nothing is measured.
func (w *World) Capable(c world.Capability) (bool, string) {
	tries := map[world.Capability]func() error{
		world.CapIPVS:   tryIPVS,
		world.CapIPv6:   func() error { return trySocket(unix.AF_INET6, unix.SOCK_STREAM, 0) },
		world.CapSCTP:   TrySCTP,
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

// getInfo is IPVS_CMD_GET_INFO of the kernel's ip_vs.h. Like all commands it is for administrators of the whole machine only.
const getInfo = 15

func tryIPVS() error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer c.Close()
	family, err := c.GetFamily("IPVS") // loads the module, where there is one
	if err != nil {
		return fmt.Errorf("find IPVS in the kernel: %w", err)
	}
	message := genetlink.Message{Header: genetlink.Header{Command: getInfo, Version: family.Version}}
	if _, err := c.Execute(message, family.ID, netlink.Request); err != nil {
		return fmt.Errorf("ask IPVS for its version: %w", err)
	}
	return nil
}

// TrySCTP tells why the kernel cannot speak SCTP, before a world needs it.
func TrySCTP() error { return trySocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP) }

func trySocket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
