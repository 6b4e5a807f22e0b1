package apply

import (
	"errors"
	"fmt"
	"slices"

	"proxyproof/reference/plan"
)

// bySet are members for several sets.
type bySet map[SetKey][]Member

func (b bySet) put(s Set, m Member) {
	key := SetKey{s, plan.FamilyOf(m.Address)}
	b[key] = append(b[key], m)
}

// each does the same with the members of each set, IPv4 first.
func (b bySet) each(do func(SetKey, []Member) error) error {
	var errs []error
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		for _, s := range slices.Concat(Ledger, Published) {
			if members := b[SetKey{s, f}]; len(members) > 0 {
				errs = append(errs, do(SetKey{s, f}, members))
			}
		}
	}
	return errors.Join(errs...)
}

// addMembers writes those that the set lacks.
func (a *Applier) addMembers(key SetKey, members []Member) error {
	lacking := a.only(key, members, false)
	if len(lacking) == 0 {
		return nil
	}
	if err := a.writer.AddMembers(key.Set, key.Family, lacking); err != nil {
		return fmt.Errorf("add %v to %s: %w", lacking, key.Set.Name(key.Family), err)
	}
	if a.actual.Members[key] == nil {
		a.actual.Members[key] = map[Member]bool{}
	}
	for _, m := range lacking {
		a.actual.Members[key][m] = true
		a.count(key, m, 1)
	}
	return nil
}

// deleteMembers writes those that the set has.
func (a *Applier) deleteMembers(key SetKey, members []Member) error {
	present := a.only(key, members, true)
	if len(present) == 0 {
		return nil
	}
	if err := a.writer.DeleteMembers(key.Set, key.Family, present); err != nil {
		return fmt.Errorf("delete %v from %s: %w", present, key.Set.Name(key.Family), err)
	}
	for _, m := range present {
		delete(a.actual.Members[key], m)
		a.count(key, m, -1)
	}
	return nil
}

// keepMembers deletes all others.
func (a *Applier) keepMembers(key SetKey, keep []Member) error {
	wanted := map[Member]bool{}
	for _, m := range keep {
		wanted[m] = true
	}
	var others []Member
	for m := range a.actual.Members[key] {
		if !wanted[m] {
			others = append(others, m)
		}
	}
	slices.SortFunc(others, func(a, b Member) int { return plan.Service(a).Compare(plan.Service(b)) })
	return a.deleteMembers(key, others)
}

// only are those members, each once, that a set has or has not.
func (a *Applier) only(key SetKey, members []Member, present bool) []Member {
	seen := map[Member]bool{}
	var only []Member
	for _, m := range members {
		if a.actual.Members[key][m] == present && !seen[m] {
			seen[m] = true
			only = append(only, m)
		}
	}
	return only
}

func (a *Applier) count(key SetKey, m Member, more int) {
	if key.Set != ServicePorts {
		return
	}
	if a.ports[m.Address] += more; a.ports[m.Address] == 0 {
		delete(a.ports, m.Address)
	}
}
