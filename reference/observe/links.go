package observe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"proxyproof/reference/dump"
)

// Links are the addresses of the machine's own links, kept up to date by the kernel.
type Links struct {
	changed chan struct{}
}

// WatchLinks subscribes to changes of addresses until the context ends.
func WatchLinks(ctx context.Context) (*Links, error) {
	l := &Links{changed: make(chan struct{}, 1)}
	updates := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(updates, ctx.Done()); err != nil {
		return nil, fmt.Errorf("subscribe to address changes: %w", err)
	}
	go func() { // ends when the subscription does
		for range updates {
			select {
			case l.changed <- struct{}{}:
			default:
			}
		}
	}()
	return l, nil
}

// Changed has a value when an address came or went since it was last read.
func (l *Links) Changed() <-chan struct{} { return l.changed }

// Local are the addresses of all links but those that carry service addresses or belong to container tools.
func Local() ([]netip.Addr, error) {
	links, err := dump.Whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	plain := map[int]bool{}
	for _, link := range links {
		plain[link.Attrs().Index] = isPlain(link.Attrs().Name)
	}
	addresses, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var local []netip.Addr
	for _, address := range addresses {
		if ip, ok := netip.AddrFromSlice(address.IP); ok && plain[address.LinkIndex] {
			local = append(local, ip.Unmap())
		}
	}
	return local, nil
}

func isPlain(name string) bool {
	for _, part := range []string{"dummy", "kube", "docker"} {
		if strings.Contains(name, part) {
			return false
		}
	}
	return true
}
