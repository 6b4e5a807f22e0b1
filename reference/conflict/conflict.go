// Package conflict tells the owners of Services, in Events, that somebody else has a virtual service where theirs should be.
package conflict

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"proxyproof/reference/plan"
)

// Reason is that of the Events.
const Reason = "ForeignVirtualService"

// Report takes all conflicts that there are now, each with the Service that cannot be served there.
type Report func(map[plan.Service]*corev1.Service)

// Reporter writes one Event for each conflict, however often it is met while it lasts.
type Reporter struct {
	node     string
	recorder record.EventRecorder
	told     map[plan.Service]bool
	stop     func()
}

// New makes a reporter of the proxy of a node. Events are written in the background; one that cannot be written is lost in the end.
func New(client kubernetes.Interface, component, node string) *Reporter {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component, Host: node})
	return &Reporter{node: node, recorder: recorder, told: map[plan.Service]bool{}, stop: broadcaster.Shutdown}
}

// Report is a Report.
func (r *Reporter) Report(conflicts map[plan.Service]*corev1.Service) {
	for key, service := range conflicts {
		if !r.told[key] {
			r.recorder.Eventf(service, corev1.EventTypeWarning, Reason,
				"not served at %s of node %s: somebody else has a virtual service there, which is left alone", key, r.node)
		}
	}
	clear(r.told)
	for key := range conflicts {
		r.told[key] = true
	}
}

// Close ends the writing of Events.
func (r *Reporter) Close() { r.stop() }
