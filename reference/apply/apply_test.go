package apply

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// journal is a Writer that remembers what was written.
type journal struct{ lines []string }

func (j *journal) note(format string, args ...any) error {
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	return nil
}

func (j *journal) Prepare([]plan.Family) error                { return j.note("prepare") }
func (j *journal) Firewall(f plan.Family, _ plan.Rules) error { return j.note("firewall %d", f) }
func (j *journal) DeleteVIP(vip netip.Addr) error             { return j.note("-vip %s", vip) }
func (j *journal) DeleteService(s plan.Service) error         { return j.note("-service %s", s) }
func (j *journal) AddDest(s plan.Service, d plan.Dest) error {
	return j.note("+dest %s %s", s, d)
}
func (j *journal) DeleteDest(s plan.Service, d plan.Dest) error { return j.note("-dest %s %s", s, d) }
func (j *journal) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	return j.note("=dest %s %s %d", s, d, weight)
}
func (j *journal) ForgetFlows(flows []Flow) error { return j.note("forget %v", flows) }
func (j *journal) AddService(s plan.Service, _ plan.Virtual) error {
	return j.note("+service %s", s)
}
func (j *journal) UpdateService(s plan.Service, _ plan.Virtual) error {
	return j.note("~service %s", s)
}
func (j *journal) AddMembers(s Set, f plan.Family, members []Member) error {
	for _, m := range members {
		_ = j.note("+%s %s", s.Name(f), m.Address)
	}
	return nil
}
func (j *journal) DeleteMembers(s Set, f plan.Family, members []Member) error {
	for _, m := range members {
		_ = j.note("-%s %s", s.Name(f), m.Address)
	}
	return nil
}
func (j *journal) AddVIPs(vips []VIP) error {
	for _, vip := range vips {
		_ = j.note("+vip %s", vip.Address)
	}
	return nil
}

func empty() Actual {
	return Actual{
		Services: map[plan.Service]plan.Virtual{}, Draining: map[plan.Service]map[plan.Dest]bool{}, VIPs: map[netip.Addr]netip.Addr{}, Members: map[SetKey]map[Member]bool{},
		Foreign: map[plan.Service]bool{}, ForeignVIPs: map[netip.Addr]bool{}, Firewall: map[plan.Family]plan.Rules{},
	}
}

var (
	nodeIP = netip.MustParseAddr("2001:db8:2::10")
	vip    = netip.MustParseAddr("2001:db8:18::5")
	onNode = plan.Service{Address: nodeIP, Port: 30080, Protocol: plan.TCP}
	onVIP  = plan.Service{Address: vip, Port: 80, Protocol: plan.TCP}
)

func state(services ...plan.Service) plan.State {
	s := plan.State{
		Families: []plan.Family{plan.IPv6}, Services: map[plan.Service]plan.Virtual{},
		VIPs: map[netip.Addr]netip.Addr{}, LocalIPs: map[netip.Addr]bool{nodeIP: true},
		Rules: map[plan.Family]plan.Rules{plan.IPv6: {Source: nodeIP}},
	}
	for _, key := range services {
		s.Services[key] = plan.Virtual{Scheduler: "rr", Dests: map[plan.Dest]bool{{Address: netip.MustParseAddr("2001:db8:19::1"), Port: 8080}: true}}
		if key.Address == vip {
			s.VIPs[vip] = nodeIP
		}
	}
	return s
}

func applier(j *journal, a Actual) *Applier {
	return New(j, a, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// TestNodeIsProtectedFirst: at no moment is the node's address guarded and not exempt.
func TestNodeIsProtectedFirst(t *testing.T) {
	j := &journal{}
	if err := applier(j, empty()).Apply(state(onNode, onVIP)); err != nil {
		t.Fatal(err)
	}
	order := []string{
		"+inet6:kube-router-local-ips 2001:db8:2::10", "+service [2001:db8:2::10]:30080/tcp", "+inet6:kube-router-svip-prt 2001:db8:2::10",
		"+inet6:kube-router-svip 2001:db8:2::10", "firewall 6",
	}
	last := -1
	for _, line := range order {
		i := slices.Index(j.lines, line)
		if i <= last {
			t.Fatalf("%q comes too early or not at all in\n%s", line, strings.Join(j.lines, "\n"))
		}
		last = i
	}
}

func TestSecondSyncWritesNothing(t *testing.T) {
	j := &journal{}
	a := applier(j, empty())
	for range 2 {
		if err := a.Apply(state(onNode, onVIP)); err != nil {
			t.Fatal(err)
		}
	}
	if n := slices.Index(j.lines, "prepare"); n != 0 || strings.Count(strings.Join(j.lines, "\n"), "firewall") != 1 {
		t.Errorf("prepared or wrote the rules more than once:\n%s", strings.Join(j.lines, "\n"))
	}
	before := len(j.lines)
	if err := a.Apply(state(onNode, onVIP)); err != nil || len(j.lines) != before {
		t.Errorf("err %v, and another sync wrote %v", err, j.lines[before:])
	}
}

// TestDeletionIsTheReverse: an address leaves the guard before its service goes.
func TestDeletionIsTheReverse(t *testing.T) {
	j := &journal{}
	a := applier(j, empty())
	if err := a.Apply(state(onNode, onVIP)); err != nil {
		t.Fatal(err)
	}
	j.lines = nil
	if err := a.Apply(state(onNode)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-vip 2001:db8:18::5", "-inet6:proxyproof-vips 2001:db8:18::5", "-inet6:kube-router-svip 2001:db8:18::5",
		"-inet6:kube-router-svip-prt 2001:db8:18::5", "-service [2001:db8:18::5]:80/tcp", "-inet6:proxyproof-made 2001:db8:18::5",
	}
	if !slices.Equal(j.lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(j.lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestForeignServiceIsLeftAlone: not written, not deleted, in no set.
func TestForeignServiceIsLeftAlone(t *testing.T) {
	j := &journal{}
	actual := empty()
	actual.Foreign[onNode] = true
	a := applier(j, actual)
	for _, s := range []plan.State{state(onNode, onVIP), state()} {
		if err := a.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range j.lines {
		if strings.Contains(line, "30080") || strings.Contains(line, "svip") && strings.Contains(line, nodeIP.String()) {
			t.Errorf("wrote %q", line)
		}
	}
}

// TestLedgerIsWrittenAhead: at no moment is there something of the proxy's that the ledger does not know.
func TestLedgerIsWrittenAhead(t *testing.T) {
	j := &journal{}
	if err := applier(j, empty()).Apply(state(onVIP)); err != nil {
		t.Fatal(err)
	}
	order := []string{
		"+inet6:proxyproof-intents 2001:db8:18::5", "+service [2001:db8:18::5]:80/tcp", "+inet6:proxyproof-made 2001:db8:18::5",
		"-inet6:proxyproof-intents 2001:db8:18::5", "+dest [2001:db8:18::5]:80/tcp [2001:db8:19::1]:8080",
		"+inet6:kube-router-svip-prt 2001:db8:18::5", "+inet6:proxyproof-vips 2001:db8:18::5", "+vip 2001:db8:18::5",
	}
	last := -1
	for _, line := range order {
		i := slices.Index(j.lines, line)
		if i <= last {
			t.Fatalf("%q comes too early or not at all in\n%s", line, strings.Join(j.lines, "\n"))
		}
		last = i
	}
}

// taken is a kernel in which somebody else has a virtual service already.
type taken struct {
	*journal
	by plan.Service
}

func (w taken) AddService(s plan.Service, v plan.Virtual) error {
	if s == w.by {
		return unix.EEXIST
	}
	return w.journal.AddService(s, v)
}

// TestConflictIsLeftAlone: what somebody else has where a Service should be is not changed and not published.
func TestConflictIsLeftAlone(t *testing.T) {
	w := taken{&journal{}, onVIP}
	a := New(w, empty(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	for range 2 {
		if err := a.Apply(state(onNode, onVIP)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range w.lines {
		if strings.Contains(line, "dest ["+vip.String()) || strings.Contains(line, "svip") && strings.Contains(line, vip.String()) ||
			strings.Contains(line, "made "+vip.String()) {
			t.Errorf("wrote %q", line)
		}
	}
	if conflicts := a.Conflicts(state(onNode, onVIP)); len(conflicts) != 1 {
		t.Errorf("%d conflicts are counted, not 1", len(conflicts))
	}
	if !slices.Contains(w.lines, "-inet6:proxyproof-intents "+vip.String()) {
		t.Error("the intent stays")
	}
}

func TestOneEndpointIsOneWrite(t *testing.T) {
	j := &journal{}
	a := applier(j, empty())
	if err := a.Apply(state(onVIP)); err != nil {
		t.Fatal(err)
	}
	j.lines = nil
	more := state(onVIP)
	more.Services[onVIP].Dests[plan.Dest{Address: netip.MustParseAddr("2001:db8:19::2"), Port: 8080}] = true
	if err := a.Update(more, plan.Change{Services: map[plan.Service]bool{onVIP: true}}); err != nil || len(j.lines) != 1 {
		t.Errorf("err %v, wrote %v", err, j.lines)
	}
}

// TestUpdateWritesWhatApplyWould: for whatever changes, to look at them alone is enough, and no address leaves the guard while a
// port of it is served.
func TestUpdateWritesWhatApplyWould(t *testing.T) {
	other := plan.Service{Address: vip, Port: 443, Protocol: plan.TCP}
	steps := [][]plan.Service{{onNode, onVIP}, {onNode, onVIP, other}, {onNode, other}, {other}, {}, {onVIP, other}, {onNode}}
	whole, part := &journal{}, &journal{}
	a, b := applier(whole, empty()), applier(part, empty())
	for i, step := range steps {
		before := []int{len(whole.lines), len(part.lines)}
		s := state(step...)
		var err error
		if i == 0 {
			err = b.Apply(s)
		} else {
			changed := append(slices.Clone(step), steps[i-1]...)
			c := plan.Change{Services: map[plan.Service]bool{}, VIPs: map[netip.Addr]bool{vip: true}}
			for _, key := range changed {
				c.Services[key] = true
			}
			err = b.Update(s, c)
		}
		if err := errors.Join(err, a.Apply(s)); err != nil {
			t.Fatal(err)
		}
		if got, want := part.lines[before[1]:], whole.lines[before[0]:]; !slices.Equal(got, want) {
			t.Errorf("step %d: an update wrote\n%s\nand a whole application\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
