//lint:file-ignore SA1019 Old proxies read the legacy Endpoints, and a real API server still keeps them.

package apiserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"proxyproof/sim/world"
)

// managedBy is what the real controller writes into its slices.
const managedBy = "endpointslice-controller.k8s.io"

// reconcileEndpoints makes the slices and the legacy Endpoints of a Service match the Pods that it selects. A Service without
// selector has those that its user makes. The lock is held.
func (s *Server) reconcileEndpoints(service *corev1.Service) {
	live := s.store.get(serviceResource(), service.Namespace, service.Name) != nil
	selects := live && len(service.Spec.Selector) > 0 && service.Spec.Type != corev1.ServiceTypeExternalName
	wanted := map[string]*discoveryv1.EndpointSlice{}
	if selects {
		for _, f := range service.Spec.IPFamilies {
			slice := s.slice(service, f)
			wanted[slice.Name] = slice
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
	for _, name := range sortedNames(wanted) {
		s.set(slicesResource, wanted[name])
	}
	legacy := byPath("", "v1", "endpoints")
	switch old := s.store.get(legacy, service.Namespace, service.Name); {
	case selects:
		s.set(legacy, s.endpoints(service, wanted))
	case old != nil && !live:
		s.store.remove(legacy, old)
	}
}

func sortedNames(m map[string]*discoveryv1.EndpointSlice) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// slice is the EndpointSlice of a Service in a family.
func (s *Server) slice(service *corev1.Service, f corev1.IPFamily) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      fmt.Sprintf("%s-%s", service.Name, strings.ToLower(string(f))),
			Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: managedBy},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID, Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
			}},
		},
		AddressType: discoveryv1.AddressType(f),
	}
	if service.Spec.ClusterIP == corev1.ClusterIPNone {
		slice.Labels[corev1.IsHeadlessService] = ""
	}
	pods := s.selected(service)
	for _, p := range service.Spec.Ports {
		if number, ok := targetPort(p, pods); ok {
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: ptr.To(p.Name), Protocol: ptr.To(p.Protocol), Port: ptr.To(number)})
		}
	}
	for _, pod := range pods {
		if e, ok := endpoint(service, pod, familyOf(f)); ok {
			slice.Endpoints = append(slice.Endpoints, e)
		}
	}
	return slice
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

// targetPort is the number behind a Service's port: its own, or that of the container port of that name. Pods that disagree
// would need a slice each; the first one decides here.
func targetPort(p corev1.ServicePort, pods []*corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal, true
	}
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			for _, port := range c.Ports {
				if port.Name == p.TargetPort.StrVal && (port.Protocol == p.Protocol || port.Protocol == "" && p.Protocol == corev1.ProtocolTCP) {
					return port.ContainerPort, true
				}
			}
		}
	}
	return 0, false
}

// endpoint is a Pod as an endpoint of a family.
func endpoint(service *corev1.Service, pod *corev1.Pod, f world.Family) (discoveryv1.Endpoint, bool) {
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

// endpoints is the legacy object that old proxies read: one family, the Service's first.
func (s *Server) endpoints(service *corev1.Service, all map[string]*discoveryv1.EndpointSlice) *corev1.Endpoints {
	out := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	if len(service.Spec.IPFamilies) == 0 {
		return out
	}
	slice := all[fmt.Sprintf("%s-%s", service.Name, strings.ToLower(string(service.Spec.IPFamilies[0])))]
	var subset corev1.EndpointSubset
	for _, p := range slice.Ports {
		subset.Ports = append(subset.Ports, corev1.EndpointPort{Name: *p.Name, Port: *p.Port, Protocol: *p.Protocol})
	}
	for _, e := range slice.Endpoints {
		address := corev1.EndpointAddress{IP: e.Addresses[0], NodeName: e.NodeName, TargetRef: e.TargetRef}
		if *e.Conditions.Ready {
			subset.Addresses = append(subset.Addresses, address)
		} else {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, address)
		}
	}
	if len(slice.Endpoints) > 0 {
		out.Subsets = []corev1.EndpointSubset{subset}
	}
	return out
}
