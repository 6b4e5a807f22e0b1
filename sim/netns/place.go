package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"proxyproof/sim/world"
)

// place implements world.Place for everything that has a network namespace.
type place struct {
	*space
	name  string
	kind  world.Kind
	node  string
	addrs map[world.Family][]netip.Addr
	// via is the source address by entry node; only clients have it.
	via   map[string]byFamily
	ports *sourcePorts // of the world
}

// sourcePorts gives each of its ports in turn.
type sourcePorts struct{ given atomic.Uint32 }

const firstSourcePort, lastSourcePort = 10000, 29999

func (s *sourcePorts) next() uint16 {
	return uint16(firstSourcePort + (s.given.Add(1)-1)%(lastSourcePort-firstSourcePort+1))
}

func (p *place) Name() string     { return p.name }
func (p *place) Kind() world.Kind { return p.kind }
func (p *place) NodeName() string { return p.node }

func (p *place) Addrs(f world.Family) []netip.Addr { return slices.Clone(p.addrs[f]) }

func (p *place) Source(via string, f world.Family) netip.Addr { return p.via[via][f] }

func (p *place) Do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return p.do(f)
}

func (p *place) SourcePort() uint16 { return p.ports.next() }

func (p *place) Listen(ctx context.Context, network string, local netip.AddrPort) (net.Listener, error) {
	if strings.HasPrefix(network, "sctp") {
		return make1(p, func() (net.Listener, error) { return listenSCTP(local) })
	}
	return make1(p, func() (net.Listener, error) { return listenConfig().Listen(ctx, network, local.String()) })
}

func (p *place) ListenPacket(ctx context.Context, network string, local netip.AddrPort) (net.PacketConn, error) {
	return make1(p, func() (net.PacketConn, error) { return listenConfig().ListenPacket(ctx, network, local.String()) })
}

// listenConfig makes plain TCP sockets; the default offers multipath TCP.
func listenConfig() *net.ListenConfig {
	c := &net.ListenConfig{KeepAlive: -1}
	c.SetMultipathTCP(false)
	return c
}

// make1 makes a socket in the place's namespace. It stays there, whichever thread uses it.
func make1[T any](p *place, open func() (T, error)) (T, error) {
	var socket T
	err := p.do(func() (err error) {
		socket, err = open()
		return err
	})
	if err != nil {
		return socket, fmt.Errorf("%s: %w", p.name, err)
	}
	return socket, nil
}
