package observe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/dump"
)

// Links tells when the addresses of the machine's own links change. Those on links that Local does not look at, the proxy's among
// them, are no change.
type Links struct {
	changed chan struct{}
	plain   map[int]bool // by index, as far as the kernel has told
}

// bufferSize is room for what the kernel tells while the proxy puts thousands of addresses on its link.
const bufferSize = 4 << 20

// subscription is what the kernel tells. Its channels are closed when it ends.
type subscription struct {
	links     chan netlink.LinkUpdate
	addresses chan netlink.AddrUpdate
	stop      context.CancelFunc
}

func subscribe(ctx context.Context) (subscription, error) {
	ctx, stop := context.WithCancel(ctx)
	s := subscription{make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), stop}
	err := netlink.LinkSubscribeWithOptions(s.links, ctx.Done(), netlink.LinkSubscribeOptions{ListExisting: true, ReceiveBufferSize: bufferSize, ReceiveBufferForceSize: true})
	if err != nil {
		stop()
		return s, fmt.Errorf("subscribe to link changes: %w", err)
	}
	err = netlink.AddrSubscribeWithOptions(s.addresses, ctx.Done(), netlink.AddrSubscribeOptions{ReceiveBufferSize: bufferSize, ReceiveBufferForceSize: true})
	if err != nil {
		stop()
		return s, fmt.Errorf("subscribe to address changes: %w", err)
	}
	return s, nil
}

// WatchLinks subscribes to changes until the context ends.
func WatchLinks(ctx context.Context) (*Links, error) {
	first, err := subscribe(ctx)
	if err != nil {
		return nil, err
	}
	l := &Links{changed: make(chan struct{}, 1), plain: map[int]bool{}}
	go l.watch(ctx, first) // ends when the context does
	return l, nil
}

// resubscribeDelay is the pause before a new subscription, after the kernel told more than there was room for.
const resubscribeDelay = time.Second

func (l *Links) watch(ctx context.Context, s subscription) {
	for {
		l.listen(s)
		s.stop()
		select {
		case <-ctx.Done():
			return
		case <-time.After(resubscribeDelay):
		}
		if next, err := subscribe(ctx); err == nil {
			s = next
		}
		l.notify() // something was missed
	}
}

// listen returns when the subscription ends. Nobody is left waiting to tell.
func (l *Links) listen(s subscription) {
	links, addresses := s.links, s.addresses
	for links != nil || addresses != nil {
		select {
		case u, ok := <-links:
			if !ok {
				s.stop()
				links = nil
				continue
			}
			l.linkTold(u)
		case u, ok := <-addresses:
			if !ok {
				s.stop()
				addresses = nil
				continue
			}
			if plain, known := l.plain[u.LinkIndex]; plain || !known {
				l.notify()
			}
		}
	}
}

// linkTold learns of a link. Its addresses come with words of their own, but a new name can make another kind of it.
func (l *Links) linkTold(u netlink.LinkUpdate) {
	index := u.Attrs().Index
	if u.Header.Type == unix.RTM_DELLINK {
		delete(l.plain, index)
		return
	}
	now := isPlain(u.Attrs().Name)
	if before, known := l.plain[index]; known && before != now {
		l.notify()
	}
	l.plain[index] = now
}

func (l *Links) notify() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
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
