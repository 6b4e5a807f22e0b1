package apply

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// errKilled is what a dead proxy's writes end in.
var errKilled = errors.New("killed")

// mortal dies after some writes.
type mortal struct {
	Writer
	left int
}

func (m *mortal) write(f func() error) error {
	if m.left <= 0 {
		return errKilled
	}
	m.left--
	return f()
}

// each is death between any two of what is written together.
func each[T any](m *mortal, all []T, write func(T) error) error {
	for _, one := range all {
		if err := m.write(func() error { return write(one) }); err != nil {
			return err
		}
	}
	return nil
}

func (m *mortal) Prepare(f []plan.Family) error {
	return m.write(func() error { return m.Writer.Prepare(f) })
}
func (m *mortal) Firewall(f plan.Family, rules plan.Rules) error {
	return m.write(func() error { return m.Writer.Firewall(f, rules) })
}
func (m *mortal) AddMembers(s Set, f plan.Family, members []Member) error {
	return each(m, members, func(x Member) error { return m.Writer.AddMembers(s, f, []Member{x}) })
}
func (m *mortal) DeleteMembers(s Set, f plan.Family, members []Member) error {
	return each(m, members, func(x Member) error { return m.Writer.DeleteMembers(s, f, []Member{x}) })
}
func (m *mortal) AddService(s plan.Service, v plan.Virtual) error {
	return m.write(func() error { return m.Writer.AddService(s, v) })
}
func (m *mortal) UpdateService(s plan.Service, v plan.Virtual) error {
	return m.write(func() error { return m.Writer.UpdateService(s, v) })
}
func (m *mortal) DeleteService(s plan.Service) error {
	return m.write(func() error { return m.Writer.DeleteService(s) })
}
func (m *mortal) AddDest(s plan.Service, d plan.Dest) error {
	return m.write(func() error { return m.Writer.AddDest(s, d) })
}
func (m *mortal) DeleteDest(s plan.Service, d plan.Dest) error {
	return m.write(func() error { return m.Writer.DeleteDest(s, d) })
}
func (m *mortal) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	return m.write(func() error { return m.Writer.WeighDest(s, d, weight) })
}
func (m *mortal) ForgetFlows(flows []Flow) error {
	return m.write(func() error { return m.Writer.ForgetFlows(flows) })
}
func (m *mortal) AddVIPs(vips []VIP) error {
	return each(m, vips, func(vip VIP) error { return m.Writer.AddVIPs([]VIP{vip}) })
}
func (m *mortal) DeleteVIP(vip netip.Addr) error {
	return m.write(func() error { return m.Writer.DeleteVIP(vip) })
}

// story is a family's life of a Service, as the kernel is to hold it: nothing of it, created, updated, deleted.
func story(f plan.Family) []plan.State {
	address := func(v4, v6 string) netip.Addr {
		if f == plan.IPv4 {
			return netip.MustParseAddr(v4)
		}
		return netip.MustParseAddr(v6)
	}
	node, api, vip := address("192.0.2.10", "2001:db8:2::10"), address("198.18.0.1", "2001:db8:18::1"), address("198.18.0.5", "2001:db8:18::5")
	web := func(n int) plan.Dest {
		return plan.Dest{Address: address(fmt.Sprintf("198.19.1.%d", n), fmt.Sprintf("2001:db8:19::%d", n)), Port: 8080}
	}
	make := func(affinity uint32, at ...plan.Service) plan.State {
		s := plan.State{Families: []plan.Family{f}, LocalIPs: map[netip.Addr]bool{node: true}, Rules: map[plan.Family]plan.Rules{f: {Source: node}},
			VIPs:     map[netip.Addr]netip.Addr{api: node},
			Services: map[plan.Service]plan.Virtual{{Address: api, Port: 443, Protocol: plan.TCP}: {Scheduler: "rr", Dests: map[plan.Dest]bool{{Address: node, Port: 6443}: true}}}}
		if len(at) > 0 {
			s.Hairpins = map[plan.Hairpin]bool{{Dest: web(1), Protocol: plan.TCP}: true}
		}
		for _, key := range at {
			s.Services[key] = plan.Virtual{Scheduler: "rr", Affinity: affinity, Dests: map[plan.Dest]bool{web(1): true, web(2): affinity > 0}}
			if affinity == 0 {
				s.Services[key] = plan.Virtual{Scheduler: "rr", Dests: map[plan.Dest]bool{web(1): true}}
			}
			if key.Address == vip {
				s.VIPs[vip] = node
			}
		}
		return s
	}
	at := func(a netip.Addr, port uint16, p plan.Protocol) plan.Service {
		return plan.Service{Address: a, Port: port, Protocol: p}
	}
	return []plan.State{
		make(0),
		make(0, at(vip, 80, plan.TCP), at(vip, 53, plan.UDP), at(node, 30080, plan.TCP)),
		make(10800, at(vip, 80, plan.TCP), at(vip, 54, plan.UDP), at(node, 30080, plan.TCP)), // affinity, one more endpoint, another port
		make(0),
	}
}

// TestKilledBetweenAnyTwoWrites kills the proxy after each write of a create, an update and a delete, in a network namespace of its
// own where others have things, too. After a restart the kernel holds what it would have held.
func TestKilledBetweenAnyTwoWrites(t *testing.T) {
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "" {
		t.Skip("needs a kernel with IPVS; run make kernel")
	}
	positions := 0
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		states := story(f)
		for step := 1; step < len(states); step++ {
			var want []string
			for writes := -1; ; writes++ { // -1 is without a death
				var got []string
				died := false
				err := inNamespace(func() (err error) {
					died, got, err = live(states, step, writes)
					return err
				})
				if err != nil {
					t.Fatalf("IPv%d, step %d, killed after %d writes: %v", f, step, writes, err)
				}
				if writes < 0 {
					want = got
					continue
				}
				if changes := differences(want, got); len(changes) > 0 {
					t.Errorf("IPv%d, step %d, killed after %d writes, the kernel holds something else: %q", f, step, writes, changes)
				}
				if !died {
					break
				}
				positions++
			}
		}
	}
	t.Logf("killed at %d positions", positions)
}

// TestNextLifeWritesNothing: what one proxy has written, the next one finds to be right, rules included.
func TestNextLifeWritesNothing(t *testing.T) {
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "" {
		t.Skip("needs a kernel with IPVS; run make kernel")
	}
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		for _, masqueradeAll := range []bool{false, true} {
			states := story(f)
			s := states[1]
			s.Rules = map[plan.Family]plan.Rules{f: {Source: s.Rules[f].Source, MasqueradeAll: masqueradeAll}}
			err := inNamespace(func() error {
				if err := furnish(states[0]); err != nil {
					return err
				}
				// Its preparations are one write, or none if everything is there.
				return errors.Join(oneLife(s, endless), oneLife(s, 1))
			})
			if err != nil {
				t.Errorf("IPv%d, masqueradeAll %t: %v", f, masqueradeAll, err)
			}
		}
	}
}

// TestCleanupLeavesWhatWasThere: what a proxy has made goes, be it one that died in the middle, and nothing else.
func TestCleanupLeavesWhatWasThere(t *testing.T) {
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "" {
		t.Skip("needs a kernel with IPVS; run make kernel")
	}
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		for _, writes := range []int{7, endless} {
			if err := inNamespace(func() error { return cleanedUp(story(f), writes) }); err != nil {
				t.Errorf("IPv%d, after %d writes: %v", f, writes, err)
			}
		}
	}
}

func cleanedUp(states []plan.State, writes int) error {
	if err := furnish(states[0]); err != nil {
		return err
	}
	for _, table := range []string{"filter", "nat"} { // to list a table is to have it
		for _, tool := range []string{"iptables", "ip6tables"} {
			if out, err := exec.Command(tool, "-t", table, "-S").CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", tool, err, out)
			}
		}
	}
	before, err := print()
	if err != nil {
		return err
	}
	if err := oneLife(states[1], writes); err != nil && !errors.Is(err, errKilled) {
		return err
	}
	k, err := NewKernel()
	if err != nil {
		return err
	}
	defer k.Close()
	for range 2 { // the second finds nothing to do
		if err := k.Cleanup(slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
			return err
		}
	}
	after, err := print()
	if changes := differences(before, after); err == nil && len(changes) > 0 {
		return fmt.Errorf("the kernel holds something else: %q", changes)
	}
	return err
}

// live is a proxy that brings about the state before a step, and one that takes the step, dies after some writes and starts again;
// never if they are negative. It tells what the namespace holds in the end.
func live(states []plan.State, step, writes int) (died bool, holds []string, err error) {
	if err := furnish(states[0]); err != nil {
		return false, nil, err
	}
	if err := oneLife(states[step-1], endless); err != nil {
		return false, nil, err
	}
	if writes < 0 {
		writes = endless
	}
	err = oneLife(states[step], writes)
	if errors.Is(err, errKilled) {
		died, err = true, oneLife(states[step], endless)
	}
	if err != nil {
		return died, nil, err
	}
	holds, err = print()
	return died, holds, err
}

// endless are the writes of a proxy that is not killed.
const endless = 1 << 30

// oneLife starts a proxy, which reads the kernel and applies a state.
func oneLife(s plan.State, writes int) error {
	k, err := NewKernel()
	if err != nil {
		return err
	}
	defer k.Close()
	actual, err := k.Read(s)
	if err != nil {
		return err
	}
	return New(&mortal{k, writes}, actual, slog.New(slog.NewTextHandler(io.Discard, nil))).Apply(s)
}

// furnish puts things of others into the namespace: a virtual service on the node's address, and one where a Service will be.
func furnish(s plan.State) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	eth := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}
	if err := errors.Join(netlink.LinkAdd(eth), netlink.LinkSetUp(eth)); err != nil {
		return err
	}
	h, err := ipvs.New("")
	if err != nil {
		return err
	}
	defer h.Close()
	for node := range s.LocalIPs {
		if err := netlink.AddrAdd(eth, &netlink.Addr{IPNet: hostPrefix(node), Flags: unix.IFA_F_NODAD}); err != nil {
			return err
		}
		foreign := &ipvs.Service{Address: net.IP(node.AsSlice()), Port: 8443, Protocol: unix.IPPROTO_TCP, SchedName: "wlc", AddressFamily: unix.AF_INET, Netmask: ^uint32(0)}
		if node.Is6() {
			foreign.AddressFamily, foreign.Netmask = unix.AF_INET6, 128
		}
		conflict := *foreign
		conflict.Port = 30080
		if err := errors.Join(h.NewService(foreign), h.NewService(&conflict)); err != nil {
			return err
		}
	}
	return nil
}

// tools print what a namespace holds.
var tools = []string{
	"ip -o addr show", "ip route show table all", "ip -6 route show table all", "ipvsadm -Sn", "ipset save", "iptables-save", "ip6tables-save",
}

// noise is what differs from one namespace to the next: times, counters, hash seeds, and what comes from random hardware addresses.
var noise = regexp.MustCompile(`^#.*|.*fe80:.*|.*ff00::.*|\[\d+:\d+\]|(initval|hashsize|bucketsize) \S+|\b(valid_lft|preferred_lft) \S+`)

// print is what the namespace holds, line by line in order.
func print() ([]string, error) {
	var all []string
	for _, tool := range tools {
		words := strings.Fields(tool)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", tool, err, out)
		}
		lines := strings.Split(string(out), "\n")
		if words[0] == "ipset" { // members come in the order of their hashes
			slices.Sort(lines)
		}
		for i, line := range lines {
			place := words[0]
			if strings.HasSuffix(place, "tables-save") { // the order of rules matters
				place = fmt.Sprintf("%s %d", place, i)
			}
			all = append(all, place+": "+strings.Join(strings.Fields(noise.ReplaceAllString(line, "")), " "))
		}
	}
	return all, nil
}

// differences are the lines that only one of two has.
func differences(a, b []string) []string {
	var all []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			all = append(all, "+ "+line)
		}
	}
	return all
}

// inNamespace runs f on a thread in a new network namespace, which ends with it.
func inNamespace(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}
