package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"proxyproof/reference/dump"
	"proxyproof/reference/plan"
)

// Read looks at what the kernel holds and tells what of it is the proxy's own. The sets and chains are: they carry its name. Of
// virtual services and addresses the ledger tells.
func (k *Kernel) Read(s plan.State) (Actual, error) {
	a := Actual{
		Services: map[plan.Service]plan.Virtual{}, Draining: map[plan.Service]map[plan.Dest]bool{}, VIPs: map[netip.Addr]netip.Addr{}, Members: map[SetKey]map[Member]bool{},
		Foreign: map[plan.Service]bool{}, ForeignVIPs: map[netip.Addr]bool{}, Firewall: map[plan.Family]plan.Rules{},
	}
	if err := k.readSets(&a, s.Families); err != nil {
		return a, err
	}
	if err := k.readServices(&a); err != nil {
		return a, err
	}
	if err := k.readVIPs(&a); err != nil {
		return a, err
	}
	for _, f := range s.Families {
		right, err := firewallRight(f, s.Rules[f])
		if err != nil {
			return a, err
		}
		if right {
			a.Firewall[f] = s.Rules[f]
		}
	}
	return a, nil
}

// readSets leaves out a set that does not exist.
func (k *Kernel) readSets(a *Actual, families []plan.Family) error {
	all, err := dump.Whole(k.sets.IpsetListAll)
	if err != nil {
		return fmt.Errorf("list ipsets: %w", err)
	}
	keys := map[string]SetKey{}
	for _, f := range families {
		for _, set := range slices.Concat(Ledger, Published) {
			keys[set.Name(f)] = SetKey{set, f}
		}
	}
	for _, part := range all { // a large set comes in several parts
		key, ours := keys[part.SetName]
		if !ours {
			continue
		}
		if a.Members[key] == nil {
			a.Members[key] = map[Member]bool{}
		}
		for _, e := range part.Entries {
			if m, ok := memberOf(e); ok {
				a.Members[key][m] = true
			}
		}
	}
	return nil
}

func memberOf(e netlink.IPSetEntry) (Member, bool) {
	ip, ok := netip.AddrFromSlice(e.IP)
	m := Member{Address: ip.Unmap()}
	if e.Port != nil && e.Protocol != nil {
		m.Port, m.Protocol = *e.Port, plan.Protocol(*e.Protocol)
	}
	return m, ok
}

func (k *Kernel) readServices(a *Actual) error {
	services, err := k.ipvs.GetServices()
	if err != nil {
		return fmt.Errorf("list virtual services: %w", err)
	}
	for _, found := range services {
		ip, ok := netip.AddrFromSlice(found.Address)
		if !ok || found.FWMark != 0 {
			continue
		}
		key := plan.Service{Address: ip.Unmap(), Port: found.Port, Protocol: plan.Protocol(found.Protocol)}
		v := plan.Virtual{Scheduler: found.SchedName, Dests: map[plan.Dest]bool{}}
		if found.Flags&flagPersistent != 0 {
			v.Affinity = found.Timeout
		}
		dests, err := k.ipvs.GetDestinations(found)
		if err != nil {
			return fmt.Errorf("list destinations of %s: %w", key, err)
		}
		draining := map[plan.Dest]bool{}
		for _, d := range dests {
			if ip, ok := netip.AddrFromSlice(d.Address); ok {
				at := plan.Dest{Address: ip.Unmap(), Port: d.Port}
				if d.Weight == 0 {
					draining[at] = true
				} else {
					v.Dests[at] = true
				}
			}
		}
		has := func(set Set) bool {
			entry, m := ledgerOf(set, key)
			return a.Members[entry][m]
		}
		if has(Made) || has(Intents) && len(dests) == 0 {
			a.Services[key] = v
			if len(draining) > 0 {
				a.Draining[key] = draining
			}
		} else {
			a.Foreign[key] = true
		}
	}
	return nil
}
