package netns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"proxyproof/sim/world"
)

// Replug implements world.World. Only the switch's end goes down and up: the place notices the carrier, and keeps its addresses.
func (w *World) Replug(ctx context.Context, name string) error {
	port, at := w.port(name)
	if at == nil {
		return fmt.Errorf("%s has no cable", name)
	}
	link, err := w.bridge.route.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find the port of %s: %w", name, err)
	}
	if err := w.bridge.route.LinkSetDown(link); err != nil {
		return fmt.Errorf("pull the cable of %s: %w", name, err)
	}
	if err := at.awaitCarrier(ctx, false); err != nil {
		return fmt.Errorf("pull the cable of %s: %w", name, err)
	}
	if err := w.bridge.route.LinkSetUp(link); err != nil {
		return fmt.Errorf("put the cable of %s in again: %w", name, err)
	}
	if err := at.awaitCarrier(ctx, true); err != nil {
		return fmt.Errorf("put the cable of %s in again: %w", name, err)
	}
	return nil
}

// port is the switch's port of a node or client, and the namespace at the other end; nil if there is none of this name.
func (w *World) port(name string) (string, *space) {
	for i, n := range w.nodes {
		if n.name == name {
			return fmt.Sprintf("node%d", i), n.space
		}
	}
	for i, c := range w.clients {
		if c.name == name {
			return fmt.Sprintf("client%d", i), c.space
		}
	}
	return "", nil
}

// awaitCarrier waits until the kernel has noticed whether the uplink has a carrier: it does so in the background.
func (s *space) awaitCarrier(ctx context.Context, want bool) error {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for {
		link, err := s.route.LinkByName(uplink)
		if err != nil {
			return err
		}
		if (link.Attrs().OperState == netlink.OperUp) == want {
			return nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Addrs implements world.Place: those that the node has now.
func (n *node) Addrs(f world.Family) []netip.Addr {
	all := n.place.Addrs(f)
	if removed := int(n.removed.Load()); removed > 0 {
		return all[:max(1, len(all)-removed)]
	}
	return all
}

// SetAddresses implements world.Node.
func (n *node) SetAddresses(count int) error {
	link, err := n.space.route.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("find the link of %s: %w", n.name, err)
	}
	total := 0
	for f, all := range n.addrs {
		if total = len(all); count < 1 || count > total {
			return fmt.Errorf("node %s cannot have %d of its %d addresses", n.name, count, total)
		}
		for i, a := range all {
			has := i < len(n.Addrs(f))
			switch {
			case i < count && !has:
				err = n.space.addAddress(link.Attrs().Index, onLink(f, a))
			case i >= count && has:
				err = n.space.removeAddress(link.Attrs().Index, onLink(f, a))
			}
			if err != nil {
				return fmt.Errorf("change the addresses of %s: %w", n.name, err)
			}
		}
	}
	n.removed.Store(int32(total - count))
	return nil
}
