//lint:file-ignore SA1019 Old proxies read the legacy Endpoints, and a real API server still keeps them.

package apiserver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"proxyproof/sim/admission"
	"proxyproof/sim/world"
)

// managedBy is what the real controller writes into its slices.
const managedBy = "endpointslice-controller.k8s.io"

// reconcileEndpoints makes the slices and the legacy Endpoints of a Service match the Pods that it selects. A Service without
// selector has those that its user makes. The lock is held.
func (s *Server) reconcileEndpoints(service *corev1.Service) {
	live := s.store.get(serviceResource(), service.Namespace, service.Name) != nil
	external := service.Spec.Type == corev1.ServiceTypeExternalName
	if live && len(service.Spec.Selector) == 0 && !external {
		return // what the controller once made stays, as it does in a real cluster
	}
	selects := live && !external
	wanted := map[string]*discoveryv1.EndpointSlice{}
	if selects {
		for _, f := range service.Spec.IPFamilies {
			for _, slice := range s.slicesOf(service, f) {
				wanted[slice.Name] = slice
			}
		}
	}
	slicesResource := byPath("discovery.k8s.io", "v1", "endpointslices")
	for _, o := range s.store.listLocked(slicesResource, service.Namespace) {
		slice := o.(*discoveryv1.EndpointSlice)
		mine := slice.Labels[discoveryv1.LabelServiceName] == service.Name && slice.Labels[discoveryv1.LabelManagedBy] == managedBy
		if mine && wanted[slice.Name] == nil {
			s.store.remove(slicesResource, slice)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		s.set(slicesResource, wanted[name])
	}
	legacy := byPath("", "v1", "endpoints")
	switch old := s.store.get(legacy, service.Namespace, service.Name); {
	case selects:
		s.set(legacy, endpoints(service, wanted))
	case old != nil && !live:
		s.store.remove(legacy, old)
	}
}

// slicesOf are the EndpointSlices of a Service in a family: one for the Pods that agree on the numbers of all ports. Mostly there is
// just one. A Service without Pods has one without endpoints, too.
func (s *Server) slicesOf(service *corev1.Service, f corev1.IPFamily) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	for _, pod := range s.selected(service) {
		e, ok := s.endpoint(service, pod, admission.FamilyOf(f))
		if !ok {
			continue
		}
		ports := portsOf(service, pod)
		i := slices.IndexFunc(all, func(slice *discoveryv1.EndpointSlice) bool { return equality.Semantic.DeepEqual(slice.Ports, ports) })
		if i < 0 {
			i = len(all)
			all = append(all, newSlice(service, f, i, ports))
		}
		all[i].Endpoints = append(all[i].Endpoints, e)
	}
	if len(all) == 0 {
		all = append(all, newSlice(service, f, 0, nil))
	}
	return all
}

// newSlice is the n-th slice of a Service in a family, without endpoints.
func newSlice(service *corev1.Service, f corev1.IPFamily, n int, ports []discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	name := fmt.Sprintf("%s-%s", service.Name, strings.ToLower(string(f)))
	if n > 0 {
		name += fmt.Sprintf("-%d", n)
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      name,
			Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: managedBy},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID, Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
			}},
		},
		AddressType: discoveryv1.AddressType(f),
		Ports:       ports,
	}
	if service.Spec.ClusterIP == corev1.ClusterIPNone {
		slice.Labels[corev1.IsHeadlessService] = ""
	}
	return slice
}

// portsOf are the ports of a Service as a Pod has them. A named one that the Pod lacks is left out.
func portsOf(service *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for _, p := range service.Spec.Ports {
		if number, ok := targetPort(p, pod); ok {
			ports = append(ports, discoveryv1.EndpointPort{Name: ptr.To(p.Name), Protocol: ptr.To(p.Protocol), Port: ptr.To(number), AppProtocol: p.AppProtocol})
		}
	}
	return ports
}

// selected are the Pods that a Service selects and that have addresses, by name.
func (s *Server) selected(service *corev1.Service) []*corev1.Pod {
	selector := labels.SelectorFromSet(service.Spec.Selector)
	var pods []*corev1.Pod
	for _, o := range s.store.listLocked(podResource(), service.Namespace) {
		pod := o.(*corev1.Pod)
		if selector.Matches(labels.Set(pod.Labels)) && pod.Status.PodIP != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			pods = append(pods, pod)
		}
	}
	return pods
}

// targetPort is the number behind a Service's port: its own, or that of the Pod's container port of that name.
func targetPort(p corev1.ServicePort, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal, true
	}
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal && (port.Protocol == p.Protocol || port.Protocol == "" && p.Protocol == corev1.ProtocolTCP) {
				return port.ContainerPort, true
			}
		}
	}
	return 0, false
}

// endpoint is a Pod as an endpoint of a family. One that is going is not ready, but serves as long as it says so (KEP-1669). A
// Service that publishes what is not ready takes everybody for ready.
func (s *Server) endpoint(service *corev1.Service, pod *corev1.Pod, f world.Family) (discoveryv1.Endpoint, bool) {
	var address string
	for _, ip := range pod.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && world.FamilyOf(a) == f {
			address = ip.IP
			break
		}
	}
	if address == "" {
		return discoveryv1.Endpoint{}, false
	}
	serving, terminating := podReady(pod), pod.DeletionTimestamp != nil
	ready := serving && !terminating || service.Spec.PublishNotReadyAddresses
	e := discoveryv1.Endpoint{
		Addresses:  []string{address},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = ptr.To(pod.Spec.NodeName)
	}
	if node, ok := s.store.get(byPath("", "v1", "nodes"), "", pod.Spec.NodeName).(*corev1.Node); ok && node.Labels[corev1.LabelTopologyZone] != "" {
		e.Zone = ptr.To(node.Labels[corev1.LabelTopologyZone])
	}
	return e, true
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// endpoints is the legacy object that old proxies read: one family, the Service's first, and nobody who is going.
func endpoints(service *corev1.Service, all map[string]*discoveryv1.EndpointSlice) *corev1.Endpoints {
	out := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		slice := all[name]
		if string(slice.AddressType) != string(service.Spec.IPFamilies[0]) {
			continue
		}
		var subset corev1.EndpointSubset
		for _, p := range slice.Ports {
			subset.Ports = append(subset.Ports, corev1.EndpointPort{Name: *p.Name, Port: *p.Port, Protocol: *p.Protocol})
		}
		for _, e := range slice.Endpoints {
			address := corev1.EndpointAddress{IP: e.Addresses[0], NodeName: e.NodeName, TargetRef: e.TargetRef}
			switch {
			case *e.Conditions.Ready:
				subset.Addresses = append(subset.Addresses, address)
			case !*e.Conditions.Terminating:
				subset.NotReadyAddresses = append(subset.NotReadyAddresses, address)
			}
		}
		if len(subset.Addresses)+len(subset.NotReadyAddresses) > 0 {
			out.Subsets = append(out.Subsets, subset)
		}
	}
	return out
}
