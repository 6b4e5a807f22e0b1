package probe_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"proxyproof/sim/netns"
	"proxyproof/sim/netstate"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// need skips a test where it cannot run, unless PROXYPROOF_REQUIRE_KERNEL=1 says that it must.
func need(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "1" {
		t.Fatalf("required here: %s", why)
	}
	t.Skip(why)
}

// bed is a node with a pod on it, and a client.
type bed struct {
	*testing.T
	world       *netns.World
	node        world.Node
	pod, laptop world.Place
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, "a world of namespaces needs root")
	}
	w, err := netns.New(t.Context(), world.Spec{
		Families: []world.Family{world.IPv4, world.IPv6},
		Backend:  netstate.Legacy,
		Nodes:    []world.NodeSpec{{Name: "cp", Addresses: 1}},
		Pods:     []world.PodSpec{{Name: "web-1", Node: "cp", Listen: []world.Port{{Number: 8080, Protocol: world.TCP}, {Number: 8080, Protocol: world.UDP}, {Number: 8080, Protocol: world.SCTP}}}},
		Clients:  []world.ClientSpec{{Name: "laptop"}},
	})
	if err != nil {
		need(t, err.Error())
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bed{t, w, w.Nodes()[0], w.Pods()[0], w.Clients()[0]}
}

// aim is from the client to a port of a place.
func (b *bed) aim(to world.Place, f world.Family, port uint16) probe.Aim {
	return probe.Aim{From: b.laptop, To: netip.AddrPortFrom(to.Addrs(f)[0], port), Timeout: 5 * time.Second}
}

// rule runs iptables on the node.
func (b *bed) rule(f world.Family, args ...string) {
	b.Helper()
	command := "iptables"
	if f == world.IPv6 {
		command = "ip6tables"
	}
	err := b.node.Do(b.Context(), func() error {
		out, err := exec.Command(command, args...).CombinedOutput()
		if err != nil {
			b.Logf("%s", out)
		}
		return err
	})
	if err != nil {
		b.Fatalf("%s %v: %v", command, args, err)
	}
}

type once func(context.Context, probe.Aim) probe.Result

func TestOutcomes(t *testing.T) {
	b := newBed(t)
	icmp := map[world.Family][2]uint8{world.IPv4: {3, 3}, world.IPv6: {1, 4}} // port unreachable
	for _, f := range []world.Family{world.IPv4, world.IPv6} {
		t.Run(f.String(), func(t *testing.T) {
			b.rule(f, "-A", "INPUT", "-p", "tcp", "--dport", "1000", "-j", "REJECT")
			b.rule(f, "-A", "INPUT", "-p", "tcp", "--dport", "1001", "-j", "REJECT", "--reject-with", "tcp-reset")
			b.rule(f, "-A", "INPUT", "-p", "tcp", "--dport", "1002", "-j", "DROP")
			b.rule(f, "-A", "INPUT", "-p", "udp", "--dport", "1000", "-j", "REJECT")
			b.rule(f, "-A", "INPUT", "-p", "udp", "--dport", "1002", "-j", "DROP")
			nowhere := world.DefaultRanges().LoadBalancers[f].Addr().Next()
			nobody := world.DefaultRanges().Router(f).Next() // on the link
			router := world.DefaultRanges().Router(f)
			// What the router says of what is nobody's.
			lost := map[world.Family][2]uint8{world.IPv4: {3, 1}, world.IPv6: {1, 0}}
			for _, c := range []struct {
				name string
				ask  once
				aim  probe.Aim
				want probe.Outcome
				code *[2]uint8
				by   netip.Addr // who sent it; the node if not given
			}{
				{"answered", probe.TCP, b.aim(b.pod, f, 8080), probe.Answered, nil, netip.Addr{}},
				{"udp answered", probe.UDP, b.aim(b.pod, f, 8080), probe.Answered, nil, netip.Addr{}},
				{"sctp answered", probe.SCTP, b.aim(b.pod, f, 8080), probe.Answered, nil, netip.Addr{}},
				{"sctp closed port", probe.SCTP, b.aim(b.node, f, 999), probe.Refused, nil, netip.Addr{}},
				{"closed port", probe.TCP, b.aim(b.node, f, 999), probe.Refused, nil, netip.Addr{}},
				{"reject with reset", probe.TCP, b.aim(b.node, f, 1001), probe.Refused, nil, netip.Addr{}},
				{"reject with ICMP", probe.TCP, b.aim(b.node, f, 1000), probe.Rejected, new(icmp[f]), netip.Addr{}},
				{"drop", probe.TCP, b.aim(b.node, f, 1002), probe.Silent, nil, netip.Addr{}},
				{"udp closed port", probe.UDP, b.aim(b.node, f, 999), probe.Rejected, new(icmp[f]), netip.Addr{}},
				{"udp reject", probe.UDP, b.aim(b.node, f, 1000), probe.Rejected, new(icmp[f]), netip.Addr{}},
				{"udp drop", probe.UDP, b.aim(b.node, f, 1002), probe.Silent, nil, netip.Addr{}},
				{"nobody's, beyond the node", probe.TCP, probe.Aim{To: netip.AddrPortFrom(nowhere, 80)}, probe.Rejected, new(lost[f]), router},
				{"nobody's, ping", probe.Ping, probe.Aim{To: netip.AddrPortFrom(nowhere, 0)}, probe.Rejected, new(lost[f]), router},
				{"no neighbour", probe.TCP, probe.Aim{To: netip.AddrPortFrom(nobody, 80)}, probe.Unreachable, nil, netip.Addr{}},
				{"no neighbour, ping", probe.Ping, probe.Aim{To: netip.AddrPortFrom(nobody, 0)}, probe.Unreachable, nil, netip.Addr{}},
				{"nobody's, from the node", probe.TCP, probe.Aim{From: b.node, To: netip.AddrPortFrom(nowhere, 80)}, probe.Rejected, new(lost[f]), router},
				{"nobody's, from the node, udp", probe.UDP, probe.Aim{From: b.node, To: netip.AddrPortFrom(nowhere, 80)}, probe.Rejected, new(lost[f]), router},
				{"foreign source", probe.TCP, probe.Aim{Local: nowhere, To: netip.AddrPortFrom(nobody, 80)}, probe.Unreachable, nil, netip.Addr{}},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					if c.aim.From == nil {
						c.aim.From = b.laptop
					}
					c.aim.Timeout = 5 * time.Second
					r := c.ask(t.Context(), c.aim)
					t.Log(r)
					if r.Outcome != c.want {
						t.Errorf("want %s", c.want)
					}
					if !c.by.IsValid() {
						c.by = b.node.Addrs(f)[0]
					}
					if c.code != nil && (r.ICMP == nil || [2]uint8{r.ICMP.Type, r.ICMP.Code} != *c.code || r.ICMP.From != c.by) {
						t.Errorf("want ICMP type and code %d from %s, got %v", *c.code, c.by, r.ICMP)
					}
				})
			}
		})
	}
}

// TestHeldThroughRejection puts a REJECT into the node for a while: everything that is held must notice, and recover.
func TestHeldThroughRejection(t *testing.T) {
	b := newBed(t)
	for _, f := range []world.Family{world.IPv4, world.IPv6} {
		t.Run(f.String(), func(t *testing.T) {
			ctx, pace := t.Context(), probe.Pace{Patience: time.Second}
			start := map[string]func() (probe.Held, error){
				"tcp":  func() (probe.Held, error) { return probe.HoldTCP(ctx, b.aim(b.pod, f, 8080), pace) },
				"udp":  func() (probe.Held, error) { return probe.HoldUDP(ctx, b.aim(b.pod, f, 8080), pace) },
				"ping": func() (probe.Held, error) { return probe.HoldPing(ctx, b.aim(b.pod, f, 0), pace) },
			}
			held := map[string]probe.Held{}
			for name, hold := range start {
				h, err := hold()
				if err != nil {
					t.Fatal(err)
				}
				held[name] = h
			}
			each := func(what string, ok func(probe.HeldResult) bool) {
				t.Helper()
				for _, h := range held {
					await(t, what, h, ok)
				}
			}
			each("answers", func(r probe.HeldResult) bool { return r.Answered > 5 })
			each("no outage", func(r probe.HeldResult) bool { return r.LongestOutage == 0 && !r.Broken && r.Why == "" })
			b.rule(f, "-I", "FORWARD", "-j", "REJECT")
			each("broken", func(r probe.HeldResult) bool { return r.Broken && r.LongestOutage > 0 })
			b.rule(f, "-D", "FORWARD", "-j", "REJECT")
			each("recovery", func(r probe.HeldResult) bool { return !r.Broken && r.LongestOutage > 0 })
			for _, h := range held {
				before := h.Snapshot()
				r := h.Stop()
				t.Log(r)
				if r.Broken || r.LongestOutage < before.LongestOutage || r.Answered < before.Answered {
					t.Errorf("after Stop: %+v", r)
				}
			}
		})
	}
}

func await(t *testing.T, what string, h probe.Held, ok func(probe.HeldResult) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("too late"))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok(h.Snapshot()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no %s: %v", what, h.Snapshot())
		}
	}
}
