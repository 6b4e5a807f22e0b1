package worker

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// changePods changes the objects of pods. Their servers go on answering whatever becomes of them, so that traffic which should no
// longer go there is seen and not just lost.
func (c *caseRun) changePods(ctx context.Context, changes []scenario.PodChange) error {
	for _, change := range changes {
		before := c.pods[change.Name]
		after := before.After(change)
		anew := before.State() != scenario.PodGone && before.Terminating && !after.Terminating
		if after.Gone || anew { // a pod that comes back is another one
			if _, err := c.control.Delete(ctx, "pod", "default", change.Name); err != nil {
				return err
			}
		}
		if after.Gone {
			c.pods[change.Name] = after
		} else if err := c.putPod(ctx, after, c.job.Family); err != nil {
			return err
		}
		c.record.add(event.Event{Write: &event.Write{Verb: "changed", Object: "Pod default/" + change.Name, Detail: change.String()}})
	}
	return nil
}

// changeNodes changes the links of nodes and clients.
func (c *caseRun) changeNodes(ctx context.Context, changes []scenario.NodeChange) error {
	for _, change := range changes {
		var err error
		if node, isNode := c.world.Node(change.Name); isNode && !change.Replug {
			err = node.SetAddresses(change.Addresses)
		} else {
			err = c.world.Replug(ctx, change.Name)
		}
		if err != nil {
			return err
		}
		c.record.add(event.Event{Write: &event.Write{Verb: "changed", Object: change.Name, Detail: change.String()}})
	}
	return nil
}

// endpointsOwner is what slices that a scenario sets say of who manages them.
const endpointsOwner = "proxyproof.invalid"

// setEndpoints writes the EndpointSlices of Services without a selector, one for each port and family.
func (c *caseRun) setEndpoints(ctx context.Context, all []scenario.Endpoints) error {
	for _, e := range all {
		namespace, name := e.Of()
		service, err := c.service(namespace, name)
		if err != nil || service == nil {
			return fmt.Errorf("endpoints of %s: there is no such Service: %w", e.Service, err)
		}
		port, err := e.PortOf(service)
		if err != nil {
			return fmt.Errorf("endpoints of %s: %w", e.Service, err)
		}
		for _, f := range service.Spec.IPFamilies {
			slice, err := c.ownSlice(service, *port, f, e)
			if err != nil {
				return fmt.Errorf("endpoints of %s: %w", e.Service, err)
			}
			if err := c.control.Put(ctx, slice); err != nil {
				return err
			}
		}
		c.record.add(event.Event{Write: &event.Write{Verb: "set", Object: "Service " + e.Service, Detail: e.String()}})
	}
	return nil
}

// ownSlice is the slice of a port in a family.
func (c *caseRun) ownSlice(service *corev1.Service, port corev1.ServicePort, f corev1.IPFamily, e scenario.Endpoints) (*discoveryv1.EndpointSlice, error) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      strings.ToLower(fmt.Sprintf("%s-%d-%s-%s", service.Name, port.Port, port.Protocol, f)),
			Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: endpointsOwner},
		},
		AddressType: discoveryv1.AddressType(f),
	}
	family := world.IPv4
	if f == corev1.IPv6Protocol {
		family = world.IPv6
	}
	for _, group := range []struct {
		targets                     scenario.Names
		ready, serving, terminating bool
	}{{e.Ready, true, true, false}, {e.Unready, false, false, false}, {e.Terminating, false, true, true}} {
		dests, err := c.destinations(group.targets, family)
		if err != nil {
			return nil, err
		}
		for _, d := range dests {
			number := int32(d.Port())
			if len(slice.Ports) == 0 {
				slice.Ports = []discoveryv1.EndpointPort{{Name: &port.Name, Protocol: &port.Protocol, Port: &number}}
			}
			if *slice.Ports[0].Port != number {
				return nil, fmt.Errorf("all endpoints of a port have the same number, not %d and %d", *slice.Ports[0].Port, number)
			}
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{d.Addr().String()},
				Conditions: discoveryv1.EndpointConditions{
					Ready: ptr.To(group.ready), Serving: ptr.To(group.serving), Terminating: ptr.To(group.terminating),
				},
			})
		}
	}
	return slice, nil
}
