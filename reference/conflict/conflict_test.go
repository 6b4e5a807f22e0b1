package conflict

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"proxyproof/reference/plan"
)

// TestAConflictIsToldOnce: while it lasts; and again when it comes back.
func TestAConflictIsToldOnce(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	r := &Reporter{node: "cp", recorder: recorder, told: map[plan.Service]bool{}}
	key := plan.Service{Address: netip.MustParseAddr("2001:db8:18::5"), Port: 80, Protocol: plan.TCP}
	conflict := map[plan.Service]*corev1.Service{key: {ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}}
	for i, step := range []struct {
		conflicts map[plan.Service]*corev1.Service
		told      int
	}{{nil, 0}, {conflict, 1}, {conflict, 0}, {nil, 0}, {conflict, 1}} {
		r.Report(step.conflicts)
		if told := len(recorder.Events); told != step.told {
			t.Errorf("step %d: %d Events, want %d", i, told, step.told)
		}
		for len(recorder.Events) > 0 {
			const want = "Warning ForeignVirtualService not served at [2001:db8:18::5]:80/tcp of node cp: somebody else has a virtual service there, which is left alone"
			if got := <-recorder.Events; got != want {
				t.Errorf("step %d: Event %q, want %q", i, got, want)
			}
		}
	}
}
