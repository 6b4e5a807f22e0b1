package netns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"proxyproof/sim/world"
)

// makeSpaces makes all namespaces: those of nodes each on a thread that stays there, the others one after the other on one.
func (w *World) makeSpaces(ctx context.Context) error {
	w.nodes = make([]*node, len(w.layout.nodes))
	var all errgroup.Group
	for i, l := range w.layout.nodes {
		all.Go(func() (err error) {
			w.nodes[i], err = newNode(ctx, l, w.spec, w.group, &w.ports)
			return err
		})
	}
	all.Go(func() (err error) {
		<-onThread(func() { err = w.makePlaces() })
		return err
	})
	err := all.Wait()
	w.nodes = slices.DeleteFunc(w.nodes, func(n *node) bool { return n == nil })
	return err
}

func (w *World) makePlaces() error {
	bare := func() (*space, error) {
		s, err := newSpace()
		if err == nil {
			err = setSysctls(everywhere)
		}
		return s, err
	}
	var err error
	if w.bridge, err = bare(); err != nil {
		return fmt.Errorf("make the switch: %w", err)
	}
	if err := setSysctls(forwarding); err != nil { // without it the kernel drops what it cannot route and says nothing
		return fmt.Errorf("make the router: %w", err)
	}
	for _, l := range w.layout.pods {
		p := &place{name: l.name, kind: world.KindPod, node: w.layout.nodes[l.node].name, addrs: lists(l.addr), ports: &w.ports}
		if p.space, err = bare(); err != nil {
			return fmt.Errorf("make pod %s: %w", l.name, err)
		}
		w.pods = append(w.pods, p)
	}
	for _, l := range w.layout.clients {
		p := &place{name: l.name, kind: world.KindClient, addrs: lists(append([]byFamily{l.plain}, l.via...)...), via: map[string]byFamily{}, ports: &w.ports}
		for i, via := range l.via {
			p.via[w.layout.nodes[i].name] = via
		}
		if p.space, err = bare(); err != nil {
			return fmt.Errorf("make client %s: %w", l.name, err)
		}
		w.clients = append(w.clients, p)
	}
	return nil
}

func lists(sets ...byFamily) map[world.Family][]netip.Addr {
	lists := map[world.Family][]netip.Addr{}
	for _, set := range sets {
		for f, a := range set {
			lists[f] = append(lists[f], a)
		}
	}
	return lists
}

// makeLinks connects and configures the namespaces.
func (w *World) makeLinks(context.Context) error {
	master, err := w.bridge.addBridge(switchLink, mac(4, 0))
	if err != nil {
		return err
	}
	if err := w.makeRouter(master); err != nil {
		return err
	}
	var all errgroup.Group
	for i := range w.layout.nodes {
		all.Go(func() error { return doing("node", w.layout.nodes[i].name, w.linkNode(i, master)) })
	}
	for i := range w.layout.clients {
		all.Go(func() error { return doing("client", w.layout.clients[i].name, w.linkClient(i, master)) })
	}
	return all.Wait()
}

func doing(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("connect %s %s: %w", kind, name, err)
}

func (w *World) linkNode(i, master int) error {
	l, s := w.layout.nodes[i], w.nodes[i].space
	// lo first: IPVS refuses destinations in a namespace without it.
	if err := s.up(loIndex); err != nil {
		return err
	}
	eth0 := &veth{name: fmt.Sprintf("node%d", i), peer: uplink, peerMAC: l.mac, from: w.bridge, to: s, master: master}
	if err := eth0.add(); err != nil {
		return err
	}
	for _, f := range w.spec.Families {
		// One after the other: of several IPv6 addresses the kernel prefers the one that was added last.
		for _, a := range l.addrs[f] {
			if err := s.addAddress(eth0.peerIndex, onLink(f, a)); err != nil {
				return err
			}
		}
	}
	if err := s.addRoutes(w.nodeRoutes(i, eth0.peerIndex)); err != nil {
		return err
	}
	for j, p := range w.layout.pods {
		if p.node == i {
			if err := doing("pod", p.name, w.linkPod(j)); err != nil {
				return err
			}
		}
	}
	return nil
}

// onLink is an address with the prefix of the link that nodes and clients share.
func onLink(f world.Family, a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, world.DefaultRanges().Nodes[f].Bits())
}

// nodeRoutes lead from a node to the pods of others, and through the others to those addresses of clients that entered there. All else
// goes to the router.
func (w *World) nodeRoutes(i, link int) []path {
	var paths []path
	for _, f := range w.spec.Families {
		paths = append(paths, path{to: anywhere(f), via: routerOf(f), link: link})
	}
	for j, other := range w.layout.nodes {
		if j == i {
			continue
		}
		for _, f := range w.spec.Families {
			paths = append(paths, path{to: other.podCIDR[f], via: other.primary(f), link: link})
			for _, c := range w.layout.clients {
				paths = append(paths, path{to: single(c.via[j][f]), via: other.primary(f), link: link})
			}
		}
	}
	return paths
}

func (w *World) linkPod(i int) error {
	l := w.layout.pods[i]
	node, pod := w.nodes[l.node].space, w.pods[i].space
	if err := pod.up(loIndex); err != nil {
		return err
	}
	pair := &veth{name: l.link, peer: uplink, mac: l.gate, peerMAC: l.mac, from: node, to: pod, bare: true}
	if err := pair.add(); err != nil {
		return err
	}
	for _, f := range w.spec.Families {
		addr, gateway := l.addr[f], w.layout.nodes[l.node].primary(f)
		steps := []func() error{
			func() error { return pod.addAddress(pair.peerIndex, single(addr)) },
			func() error {
				return pod.addRoutes([]path{{to: anywhere(f), via: gateway, link: pair.peerIndex, onLink: true}})
			},
			func() error { return pod.addNeighbour(pair.peerIndex, gateway, l.gate) },
			// On a real node the bridge of the pods has an address. Our links have none, and for IPv6 the kernel would choose the address of the node
			// that resembles the pod's most: a VIP (RFC 6724, rule 8).
			func() error {
				return node.addRoutes([]path{{to: single(addr), link: pair.index, source: gateway}})
			},
			func() error { return node.addNeighbour(pair.index, addr, l.mac) },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstTable is the routing table, and the priority of the rule, for addresses that enter through the first node.
const firstTable = 100

func (w *World) linkClient(i, master int) error {
	l, s := w.layout.clients[i], w.clients[i].space
	if err := s.up(loIndex); err != nil {
		return err
	}
	eth0 := &veth{name: fmt.Sprintf("client%d", i), peer: uplink, peerMAC: l.mac, from: w.bridge, to: s, master: master}
	if err := eth0.add(); err != nil {
		return err
	}
	for _, f := range w.spec.Families {
		if err := w.clientAddresses(l, s, f, eth0.peerIndex); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) clientAddresses(l clientLayout, s *space, f world.Family, link int) error {
	addrs := []netip.Addr{l.plain[f]}
	for _, via := range l.via {
		addrs = append(addrs, via[f])
	}
	if f == world.IPv6 { // the kernel prefers the first in IPv4 and the last in IPv6
		slices.Reverse(addrs)
	}
	for _, a := range addrs {
		if err := s.addAddress(link, onLink(f, a)); err != nil {
			return err
		}
	}
	var paths []path
	for j, n := range w.layout.nodes {
		table := firstTable + j
		paths = append(paths,
			path{to: n.podCIDR[f], via: n.primary(f), link: link},
			path{to: anywhere(f), via: n.primary(f), link: link, table: table})
		if err := s.addRule(l.via[j][f], table); err != nil {
			return err
		}
	}
	if len(w.layout.nodes) > 0 {
		paths = append(paths, path{to: anywhere(f), via: w.layout.nodes[0].primary(f), link: link})
	}
	return s.addRoutes(paths)
}

func (s *space) addRoutes(paths []path) error {
	for _, p := range paths {
		if err := s.addRoute(p); err != nil {
			return err
		}
	}
	return nil
}

// await waits until all IPv6 addresses are usable: the kernel adds their routes in the background.
func (w *World) await(ctx context.Context) error {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for _, a := range w.awaited() {
		for {
			n, err := a.space.localRoutes()
			if err != nil {
				return fmt.Errorf("list local routes: %w", err)
			}
			if n >= a.addrs {
				break
			}
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return fmt.Errorf("%d of %d IPv6 addresses are usable: %w", n, a.addrs, context.Cause(ctx))
			}
		}
	}
	return nil
}

// awaited is the number of IPv6 addresses that a namespace will have.
type awaited struct {
	space *space
	addrs int
}

func (w *World) awaited() []awaited {
	const lo, linkLocal = 1, 1
	var all []awaited
	if slices.Contains(w.spec.Families, world.IPv6) {
		all = append(all, awaited{w.bridge, lo + 1})
	}
	for _, n := range w.nodes {
		all = append(all, awaited{n.space, lo + linkLocal + len(n.Addrs(world.IPv6))})
	}
	for _, p := range w.pods {
		all = append(all, awaited{p.space, lo + len(p.addrs[world.IPv6])})
	}
	for _, c := range w.clients {
		all = append(all, awaited{c.space, lo + linkLocal + len(c.addrs[world.IPv6])})
	}
	return all
}
