package scenario

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/sim/world"
)

// life is a pod as it is at this step.
func (s *story) life(p *Pod) Life {
	if l, changed := s.pods[p.Name]; changed {
		return l
	}
	return LifeOf(*p)
}

// checkPods checks what becomes of pods, and takes note.
func (c *checker) checkPods(step *Step, now *story) {
	if len(step.Pods) == 0 {
		c.report(c.at(&step.Pods), "add a pod, or remove the step", "pods is empty")
	}
	for i := range step.Pods {
		change := &step.Pods[i]
		pod := c.findPod(&change.Name)
		if pod == nil {
			continue
		}
		if slices.ContainsFunc(step.Pods[:i], func(p PodChange) bool { return p.Name == change.Name }) {
			c.report(c.at(&change.Name), "make two steps", "pod %s comes twice", change.Name)
		}
		for key, value := range change.Labels {
			if err := labelError(key, value); err != nil {
				c.report(c.at(mapKey{&change.Labels, key}), "", "labels of pod %s: %v", pod.Name, err)
			}
		}
		before := now.life(pod)
		after := before.After(*change)
		switch {
		case change.Becomes == "" && change.Labels == nil:
			c.report(c.at(change), "add becomes or labels", "nothing becomes of pod %s", pod.Name)
		case change.Becomes != "" && before.State() == after.State() && before.Unready == after.Unready:
			c.report(c.at(&change.Becomes), "", "pod %s is %s already", pod.Name, change.Becomes)
		case after.Gone && change.Labels != nil:
			c.report(c.at(&change.Labels), "leave them out", "pod %s is gone: it has no labels", pod.Name)
		}
		now.pods[pod.Name] = after
	}
}

// addresses is how many a node has per family at this step.
func (s *story) addresses(n *Node) int {
	if count, changed := s.nodes[n.Name]; changed {
		return count
	}
	return max(1, n.Addresses)
}

// checkNodes checks what becomes of nodes, and takes note.
func (c *checker) checkNodes(step *Step, now *story) {
	if len(step.Nodes) == 0 {
		c.report(c.at(&step.Nodes), "add a node, or remove the step", "nodes is empty")
	}
	for i := range step.Nodes {
		change := &step.Nodes[i]
		kinds := c.written(map[string]any{"addresses": &change.Addresses, "replug": &change.Replug})
		if len(kinds) != 1 {
			c.report(c.at(change), "write exactly one of addresses, replug", "%d things become of %s", len(kinds), change.Name)
			continue
		}
		if kinds[0] == "replug" && c.cast.clients[change.Name] != nil {
			continue
		}
		n := c.findNode(&change.Name)
		if n == nil || kinds[0] == "replug" {
			continue
		}
		switch at := c.at(&change.Addresses); {
		case change.Addresses < 1 || change.Addresses > max(1, n.Addresses):
			c.report(at, "", "node %s began with %d addresses per family and cannot have %d", n.Name, max(1, n.Addresses), change.Addresses)
		case change.Addresses == now.addresses(n):
			c.report(at, "", "node %s has %d already", n.Name, change.Addresses)
		}
		now.nodes[n.Name] = change.Addresses
	}
}

// checkAPI checks what happens to the API server, and takes note.
func (c *checker) checkAPI(step *Step, now *story) {
	at := c.at(&step.API)
	switch {
	case step.API == APIHeal && now.api == "":
		c.report(at, "it lasts no longer than its step", "the API server has no fault at this step")
	case step.API.Lasts() && now.api != "":
		c.report(at, "write api: heal before", "the API server has a fault already, since line %d: %s", now.apiLine, now.api)
	case step.API == APIHeal:
		now.api = ""
	case step.API.Lasts():
		now.api, now.apiLine = step.API, c.at(step).line
		if now.api == APIOutage {
			c.checkHeldAPI(now.apiLine)
		}
	}
}

// checkHeldAPI checks that nobody holds a connection that the step on a line ends.
func (c *checker) checkHeldAPI(line int) {
	for i := range c.scenario.Hold {
		h := &c.scenario.Hold[i]
		if t, err := parseTarget(h.To); err == nil && speaks(t) == HoldHTTPS && h.Kind != HoldPing {
			c.report(c.at(&h.To), "hold something else", "%s is reset by the outage on line %d", h.To, line)
		}
	}
}

// checkEndpoints checks the endpoints that somebody sets by hand.
func (c *checker) checkEndpoints(step *Step, now *story) {
	if len(step.Endpoints) == 0 {
		c.report(c.at(&step.Endpoints), "add the endpoints of a Service, or remove the step", "endpoints is empty")
	}
	for i := range step.Endpoints {
		e := &step.Endpoints[i]
		port := c.checkEndpointsPort(e, now)
		for _, list := range []Names{e.Ready, e.Unready, e.Terminating} {
			for j := range list {
				if c.checkDestination(&list[j]) && port != nil {
					c.checkEndpointProtocol(&list[j], *port)
				}
			}
		}
	}
}

// checkEndpointsPort finds the port of the Service that endpoints are for; nil if there is none.
func (c *checker) checkEndpointsPort(e *Endpoints, now *story) *corev1.ServicePort {
	ref := e.ref()
	service := now.objects[ref]
	switch {
	case service == nil:
		c.report(c.at(&e.Service), "apply it in a step before; "+Suggest(e.Service, now.services(), "Services"), "%s does not exist at this step", ref)
		return nil
	case len(service.Spec.Selector) > 0:
		c.report(c.at(&e.Service), "change pods, or apply it without a selector", "%s has a selector: its endpoints are the pods that match", ref)
		return nil
	case ref == serviceRef(defaultNamespace, apiService):
		c.report(c.at(&e.Service), "", "the endpoints of %s are the API server's own", ref)
		return nil
	}
	port, err := e.PortOf(service)
	if err != nil {
		c.report(c.at(&e.Port, &e.Service), "its ports: "+portsOf(service), "%v", err)
	}
	return port
}

func (c *checker) checkEndpointProtocol(written *string, port corev1.ServicePort) {
	t, _ := parseTarget(*written)
	if t.Protocol != protocolOf(port) {
		c.report(c.at(written), "", "%s speaks %s, the port of the Service %s", *written, strings.ToLower(string(t.Protocol)), strings.ToLower(string(protocolOf(port))))
	}
}

// ref names the Service.
func (e Endpoints) ref() Ref {
	if namespace, name, found := strings.Cut(e.Service, "/"); found {
		return serviceRef(namespace, name)
	}
	return serviceRef(defaultNamespace, e.Service)
}

// Of tells which Service the endpoints are of.
func (e Endpoints) Of() (namespace, name string) {
	ref := e.ref()
	return ref.Namespace, ref.Name
}

// PortOf finds the port of the Service that the endpoints are behind.
func (e Endpoints) PortOf(service *corev1.Service) (*corev1.ServicePort, error) {
	ports := service.Spec.Ports
	if e.Port == (Port{}) {
		if len(ports) != 1 {
			return nil, fmt.Errorf("%s has %d ports: say which is meant", service.Name, len(ports))
		}
		return &ports[0], nil
	}
	if port := servicePort(service, Target{Port: e.Port.Number, Protocol: e.Port.Protocol}); port != nil {
		return port, nil
	}
	return nil, fmt.Errorf("%s has no port %s", service.Name, e.Port)
}

// portsOf are the ports of a Service, in words.
func portsOf(service *corev1.Service) string {
	var ports []string
	for _, port := range service.Spec.Ports {
		ports = append(ports, world.Port{Number: uint16(port.Port), Protocol: protocolOf(port)}.String())
	}
	return strings.Join(ports, ", ")
}
