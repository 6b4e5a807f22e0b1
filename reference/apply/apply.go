package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"proxyproof/reference/plan"
)

// Actual is what the proxy believes to be in the kernel. It is read once and then kept up to date by what is written.
type Actual struct {
	Services map[plan.Service]plan.Virtual
	VIPs     map[netip.Addr]netip.Addr
	Members  map[SetKey]map[Member]bool
	// Foreign are virtual services that the proxy did not make and does not touch; ForeignVIPs are such addresses on its link.
	Foreign     map[plan.Service]bool
	ForeignVIPs map[netip.Addr]bool
	// Firewall are the families whose rules are right.
	Firewall map[plan.Family]bool
}

// SetKey is a set of a family.
type SetKey struct {
	Set    Set
	Family plan.Family
}

// Applier brings the kernel to the planned state.
type Applier struct {
	writer   Writer
	actual   Actual
	prepared bool
	log      *slog.Logger
}

// New makes an applier of a writer and of what is in the kernel now.
func New(w Writer, a Actual, log *slog.Logger) *Applier {
	return &Applier{writer: w, actual: a, log: log}
}

// Apply makes the fewest writes that lead to the planned state. After an error the rest is still tried, and what failed is
// tried again by the next call.
//
// The order: the node's own addresses are exempt before a service address is guarded; a virtual service answers before its
// address is let through; the address is taken on when it is served. What goes, goes the other way round.
func (a *Applier) Apply(s plan.State) error {
	if !a.prepared {
		if err := a.writer.Prepare(s.Families); err != nil {
			return fmt.Errorf("prepare the node: %w", err)
		}
		a.prepared = true
	}
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	wanted := a.members(s)
	try(a.settleLedger(s.Families))
	for _, f := range s.Families {
		try(a.addMembers(SetKey{LocalIPs, f}, wanted))
	}
	try(a.removeVIPs(s))
	try(a.services(s))
	wanted = a.members(s) // without the conflicts that came up
	for _, f := range s.Families {
		try(a.addMembers(SetKey{ServicePorts, f}, wanted))
		try(a.addMembers(SetKey{ServiceIPs, f}, wanted))
		try(a.firewall(f, s.MasqueradeAll))
	}
	try(a.addVIPs(s))
	for _, f := range s.Families {
		try(a.deleteMembers(SetKey{ServiceIPs, f}, wanted))
		try(a.deleteMembers(SetKey{ServicePorts, f}, wanted))
	}
	try(a.removeServices(s))
	for _, f := range s.Families {
		try(a.deleteMembers(SetKey{LocalIPs, f}, wanted))
	}
	return errors.Join(errs...)
}

// members are those that each set should have. A conflicting service, which is somebody else's, is in none.
func (a *Applier) members(s plan.State) map[SetKey]map[Member]bool {
	wanted := map[SetKey]map[Member]bool{}
	for _, f := range s.Families {
		for _, set := range Published {
			wanted[SetKey{set, f}] = map[Member]bool{}
		}
	}
	put := func(set Set, m Member) {
		if members, ok := wanted[SetKey{set, plan.FamilyOf(m.Address)}]; ok {
			members[m] = true
		}
	}
	for ip := range s.LocalIPs {
		put(LocalIPs, Member{Address: ip})
	}
	for service := range s.Services {
		if !a.actual.Foreign[service] {
			put(ServiceIPs, Member{Address: service.Address})
			put(ServicePorts, Member{service.Address, service.Port, service.Protocol})
		}
	}
	return wanted
}

func (a *Applier) addMembers(key SetKey, wanted map[SetKey]map[Member]bool) error {
	var errs []error
	for _, m := range sorted(wanted[key], compareMembers) {
		errs = append(errs, a.addMember(key, m))
	}
	return errors.Join(errs...)
}

// addMember writes only if the set lacks the member.
func (a *Applier) addMember(key SetKey, m Member) error {
	if a.actual.Members[key][m] {
		return nil
	}
	if err := a.writer.AddMember(key.Set, key.Family, m); err != nil {
		return fmt.Errorf("add %v to %s: %w", m, key.Set.Name(key.Family), err)
	}
	if a.actual.Members[key] == nil {
		a.actual.Members[key] = map[Member]bool{}
	}
	a.actual.Members[key][m] = true
	return nil
}

func (a *Applier) deleteMembers(key SetKey, wanted map[SetKey]map[Member]bool) error {
	var errs []error
	for _, m := range sorted(a.actual.Members[key], compareMembers) {
		if !wanted[key][m] {
			errs = append(errs, a.deleteMember(key, m))
		}
	}
	return errors.Join(errs...)
}

// deleteMember writes only if the set has the member.
func (a *Applier) deleteMember(key SetKey, m Member) error {
	if !a.actual.Members[key][m] {
		return nil
	}
	if err := a.writer.DeleteMember(key.Set, key.Family, m); err != nil {
		return fmt.Errorf("delete %v from %s: %w", m, key.Set.Name(key.Family), err)
	}
	delete(a.actual.Members[key], m)
	return nil
}

// services adds and changes virtual services.
func (a *Applier) services(s plan.State) error {
	var errs []error
	for _, key := range s.SortedServices() {
		if a.actual.Foreign[key] {
			continue
		}
		if err := a.service(key, s.Services[key]); err != nil {
			errs = append(errs, fmt.Errorf("virtual service %s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// service makes one virtual service and its destinations what they should be.
func (a *Applier) service(key plan.Service, want plan.Virtual) error {
	have, exists := a.actual.Services[key]
	head := plan.Virtual{Scheduler: want.Scheduler, Affinity: want.Affinity, Dests: map[plan.Dest]bool{}}
	switch {
	case !exists:
		if made, err := a.create(key, head); err != nil || !made {
			return err
		}
		have = head
	case have.Scheduler != want.Scheduler || have.Affinity != want.Affinity:
		if err := a.writer.UpdateService(key, head); err != nil {
			return fmt.Errorf("update: %w", err)
		}
		have.Scheduler, have.Affinity = want.Scheduler, want.Affinity
	}
	a.actual.Services[key] = have
	return a.dests(key, have.Dests, want.Dests)
}

// dests adds before it deletes, so that a service is never without a backend in between. have is kept up to date.
func (a *Applier) dests(key plan.Service, have, want map[plan.Dest]bool) error {
	var errs []error
	for _, d := range sorted(want, plan.Dest.Compare) {
		if have[d] {
			continue
		}
		if err := a.writer.AddDest(key, d); err != nil {
			errs = append(errs, fmt.Errorf("add destination %s: %w", d, err))
			continue
		}
		have[d] = true
	}
	for _, d := range sorted(have, plan.Dest.Compare) {
		if want[d] {
			continue
		}
		if err := a.writer.DeleteDest(key, d); err != nil {
			errs = append(errs, fmt.Errorf("delete destination %s: %w", d, err))
			continue
		}
		delete(have, d)
	}
	return errors.Join(errs...)
}

func (a *Applier) removeServices(s plan.State) error {
	var errs []error
	for _, key := range slices.SortedFunc(maps.Keys(a.actual.Services), plan.Service.Compare) {
		if _, wanted := s.Services[key]; wanted {
			continue
		}
		if err := a.writer.DeleteService(key); err != nil {
			errs = append(errs, fmt.Errorf("delete virtual service %s: %w", key, err))
			continue
		}
		a.log.Info("no longer serves", "service", key)
		delete(a.actual.Services, key)
		if err := a.deleteMember(ledgerOf(Made, key)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a *Applier) addVIPs(s plan.State) error {
	var errs []error
	for _, vip := range slices.SortedFunc(maps.Keys(s.VIPs), netip.Addr.Compare) {
		source := s.VIPs[vip]
		if have, ours := a.actual.VIPs[vip]; ours && have == source || a.actual.ForeignVIPs[vip] {
			continue
		}
		if err := a.addMember(SetKey{VIPs, plan.FamilyOf(vip)}, Member{Address: vip}); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := a.writer.AddVIP(vip, source); err != nil {
			errs = append(errs, fmt.Errorf("take on address %s: %w", vip, err))
			continue
		}
		a.actual.VIPs[vip] = source
	}
	return errors.Join(errs...)
}

func (a *Applier) removeVIPs(s plan.State) error {
	var errs []error
	for _, vip := range slices.SortedFunc(maps.Keys(a.actual.VIPs), netip.Addr.Compare) {
		if _, wanted := s.VIPs[vip]; wanted {
			continue
		}
		if err := a.writer.DeleteVIP(vip); err != nil {
			errs = append(errs, fmt.Errorf("give up address %s: %w", vip, err))
			continue
		}
		delete(a.actual.VIPs, vip)
		if err := a.deleteMember(SetKey{VIPs, plan.FamilyOf(vip)}, Member{Address: vip}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// firewall makes the rules of a family once; they never change while the proxy runs.
func (a *Applier) firewall(f plan.Family, masqueradeAll bool) error {
	if a.actual.Firewall[f] {
		return nil
	}
	if err := a.writer.Firewall(f, masqueradeAll); err != nil {
		return fmt.Errorf("write the IPv%d rules: %w", f, err)
	}
	a.actual.Firewall[f] = true
	return nil
}

func sorted[K comparable](set map[K]bool, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(set), compare)
}

func compareMembers(a, b Member) int {
	return plan.Service{Address: a.Address, Port: a.Port, Protocol: a.Protocol}.Compare(
		plan.Service{Address: b.Address, Port: b.Port, Protocol: b.Protocol})
}
