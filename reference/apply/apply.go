package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"proxyproof/reference/drain"
	"proxyproof/reference/plan"
)

// Actual is what the proxy believes to be in the kernel. It is read once and then kept up to date by what is written.
type Actual struct {
	Services map[plan.Service]plan.Virtual
	// Draining are destinations of weight 0, which keep the connections that they have.
	Draining map[plan.Service]map[plan.Dest]bool
	VIPs     map[netip.Addr]netip.Addr
	Members  map[SetKey]map[Member]bool
	// Foreign are virtual services that the proxy did not make and does not touch; ForeignVIPs are such addresses on its link.
	Foreign     map[plan.Service]bool
	ForeignVIPs map[netip.Addr]bool
	// Firewall are the rules of each family; none if they are not as they should be.
	Firewall map[plan.Family]plan.Rules
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
	ports    map[netip.Addr]int // how many members of ServicePorts an address has
	prepared bool
	log      *slog.Logger

	book        *drain.Book
	connections Connections
	stale       []Flow // to destinations that are gone
}

// New makes an applier of a writer and of what is in the kernel now.
func New(w Writer, a Actual, log *slog.Logger) *Applier {
	applier := &Applier{writer: w, actual: a, ports: map[netip.Addr]int{}, log: log}
	applier.DrainBy(drain.New(0), func(plan.Service) (map[plan.Dest]int, error) { return nil, nil }, time.Time{})
	for key, members := range a.Members {
		for m := range members {
			applier.count(key, m, 1)
		}
	}
	return applier
}

// Conflicts are the planned virtual services where somebody else has one.
func (a *Applier) Conflicts(s plan.State) []plan.Service {
	var all []plan.Service
	for key := range a.actual.Foreign {
		if _, planned := s.Services[key]; planned {
			all = append(all, key)
		}
	}
	return all
}

// scope is what an application looks at.
type scope struct {
	services []plan.Service
	vips     []netip.Addr
	ips      []netip.Addr // addresses that services have or had
	hairpins []plan.Hairpin
}

// Apply makes the fewest writes that lead to the planned state. After an error the rest is still tried; the kernel is then to be
// read again.
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
	errs := []error{a.settleLedger()}
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		errs = append(errs, a.addMembers(SetKey{LocalIPs, f}, locals(s, f)))
	}
	errs = append(errs, a.bring(s, a.everything(s)))
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		errs = append(errs, a.keepMembers(SetKey{LocalIPs, f}, locals(s, f)))
	}
	return errors.Join(errs...)
}

// Update does the same for a change since the last application, and looks at nothing else.
func (a *Applier) Update(s plan.State, c plan.Change) error {
	return a.bring(s, scopeOf(c))
}

func scopeOf(c plan.Change) scope {
	ips := map[netip.Addr]bool{}
	for key := range c.Services {
		ips[key.Address] = true
	}
	return scope{
		sorted(c.Services, plan.Service.Compare), sorted(c.VIPs, netip.Addr.Compare), sorted(ips, netip.Addr.Compare), sorted(c.Hairpins, plan.Hairpin.Compare),
	}
}

// everything is what is planned and what is there.
func (a *Applier) everything(s plan.State) scope {
	all := s.Everything()
	for key := range a.actual.Services {
		all.Services[key] = true
	}
	for vip := range a.actual.VIPs {
		all.VIPs[vip] = true
	}
	for set, members := range a.actual.Members {
		for m := range members {
			switch set.Set {
			case ServicePorts:
				all.Services[plan.Service(m)] = true
			case Hairpins:
				all.Hairpins[plan.Hairpin{Dest: plan.Dest{Address: m.Address, Port: m.Port}, Protocol: m.Protocol}] = true
			}
		}
	}
	of := scopeOf(all)
	for set, members := range a.actual.Members {
		for m := range members {
			if set.Set == ServiceIPs && a.ports[m.Address] == 0 {
				of.ips = append(of.ips, m.Address)
			}
		}
	}
	return of
}

func (a *Applier) bring(s plan.State, of scope) error {
	hairpins, leaving := a.hairpins(s, of.hairpins)
	errs := []error{hairpins.each(a.addMembers), a.removeVIPs(s, of.vips), a.services(s, of.services), a.publish(s, of.services)}
	for _, f := range s.Families {
		errs = append(errs, a.firewall(f, s.Rules[f]))
	}
	return errors.Join(append(errs, a.addVIPs(s, of.vips), a.unpublish(s, of), a.removeServices(s, of.services), leaving.each(a.deleteMembers), a.forgetFlows())...)
}

// hairpins are those that come, before a connection can be led to them, and those that go.
func (a *Applier) hairpins(s plan.State, of []plan.Hairpin) (coming, leaving bySet) {
	coming, leaving = bySet{}, bySet{}
	for _, h := range of {
		m := Member{h.Address, h.Port, h.Protocol}
		if s.Hairpins[h] {
			coming.put(Hairpins, m)
		} else {
			leaving.put(Hairpins, m)
		}
	}
	return coming, leaving
}

func locals(s plan.State, f plan.Family) []Member {
	var members []Member
	for _, ip := range sorted(s.LocalIPs, netip.Addr.Compare) {
		if plan.FamilyOf(ip) == f {
			members = append(members, Member{Address: ip})
		}
	}
	return members
}

// published tells whether a virtual service is to be in the sets: it is wanted and answers. Somebody else's is in none.
func (a *Applier) published(s plan.State, key plan.Service) bool {
	_, wanted := s.Services[key]
	_, made := a.actual.Services[key]
	return wanted && made
}

func (a *Applier) publish(s plan.State, services []plan.Service) error {
	ports, ips := bySet{}, bySet{}
	for _, key := range services {
		if a.published(s, key) {
			ports.put(ServicePorts, Member(key))
			ips.put(ServiceIPs, Member{Address: key.Address})
		}
	}
	return errors.Join(ports.each(a.addMembers), ips.each(a.addMembers))
}

// unpublish takes an address out of the guard with the last of its ports, and before it.
func (a *Applier) unpublish(s plan.State, of scope) error {
	ports, ips, leaving := bySet{}, bySet{}, map[netip.Addr]int{}
	for _, key := range of.services {
		if set := (SetKey{ServicePorts, plan.FamilyOf(key.Address)}); !a.published(s, key) && a.actual.Members[set][Member(key)] {
			ports.put(ServicePorts, Member(key))
			leaving[key.Address]++
		}
	}
	for _, ip := range of.ips {
		if a.ports[ip] == leaving[ip] {
			ips.put(ServiceIPs, Member{Address: ip})
		}
	}
	return errors.Join(ips.each(a.deleteMembers), ports.each(a.deleteMembers))
}

// chunkSize is for how many things the ledger is written at a time. What a crash leaves between the ledger and the things is bounded
// by it.
const chunkSize = 64

// services adds and changes virtual services.
func (a *Applier) services(s plan.State, of []plan.Service) error {
	var errs []error
	for chunk := range slices.Chunk(of, chunkSize) {
		var missing, wanted []plan.Service
		for _, key := range chunk {
			if _, planned := s.Services[key]; !planned || a.actual.Foreign[key] {
				continue
			}
			wanted = append(wanted, key)
			if _, exists := a.actual.Services[key]; !exists {
				missing = append(missing, key)
			}
		}
		errs = append(errs, a.create(s, missing))
		for _, key := range wanted {
			if have, made := a.actual.Services[key]; made {
				errs = append(errs, a.service(key, have, s.Services[key]))
			}
		}
	}
	return errors.Join(errs...)
}

// headOf is a virtual service without destinations.
func headOf(v plan.Virtual) plan.Virtual {
	v.Dests = map[plan.Dest]bool{}
	return v
}

// service makes one virtual service and its destinations what they should be.
func (a *Applier) service(key plan.Service, have, want plan.Virtual) error {
	if have.Scheduler != want.Scheduler || have.Affinity != want.Affinity {
		if err := a.writer.UpdateService(key, headOf(want)); err != nil {
			return fmt.Errorf("virtual service %s: update: %w", key, err)
		}
		have.Scheduler, have.Affinity = want.Scheduler, want.Affinity
		a.actual.Services[key] = have
	}
	if err := a.dests(key, have.Dests, want.Dests); err != nil {
		return fmt.Errorf("virtual service %s: %w", key, err)
	}
	return nil
}

// dests adds before it deletes, so that a service is never without a backend in between. have is kept up to date.
func (a *Applier) dests(key plan.Service, have, want map[plan.Dest]bool) error {
	var errs []error
	for _, d := range sorted(want, plan.Dest.Compare) {
		if have[d] {
			continue
		}
		if err := a.addDest(key, d); err != nil {
			errs = append(errs, err)
			continue
		}
		have[d] = true
	}
	for _, d := range sorted(have, plan.Dest.Compare) {
		if want[d] {
			continue
		}
		if err := a.removeDest(key, d); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(have, d)
	}
	return errors.Join(errs...)
}

func (a *Applier) removeServices(s plan.State, of []plan.Service) error {
	var errs []error
	for chunk := range slices.Chunk(of, chunkSize) {
		gone := bySet{}
		for _, key := range chunk {
			_, wanted := s.Services[key]
			if _, made := a.actual.Services[key]; wanted || !made {
				continue
			}
			if err := a.writer.DeleteService(key); err != nil {
				errs = append(errs, fmt.Errorf("delete virtual service %s: %w", key, err))
				continue
			}
			a.log.Info("no longer serves", "service", key)
			delete(a.actual.Services, key)
			for d := range a.actual.Draining[key] {
				a.endDrain(key, d)
			}
			a.stale = append(a.stale, Flow{Service: key})
			gone.put(Made, Member(key))
		}
		errs = append(errs, gone.each(a.deleteMembers))
	}
	return errors.Join(errs...)
}

func (a *Applier) addVIPs(s plan.State, of []netip.Addr) error {
	var errs []error
	for chunk := range slices.Chunk(of, chunkSize) {
		var vips []VIP
		ledger := bySet{}
		for _, vip := range chunk {
			source, wanted := s.VIPs[vip]
			if have, ours := a.actual.VIPs[vip]; !wanted || ours && have == source || a.actual.ForeignVIPs[vip] {
				continue
			}
			vips = append(vips, VIP{vip, source})
			ledger.put(VIPs, Member{Address: vip})
		}
		if len(vips) == 0 {
			continue
		}
		if err := ledger.each(a.addMembers); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := a.writer.AddVIPs(vips); err != nil {
			errs = append(errs, fmt.Errorf("take on addresses: %w", err))
			continue
		}
		for _, vip := range vips {
			a.actual.VIPs[vip.Address] = vip.Source
		}
	}
	return errors.Join(errs...)
}

func (a *Applier) removeVIPs(s plan.State, of []netip.Addr) error {
	var errs []error
	for chunk := range slices.Chunk(of, chunkSize) {
		gone := bySet{}
		for _, vip := range chunk {
			_, wanted := s.VIPs[vip]
			if _, ours := a.actual.VIPs[vip]; wanted || !ours {
				continue
			}
			if err := a.writer.DeleteVIP(vip); err != nil {
				errs = append(errs, fmt.Errorf("give up address %s: %w", vip, err))
				continue
			}
			delete(a.actual.VIPs, vip)
			gone.put(VIPs, Member{Address: vip})
		}
		errs = append(errs, gone.each(a.deleteMembers))
	}
	return errors.Join(errs...)
}

// firewall makes the rules of a family, which change only when the node gets another address.
func (a *Applier) firewall(f plan.Family, rules plan.Rules) error {
	if have, right := a.actual.Firewall[f]; right && have == rules {
		return nil
	}
	if err := a.writer.Firewall(f, rules); err != nil {
		return fmt.Errorf("write the IPv%d rules: %w", f, err)
	}
	a.actual.Firewall[f] = rules
	return nil
}

func sorted[K comparable](set map[K]bool, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(set), compare)
}
