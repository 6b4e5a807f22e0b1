package worker

import (
	"testing"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

func TestRecordKeepsEachFindingOnceWithItsStep(t *testing.T) {
	var events []event.Event
	r := newRecord("s/ipv4@x", func(e event.Event) { events = append(events, e) })
	r.enter(0, event.Phase{Name: "world"})
	r.enter(1, event.Phase{Name: "step"})
	between := time.Now()
	r.enter(2, event.Phase{Name: "step"})
	now := finding.Finding{ID: "reach-failed", Object: "a"}
	r.find(now, now, finding.Finding{ID: "hold-lost", Object: "b", Time: between})
	if len(r.findings) != 2 || r.findings[0].Step != 2 || r.findings[1].Step != 1 {
		t.Errorf("got %+v", r.findings)
	}
	if fresh := r.fresh([]finding.Finding{now, {ID: "reach-failed", Object: "c"}}); len(fresh) != 1 || fresh[0].Object != "c" {
		t.Errorf("fresh: %+v", fresh)
	}
	for i, e := range events {
		if e.Seq != i+1 || e.Case != "s/ipv4@x" {
			t.Errorf("event %d: %+v", i, e)
		}
	}
}
