package netns_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"proxyproof/sim/netns"
	"proxyproof/sim/netstate"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

var familySets = map[string][]world.Family{
	"ipv4":    {world.IPv4},
	"ipv6":    {world.IPv6},
	"dual-v4": {world.IPv4, world.IPv6},
	"dual-v6": {world.IPv6, world.IPv4},
}

// smallSpec is two nodes, of which the second has two addresses, with a pod each, and a client.
func smallSpec(families []world.Family, seed uint64) world.Spec {
	ports := []world.Port{{Number: 8080, Protocol: world.TCP}, {Number: 8080, Protocol: world.UDP}}
	return world.Spec{
		Families: families,
		Seed:     seed,
		Backend:  netstate.Legacy,
		Nodes:    []world.NodeSpec{{Name: "cp", Addresses: 1}, {Name: "worker", Addresses: 2}},
		Pods:     []world.PodSpec{{Name: "web-1", Node: "cp", Listen: ports}, {Name: "web-2", Node: "worker", Listen: ports}},
		Clients:  []world.ClientSpec{{Name: "laptop"}},
	}
}

// need skips a test where it cannot run, unless PROXYPROOF_REQUIRE_KERNEL=1 says that it must.
func need(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "1" {
		t.Fatalf("required here: %s", why)
	}
	t.Skip(why)
}

func newWorld(t *testing.T, spec world.Spec) *netns.World {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, "a world of namespaces needs root")
	}
	start := time.Now()
	w, err := netns.New(t.Context(), spec)
	if err != nil {
		need(t, err.Error())
	}
	t.Logf("up in %v: %v", time.Since(start).Round(time.Millisecond), w.Phases())
	t.Cleanup(func() {
		start := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("closed in %v", time.Since(start).Round(time.Millisecond))
	})
	return w
}

func places(w *netns.World) []world.Place {
	var all []world.Place
	for _, n := range w.Nodes() {
		all = append(all, n)
	}
	return append(append(all, w.Pods()...), w.Clients()...)
}

func place(t *testing.T, w *netns.World, name string) world.Place {
	t.Helper()
	p, ok := w.Place(name)
	if !ok {
		t.Fatalf("no place %s", name)
	}
	return p
}

// TestEveryoneReachesEveryone pings all addresses from everywhere, and asks all servers.
func TestEveryoneReachesEveryone(t *testing.T) {
	for name, families := range familySets {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, smallSpec(families, 1))
			pings := 0
			for _, from := range places(w) {
				for _, to := range places(w) {
					for _, f := range families {
						for _, a := range to.Addrs(f) {
							aim := probe.Aim{From: from, To: netip.AddrPortFrom(a, 0), Timeout: 5 * time.Second}
							if r := probe.Ping(t.Context(), aim); r.Outcome != probe.Answered {
								t.Errorf("%s: %v", from.Name(), r.Err())
							}
							pings++
						}
					}
				}
				for _, pod := range w.Pods() {
					for _, f := range families {
						askServer(t, from, pod, pod.Addrs(f)[0])
					}
				}
			}
			t.Logf("%d pings", pings)
			absent(t, w, families)
		})
	}
}

func askServer(t *testing.T, from, pod world.Place, a netip.Addr) {
	t.Helper()
	aim := probe.Aim{From: from, To: netip.AddrPortFrom(a, 8080), Timeout: 5 * time.Second}
	for _, ask := range []func(context.Context, probe.Aim) probe.Result{probe.TCP, probe.UDP} {
		r := ask(t.Context(), aim)
		if r.Outcome != probe.Answered || r.Server != pod.Name() {
			t.Errorf("want %s: %v", pod.Name(), r)
		}
		if want := r.Local.String(); r.Saw != want {
			t.Errorf("%s saw %s, not %s: the source was rewritten", r.Server, r.Saw, want)
		}
	}
}

// absent checks that places have no address of a family that the world is not made of.
func absent(t *testing.T, w *netns.World, families []world.Family) {
	t.Helper()
	for _, p := range places(w) {
		for _, f := range []world.Family{world.IPv4, world.IPv6} {
			if len(families) == 1 && f != families[0] && len(p.Addrs(f)) > 0 {
				t.Errorf("%s has %v", p.Name(), p.Addrs(f))
			}
		}
	}
}

// TestEntry makes an IPVS service by hand on each node, whose only backend is on the other node, without any SNAT. It is reached
// through either node by the source address alone, and the answers come back through it.
func TestEntry(t *testing.T) {
	for name, families := range familySets {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, smallSpec(families, 2))
			if ok, why := w.Capable(world.CapIPVS); !ok {
				need(t, why)
			}
			laptop := place(t, w, "laptop")
			backend := map[string]string{"cp": "web-2", "worker": "web-1"}
			for _, n := range w.Nodes() {
				for _, f := range families {
					vip := w.Ranges().LoadBalancers[f].Addr().Next()
					serve(t, n, vip, place(t, w, backend[n.Name()]).Addrs(f)[0])
				}
			}
			for _, n := range w.Nodes() {
				for _, f := range families {
					vip := netip.AddrPortFrom(w.Ranges().LoadBalancers[f].Addr().Next(), 80)
					r := probe.TCP(t.Context(), probe.Aim{From: laptop, Via: n.Name(), To: vip, Timeout: 5 * time.Second})
					if r.Outcome != probe.Answered || r.Server != backend[n.Name()] {
						t.Errorf("through %s: %v", n.Name(), r.Err())
					}
					if want := laptop.Source(n.Name(), f); r.Local.Addr() != want || r.Saw != r.Local.String() {
						t.Errorf("through %s: want source %s: %v", n.Name(), want, r)
					}
					// Without an entry node nothing is promised, but the kernel's choice is the plain address.
					plain := probe.Ping(t.Context(), probe.Aim{From: laptop, To: netip.AddrPortFrom(n.Addrs(f)[0], 0), Timeout: 5 * time.Second})
					if want := laptop.Addrs(f)[0]; plain.Local.Addr() != want {
						t.Errorf("unbound: want source %s: %v", want, plain.Local)
					}
				}
			}
		})
	}
}

// serve makes a node accept packets for a VIP and balance TCP port 80 to a backend.
func serve(t *testing.T, n world.Node, vip, backend netip.Addr) {
	t.Helper()
	err := n.Do(t.Context(), func() error {
		if out, err := exec.Command("ip", "addr", "add", vip.String(), "dev", "lo").CombinedOutput(); err != nil {
			t.Logf("%s", out)
			return err
		}
		h, err := ipvs.New("")
		if err != nil {
			return err
		}
		defer h.Close()
		family, mask := uint16(unix.AF_INET), ^uint32(0)
		if vip.Is6() {
			family, mask = unix.AF_INET6, 128
		}
		s := &ipvs.Service{AddressFamily: family, Protocol: unix.IPPROTO_TCP, Address: net.IP(vip.AsSlice()), Port: 80, Netmask: mask, SchedName: "rr"}
		if err := h.NewService(s); err != nil {
			return err
		}
		return h.NewDestination(s, &ipvs.Destination{AddressFamily: family, Address: net.IP(backend.AsSlice()), Port: 8080, Weight: 1})
	})
	if err != nil {
		t.Fatalf("serve %s on %s: %v", vip, n.Name(), err)
	}
}
