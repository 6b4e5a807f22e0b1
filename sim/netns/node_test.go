package netns_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"proxyproof/sim/netstate"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// TestNodeAddresses: a node's addresses are those of eth0, as the layout says, and lo; its pod links have none, since service proxies
// count the addresses of all links as the node's.
// The kernel refuses to swap or destroy a set while somebody lists it.
func TestReadingSetsIsNotInTheWay(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 13))
	n := w.Nodes()[0]
	p, out := start(t, n, "swap", world.Command{})
	reads := 0
	for done := false; !done; reads++ {
		if _, err := n.Fingerprint(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
			done = true
		default:
		}
	}
	if p.Exit() != 0 || reads < 20 {
		t.Errorf("exit %d during %d reads: %q", p.Exit(), reads, out.text(true))
	}
}

func TestNodeAddresses(t *testing.T) {
	for name, families := range familySets {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, smallSpec(families, 4))
			for _, n := range w.Nodes() {
				want := []string{"lo 127.0.0.1", "lo ::1"}
				for _, f := range families {
					for _, a := range n.Addrs(f) {
						want = append(want, "eth0 "+a.String())
					}
				}
				s, err := n.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, a := range s.Addrs {
					if !a.Usable {
						t.Errorf("%s: %s is not usable", n.Name(), a.Prefix)
					}
					if !a.Prefix.Addr().IsLinkLocalUnicast() || a.Link != "eth0" {
						got = append(got, a.Link+" "+a.Prefix.Addr().String())
					}
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s has %q, want %q", n.Name(), got, want)
				}
			}
		})
	}
}

// TestSourceOfTwo: of two addresses the kernel takes the first as source in IPv4, and the second in IPv6.
func TestSourceOfTwo(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4, world.IPv6}, 5))
	worker, laptop := place(t, w, "worker"), place(t, w, "laptop")
	for f, nth := range map[world.Family]int{world.IPv4: 0, world.IPv6: 1} {
		r := probe.Ping(t.Context(), probe.Aim{From: worker, To: netip.AddrPortFrom(laptop.Addrs(f)[0], 0), Timeout: 5 * time.Second})
		if want := worker.Addrs(f)[nth]; r.Outcome != probe.Answered || r.Local.Addr() != want {
			t.Errorf("%s: want source %s: %v from %s", f, want, r, r.Local)
		}
	}
}

func TestSysctls(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4, world.IPv6}, 6))
	for _, p := range places(w) {
		forwards := "0"
		if p.Kind() == world.KindNode {
			forwards = "1"
		}
		for name, want := range map[string]string{
			"net/ipv4/ip_forward":               forwards,
			"net/ipv4/conf/eth0/forwarding":     forwards,
			"net/ipv6/conf/all/forwarding":      forwards,
			"net/ipv6/conf/eth0/forwarding":     forwards,
			"net/ipv4/conf/eth0/rp_filter":      "0",
			"net/ipv4/conf/eth0/send_redirects": "0",
			"net/ipv6/conf/eth0/accept_ra":      "0",
			"net/ipv6/conf/eth0/accept_dad":     "0",
			"net/ipv4/icmp_ratelimit":           "0",
			"net/ipv6/icmp/ratelimit":           "0",
		} {
			var value []byte
			err := p.Do(t.Context(), func() (err error) {
				value, err = os.ReadFile("/proc/sys/" + name)
				return err
			})
			if err != nil || strings.TrimSpace(string(value)) != want {
				t.Errorf("%s of %s: %q, %v; want %s", name, p.Name(), value, err, want)
			}
		}
	}
}

// TestBackends: the plain names mean the back end that was asked for, for processes and for the reader of states.
func TestBackends(t *testing.T) {
	for _, backend := range []netstate.Backend{netstate.Legacy, netstate.NFT} {
		t.Run(string(backend), func(t *testing.T) {
			spec := smallSpec([]world.Family{world.IPv4, world.IPv6}, 7)
			spec.Backend = backend
			w := newWorld(t, spec)
			n := w.Nodes()[0]
			before, err := n.Fingerprint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"iptables", "ip6tables"} {
				if _, err := n.Run(t.Context(), command, "-A", "INPUT", "-p", "tcp", "-j", "REJECT"); err != nil {
					t.Fatal(err)
				}
			}
			s, err := n.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rules := 0
			for _, table := range s.Tables {
				for _, c := range table.Chains {
					rules += len(c.Rules)
				}
			}
			if rules != 2 {
				t.Errorf("%d rules: %+v", rules, s.Tables)
			}
			if after, err := n.Fingerprint(t.Context()); err != nil || after == before {
				t.Errorf("the fingerprint did not change: %v", err)
			}
			other, err := w.Nodes()[1].State(t.Context())
			if err != nil || len(other.Tables) != 0 {
				t.Errorf("the other node has %+v, %v", other.Tables, err)
			}
		})
	}
}

func TestCapable(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 8))
	for _, c := range []world.Capability{world.CapIPVS, world.CapIPv6} {
		if ok, why := w.Capable(c); !ok {
			need(t, why)
		}
	}
	if ok, why := w.Capable(world.CapRestart); ok || why == "" {
		t.Errorf("restart-node: %v, %q", ok, why)
	}
	for _, c := range []world.Capability{world.CapSCTP, world.CapTunnel} {
		ok, why := w.Capable(c)
		if ok == (why != "") {
			t.Errorf("%s: %v, %q", c, ok, why)
		}
	}
}

// TestClosed: nothing can be done in a world that was closed, and nothing else happens instead.
func TestClosed(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 9))
	all, node := places(w), w.Nodes()[0]
	running, _ := start(t, node, "sleep", world.Command{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, running)
	for _, p := range all {
		entered := false
		if err := p.Do(t.Context(), func() error { entered = true; return nil }); err == nil || entered {
			t.Errorf("%s was entered", p.Name())
		}
	}
	if _, err := node.Start(t.Context(), world.Command{Path: "/proc/self/exe"}); err == nil {
		t.Error("a process was started")
	}
	if _, err := node.State(t.Context()); err == nil {
		t.Error("a state was read")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestSockets: what is opened through a place is in its namespace, from the address that was asked for.
func TestSockets(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 10))
	pod, laptop := place(t, w, "web-1"), place(t, w, "laptop")
	at := netip.AddrPortFrom(pod.Addrs(world.IPv4)[0], 9090)
	l, err := pod.Listen(t.Context(), "tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from := netip.AddrPortFrom(laptop.Source("worker", world.IPv4), laptop.SourcePort())
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
	var c net.Conn
	err = laptop.Do(t.Context(), func() error {
		c, err = dialer.DialContext(t.Context(), "tcp4", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if got := accepted.RemoteAddr().String(); got != from.String() {
		t.Errorf("saw %s, dialled from %s", got, from)
	}
}
