package invariant

import (
	"fmt"
	"net/netip"
	"regexp"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/finding"
	"proxyproof/harness/oracle"
)

const conflictUntold finding.ID = "conflict-untold"

// judgeConflict judges whether the owner of a Service is told that somebody else has its virtual service: by an Event of the type
// Warning on the Service whose message names the address and port.
func (v View) judgeConflict(want oracle.Service) []finding.Finding {
	if !v.Keeps.Has(KeepConflictEvents) || !want.Required {
		return nil
	}
	place := netip.AddrPortFrom(want.Address, want.Port).String()
	names := regexp.MustCompile(regexp.QuoteMeta(place) + `\b`) // port 80 is not port 8080
	var told []string
	for _, e := range v.Objects.Events {
		if o := e.InvolvedObject; o.Kind != "Service" || o.Namespace+"/"+o.Name != want.Owner {
			continue
		}
		if e.Type == corev1.EventTypeWarning && names.MatchString(e.Message) {
			return nil
		}
		told = append(told, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message))
	}
	f := v.finding(conflictUntold, want.Family(), "Service "+want.Owner)
	f.Sentence = fmt.Sprintf("somebody else has the virtual service %s, the %s, and no Event says so", want.Key, want.Why())
	f.Evidence = []string{
		fmt.Sprintf("expected: an Event of the type Warning on Service %s that names %s", want.Owner, place),
		"its Events: " + list(told),
	}
	return []finding.Finding{f}
}
