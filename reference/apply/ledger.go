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
	return SetKey{s, plan.FamilyOf(key.Address)}, Member(key)
}

// settleLedger makes the ledger say what was found to be the proxy's: it finishes what a crash has left unfinished.
func (a *Applier) settleLedger() error {
	wanted := bySet{}
	for key := range a.actual.Services {
		wanted.put(Made, Member(key))
	}
	for vip := range a.actual.VIPs {
		wanted.put(VIPs, Member{Address: vip})
	}
	var errs []error
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6} {
		errs = append(errs, a.addMembers(SetKey{Made, f}, wanted[SetKey{Made, f}]))
		for _, set := range Ledger {
			errs = append(errs, a.keepMembers(SetKey{set, f}, wanted[SetKey{set, f}]))
		}
	}
	return errors.Join(errs...)
}

// create makes virtual services without destinations, unless somebody else has one there.
func (a *Applier) create(s plan.State, services []plan.Service) error {
	intents, settled, made := bySet{}, bySet{}, bySet{}
	for _, key := range services {
		intents.put(Intents, Member(key))
	}
	if err := intents.each(a.addMembers); err != nil {
		return err
	}
	var errs []error
	for _, key := range services {
		head := headOf(s.Services[key])
		err := a.writer.AddService(key, head)
		if errors.Is(err, unix.EEXIST) {
			a.log.Warn("conflict: somebody else has a virtual service there, which is left alone", "service", key)
			a.actual.Foreign[key] = true
			settled.put(Intents, Member(key))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("virtual service %s: add: %w", key, err))
			continue
		}
		a.log.Info("serves", "service", key)
		a.actual.Services[key] = head
		made.put(Made, Member(key))
		settled.put(Intents, Member(key))
	}
	if err := made.each(a.addMembers); err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, settled.each(a.deleteMembers))...)
}
