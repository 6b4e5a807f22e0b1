package apply

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/reference/drain"
	"proxyproof/reference/plan"
)

var (
	first  = plan.Dest{Address: netip.MustParseAddr("2001:db8:19::1"), Port: 8080}
	second = plan.Dest{Address: netip.MustParseAddr("2001:db8:19::2"), Port: 8080}
)

// backends is a state in which a service has these destinations.
func backends(key plan.Service, dests ...plan.Dest) plan.State {
	s := state(key)
	v := s.Services[key]
	v.Dests = map[plan.Dest]bool{}
	for _, d := range dests {
		v.Dests[d] = true
	}
	s.Services[key] = v
	return s
}

// busy is an applier with a drain period, whose destinations all have so many connections.
func busy(j *journal, a Actual, connections *int) *Applier {
	applier := applier(j, a)
	applier.DrainBy(drain.New(30*time.Second), func(plan.Service) (map[plan.Dest]int, error) {
		return map[plan.Dest]int{first: *connections, second: *connections}, nil
	}, time.Now())
	return applier
}

// expectWrites does something and compares what it writes.
func expectWrites(t *testing.T, j *journal, do func() error, want ...string) {
	t.Helper()
	before := len(j.lines)
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if got := j.lines[before:]; !slices.Equal(got, want) {
		t.Errorf("wrote\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestADestinationIsDrainedBeforeItGoes(t *testing.T) {
	j, connections := &journal{}, 1
	a := busy(j, empty(), &connections)
	if err := a.Apply(backends(onVIP, first, second)); err != nil {
		t.Fatal(err)
	}
	sweep := func(after time.Duration) func() error {
		return func() error { return a.Sweep(time.Now().Add(after)) }
	}
	apply := func(dests ...plan.Dest) func() error {
		return func() error { return a.Apply(backends(onVIP, dests...)) }
	}
	const service = "[2001:db8:18::5]:80/tcp "
	expectWrites(t, j, apply(first), "=dest "+service+second.String()+" 0")
	expectWrites(t, j, apply(first)) // once is enough
	expectWrites(t, j, sweep(29*time.Second))
	expectWrites(t, j, apply(first, second), "=dest "+service+second.String()+" 1")
	expectWrites(t, j, sweep(time.Hour)) // it serves again
	expectWrites(t, j, apply(second), "=dest "+service+first.String()+" 0")
	expectWrites(t, j, sweep(31*time.Second), "-dest "+service+first.String())
	expectWrites(t, j, apply(first, second), "+dest "+service+first.String())
	expectWrites(t, j, apply(first), "=dest "+service+second.String()+" 0")
	connections = 0
	expectWrites(t, j, sweep(0), "-dest "+service+second.String())
	if a.Draining() {
		t.Error("something is still to be drained")
	}
}

// TestWhatDrainedBeforeARestartGoes: a destination of weight 0 that is found is used again if it is wanted, and has its time if not.
func TestWhatDrainedBeforeARestartGoes(t *testing.T) {
	j, connections := &journal{}, 1
	if err := applier(j, empty()).Apply(backends(onVIP)); err != nil {
		t.Fatal(err)
	}
	found := empty()
	found.Services[onVIP] = plan.Virtual{Scheduler: "rr", Dests: map[plan.Dest]bool{}}
	found.Draining[onVIP] = map[plan.Dest]bool{first: true, second: true}
	a := busy(j, found, &connections)
	if err := a.Apply(backends(onVIP, first)); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(j.lines, "=dest [2001:db8:18::5]:80/tcp "+first.String()+" 1") {
		t.Errorf("the wanted one is not used again:\n%s", strings.Join(j.lines, "\n"))
	}
	expectWrites(t, j, func() error { return a.Sweep(time.Now().Add(31 * time.Second)) }, "-dest [2001:db8:18::5]:80/tcp "+second.String())
}

// TestUDPIsNotDrained: it goes at once, and with it what the kernel tracks.
func TestUDPIsNotDrained(t *testing.T) {
	j, connections := &journal{}, 1
	a := busy(j, empty(), &connections)
	dns := plan.Service{Address: vip, Port: 53, Protocol: plan.UDP}
	if err := a.Apply(backends(dns, first, second)); err != nil {
		t.Fatal(err)
	}
	expectWrites(t, j, func() error { return a.Apply(backends(dns, first)) },
		"-dest [2001:db8:18::5]:53/udp "+second.String(), "forget [{[2001:db8:18::5]:53/udp "+second.String()+"}]")
}

// TestKernelDrainsAndForgets: a weight of 0 is read as draining, and of two flows only that to the destination that is gone is forgotten.
func TestKernelDrainsAndForgets(t *testing.T) {
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "" {
		t.Skip("needs a kernel with IPVS; run make kernel")
	}
	if err := inNamespace(drainInKernel); err != nil {
		t.Error(err)
	}
}

func drainInKernel() error {
	s := backends(onVIP, first, second)
	if err := furnish(s); err != nil {
		return err
	}
	k, err := NewKernel()
	if err != nil {
		return err
	}
	defer k.Close()
	if err := New(k, empty(), slog.New(slog.NewTextHandler(io.Discard, nil))).Apply(s); err != nil {
		return err
	}
	if err := k.WeighDest(onVIP, second, 0); err != nil {
		return err
	}
	actual, err := k.Read(s)
	if err != nil {
		return err
	}
	if !actual.Draining[onVIP][second] || actual.Services[onVIP].Dests[second] || !actual.Services[onVIP].Dests[first] {
		return errors.New("a destination of weight 0 is not read as draining")
	}
	dns := plan.Service{Address: vip, Port: 53, Protocol: plan.UDP}
	for i, d := range []plan.Dest{first, second} {
		client := net.ParseIP("2001:db8:2::77")
		flow := &netlink.ConntrackFlow{
			FamilyType: unix.AF_INET6, TimeOut: 100,
			Forward: netlink.IPTuple{Protocol: unix.IPPROTO_UDP, SrcIP: client, SrcPort: uint16(4000 + i), DstIP: net.IP(dns.Address.AsSlice()), DstPort: 53},
			Reverse: netlink.IPTuple{Protocol: unix.IPPROTO_UDP, SrcIP: net.IP(d.Address.AsSlice()), SrcPort: d.Port, DstIP: client, DstPort: uint16(4000 + i)},
		}
		if err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET6, flow); err != nil {
			return err
		}
	}
	if err := k.ForgetFlows([]Flow{{dns, second}}); err != nil {
		return err
	}
	left, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET6)
	if err != nil {
		return err
	}
	if len(left) != 1 || !left[0].Reverse.SrcIP.Equal(net.IP(first.Address.AsSlice())) {
		return errors.New("the wrong flows are left")
	}
	return nil
}
