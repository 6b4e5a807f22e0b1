package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"proxyproof/sim/world"
)

// byFamily is one address per family.
type byFamily map[world.Family]netip.Addr

// layout is who has which address. It is a pure function of the Spec: the same seed gives the same layout.
type layout struct {
	families []world.Family
	nodes    []nodeLayout
	pods     []podLayout
	clients  []clientLayout
}

type nodeLayout struct {
	name string
	// addrs of eth0, primary first.
	addrs   map[world.Family][]netip.Addr
	podCIDR map[world.Family]netip.Prefix
	mac     net.HardwareAddr
}

func (n nodeLayout) primary(f world.Family) netip.Addr { return n.addrs[f][0] }

type podLayout struct {
	name   string
	node   int // index into layout.nodes
	listen []world.Port
	addr   byFamily
	link   string           // name of the node's end
	mac    net.HardwareAddr // of the pod's end
	gate   net.HardwareAddr // of the node's end
}

type clientLayout struct {
	name string
	// plain is the address that the kernel chooses; via[i] is bound to enter the cluster through node i.
	plain byFamily
	via   []byFamily
	mac   net.HardwareAddr
}

// Host numbers are 10 to 249: an address is written with the same digits in both families, and none is a broadcast address.
const (
	firstHost = 10
	hosts     = 240
)

// hand is the numbers that were not given out yet, in random order.
type hand []int

func deal(rng *rand.Rand) *hand {
	h := hand(rng.Perm(hosts))
	for i := range h {
		h[i] += firstHost
	}
	return &h
}

func (h *hand) draw() int {
	n := (*h)[0]
	*h = (*h)[1:]
	return n
}

// plan lays a world out.
func plan(spec world.Spec) (*layout, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	ranges := world.DefaultRanges()
	l := &layout{families: spec.Families}
	rng := rand.New(rand.NewPCG(spec.Seed, 0))
	link, subnets := deal(rng), deal(rng)
	each := func(pick func(world.Family) netip.Addr) byFamily {
		addrs := byFamily{}
		for _, f := range spec.Families {
			addrs[f] = pick(f)
		}
		return addrs
	}
	draw := func(from map[world.Family]netip.Prefix, h *hand) byFamily {
		n := h.draw()
		return each(func(f world.Family) netip.Addr { return host(from[f], n) })
	}

	onNode := map[string]*hand{}
	index := map[string]int{}
	for i, n := range spec.Nodes {
		node := nodeLayout{name: n.Name, addrs: map[world.Family][]netip.Addr{}, podCIDR: map[world.Family]netip.Prefix{}, mac: mac(0, i)}
		for range max(n.Addresses, 1) {
			for f, a := range draw(ranges.Nodes, link) {
				node.addrs[f] = append(node.addrs[f], a)
			}
		}
		subnet := subnets.draw()
		for _, f := range spec.Families {
			node.podCIDR[f] = podCIDR(ranges.Pods[f], subnet)
		}
		l.nodes = append(l.nodes, node)
		onNode[n.Name], index[n.Name] = deal(rng), i
	}
	for i, p := range spec.Pods {
		node := index[p.Node]
		l.pods = append(l.pods, podLayout{
			name: p.Name, node: node, listen: p.Listen,
			addr: draw(l.nodes[node].podCIDR, onNode[p.Node]),
			link: podLink(p.Name, i), mac: mac(1, i), gate: mac(2, i),
		})
	}
	for i, c := range spec.Clients {
		client := clientLayout{name: c.Name, plain: draw(ranges.Nodes, link), mac: mac(3, i)}
		for range spec.Nodes {
			client.via = append(client.via, draw(ranges.Nodes, link))
		}
		l.clients = append(l.clients, client)
	}
	return l, nil
}

// check tells what no world can be built from.
func check(spec world.Spec) error {
	if len(spec.Families) == 0 {
		return errors.New("a world needs at least one address family")
	}
	families := map[world.Family]bool{}
	for _, f := range spec.Families {
		if f != world.IPv4 && f != world.IPv6 || families[f] {
			return fmt.Errorf("address families %v: want IPv4, IPv6 or both, each once", spec.Families)
		}
		families[f] = true
	}
	names := map[string]bool{}
	name := func(kind, n string) error {
		if n == "" || names[n] {
			return fmt.Errorf("%s %q: every place needs a name of its own", kind, n)
		}
		names[n] = true
		return nil
	}
	onLink, pods := 0, map[string]int{}
	for _, n := range spec.Nodes {
		if err := name("node", n.Name); err != nil {
			return err
		}
		if n.Addresses < 0 || n.Addresses > 2 {
			return fmt.Errorf("node %q: %d addresses per family; want 1 or 2", n.Name, n.Addresses)
		}
		pods[n.Name] = 0
		onLink += max(n.Addresses, 1)
	}
	for _, p := range spec.Pods {
		if err := name("pod", p.Name); err != nil {
			return err
		}
		if _, known := pods[p.Node]; !known {
			return fmt.Errorf("pod %q: there is no node %q", p.Name, p.Node)
		}
		pods[p.Node]++
		if pods[p.Node] > hosts {
			return fmt.Errorf("node %q: more than %d pods", p.Node, hosts)
		}
	}
	for _, c := range spec.Clients {
		if err := name("client", c.Name); err != nil {
			return err
		}
		onLink += 1 + len(spec.Nodes)
	}
	if onLink > hosts || len(spec.Nodes) > hosts {
		return fmt.Errorf("%d nodes and %d clients need %d addresses on one link; there are %d", len(spec.Nodes), len(spec.Clients), onLink, hosts)
	}
	return nil
}

// host is the n-th address of a range. In IPv6 the decimal digits of n are read as hexadecimal ones, so that 192.0.2.53 and
// 2001:db8:2::53 belong to the same host.
func host(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	put(b[len(b)-2:], digits(p, n))
	a, _ := netip.AddrFromSlice(b)
	return a
}

// podCIDR is the n-th node's part of the pods' range: a /24 or a /64.
func podCIDR(pods netip.Prefix, n int) netip.Prefix {
	b := pods.Masked().Addr().AsSlice()
	at, bits := 1, 24
	if pods.Addr().Is6() {
		at, bits = 6, 64
	}
	put(b[at:at+2], digits(pods, n))
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, bits)
}

func digits(p netip.Prefix, n int) uint16 {
	if p.Addr().Is4() {
		return uint16(n)
	}
	d, _ := strconv.ParseUint(strconv.Itoa(n), 16, 16)
	return uint16(d)
}

// put adds n to a big-endian number.
func put(b []byte, n uint16) {
	sum := uint16(b[0])<<8 + uint16(b[1]) + n
	b[0], b[1] = byte(sum>>8), byte(sum)
}

// mac is a locally administered address.
func mac(kind, n int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x00, 0x5e, byte(kind), byte(n >> 8), byte(n)}
}

// podLink names a pod's link on its node. Service proxies take links whose names contain certain words for their own, and the
// kernel takes 15 characters at most.
func podLink(pod string, n int) string {
	name := "pod-" + pod
	if len(name) > 15 || strings.ContainsAny(pod, "/: \t") {
		return fmt.Sprintf("pod-%d", n)
	}
	for _, word := range []string{"dummy", "kube", "docker"} {
		if strings.Contains(name, word) {
			return fmt.Sprintf("pod-%d", n)
		}
	}
	return name
}
