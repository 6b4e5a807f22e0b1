package apply

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// The ledger tells after a crash what the proxy made itself. It is kept in the kernel, in sets that no rule names, and so lives as
// long as what it describes. An entry is written before the thing is made, and removed after it is gone:
//
//	intent+  service+  made+  intent-  …  service-  made-
//
// A virtual service with an entry in Made is the proxy's. One with an intent alone is, too, if it has no destination yet: the proxy
// died right after it had made it. Everything else is somebody else's, and if a Service of Kubernetes wants the same address and
// port that is a conflict: it stays as it is and comes into no set.
const (
	Intents Set = "proxyproof-intents"
	Made    Set = "proxyproof-made"
	// VIPs are the addresses that the proxy has put on its link, written before.
	VIPs Set = "proxyproof-vips"
)

// Ledger are its sets.
var Ledger = []Set{Intents, Made, VIPs}

// ledgerOf is the entry of a virtual service.
func ledgerOf(s Set, key plan.Service) (SetKey, Member) {
	return SetKey{s, plan.FamilyOf(key.Address)}, Member{key.Address, key.Port, key.Protocol}
}

// settleLedger makes the ledger say what was found to be the proxy's: it finishes what a crash has left unfinished.
func (a *Applier) settleLedger(families []plan.Family) error {
	wanted := map[SetKey]map[Member]bool{}
	for _, f := range families {
		wanted[SetKey{Made, f}], wanted[SetKey{VIPs, f}] = map[Member]bool{}, map[Member]bool{}
	}
	for service := range a.actual.Services {
		if key, m := ledgerOf(Made, service); wanted[key] != nil {
			wanted[key][m] = true
		}
	}
	for vip := range a.actual.VIPs {
		if members := wanted[SetKey{VIPs, plan.FamilyOf(vip)}]; members != nil {
			members[Member{Address: vip}] = true
		}
	}
	var errs []error
	for _, f := range families {
		errs = append(errs, a.addMembers(SetKey{Made, f}, wanted))
		for _, set := range Ledger {
			errs = append(errs, a.deleteMembers(SetKey{set, f}, wanted))
		}
	}
	return errors.Join(errs...)
}

// create makes a virtual service without destinations, unless somebody else has one there.
func (a *Applier) create(key plan.Service, head plan.Virtual) (made bool, err error) {
	intents, m := ledgerOf(Intents, key)
	if err := a.addMember(intents, m); err != nil {
		return false, err
	}
	err = a.writer.AddService(key, head)
	if errors.Is(err, unix.EEXIST) {
		a.log.Warn("conflict: somebody else has a virtual service there, which is left alone", "service", key)
		a.actual.Foreign[key] = true
		return false, a.deleteMember(intents, m)
	}
	if err != nil {
		return false, fmt.Errorf("add: %w", err)
	}
	a.log.Info("serves", "service", key)
	a.actual.Services[key] = head
	if err := a.addMember(ledgerOf(Made, key)); err != nil {
		return true, err
	}
	return true, a.deleteMember(intents, m)
}
