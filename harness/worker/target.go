package worker

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// apiserverPort is where the API server listens on its node's addresses, and kubernetesPort is that of its Service.
const (
	apiserverPort  uint16 = 6443
	kubernetesPort uint16 = 443
)

// target is one address of what a scenario calls by name.
type target struct {
	written   string
	address   netip.Addr
	port      uint16 // 0 for ping
	protocol  world.Protocol
	https     bool
	apiserver bool   // the API server on its node's own address
	health    bool   // a health-check node port
	status    int    // that it is to answer with
	node      string // the node whose address it is, or ""
	via       string // the node through which clients enter unless the scenario says otherwise
	localPort uint16 // from which it is asked; 0 is a new one each time
}

func (t target) family() world.Family { return world.FamilyOf(t.address) }

// entry is the node at which traffic from a place enters the cluster: clients choose one, and so does who names a node's address.
func (t target) entry(from world.Place) string {
	if from.Kind() == world.KindClient || t.node != "" {
		return t.via
	}
	return from.NodeName()
}

// String is "lb(example):1337 [203.0.113.1]:1337".
func (t target) String() string {
	if t.port == 0 {
		return fmt.Sprintf("%s at %s", t.written, t.address)
	}
	return fmt.Sprintf("%s at %s", t.written, netip.AddrPortFrom(t.address, t.port))
}

// resolve finds all addresses of a target, as they are now. None is an answer, too: an address that was not given out yet.
func (c *caseRun) resolve(written, via string, ping bool) ([]target, error) {
	parsed, err := scenario.ParseTarget(written)
	if err != nil {
		return nil, err
	}
	base := target{written: written, port: parsed.Port, protocol: parsed.Protocol, via: firstNonEmpty(via, c.entry())}
	var addresses []netip.Addr
	switch parsed.Kind {
	case scenario.TargetNode, scenario.TargetPod, scenario.TargetClient, scenario.TargetAPIServer:
		place, ok := c.world.Place(parsed.Name)
		if !ok {
			return nil, fmt.Errorf("target %s: no place is called %s", written, parsed.Name)
		}
		base.node, base.via = place.NodeName(), place.NodeName()
		addresses = allAddrs(place, c.job.Family)
		if parsed.Kind == scenario.TargetAPIServer {
			base.port, base.protocol, base.https, base.apiserver = apiserverPort, world.TCP, true, true
		}
	case scenario.TargetUnused:
		addresses = unused(c.world, parsed.Name, c.job.Family.Families(), max(parsed.Index, 0))
		parsed.Index = scenario.AllAddresses
	default:
		if addresses, err = c.serviceAddresses(parsed, &base); err != nil {
			return nil, err
		}
	}
	if ping {
		base.port = 0
	}
	var targets []target
	for _, a := range pick(addresses, parsed.Index) {
		t := base
		t.address = a
		targets = append(targets, t)
	}
	return targets, nil
}

// unused are addresses of a range that nothing gets, one in each family.
func unused(w world.World, name string, families []world.Family, index int) []netip.Addr {
	prefixes := w.Ranges().ByName(name)
	var addresses []netip.Addr
	for _, f := range families {
		if p, ok := prefixes[f]; ok {
			addresses = append(addresses, world.Unused(p, index))
		}
	}
	return addresses
}

// pick leaves the address of an index in each family, or all.
func pick(addresses []netip.Addr, index int) []netip.Addr {
	if index < 0 {
		return addresses
	}
	var picked []netip.Addr
	count := map[world.Family]int{}
	for _, a := range addresses {
		f := world.FamilyOf(a)
		if count[f] == index {
			picked = append(picked, a)
		}
		count[f]++
	}
	return picked
}

// serviceAddresses are those of a Service of one kind; it completes the port of a node-port target.
func (c *caseRun) serviceAddresses(parsed scenario.Target, base *target) ([]netip.Addr, error) {
	service, err := c.service(parsed.Namespace, parsed.Name)
	if err != nil || service == nil {
		return nil, err
	}
	base.https = service.Namespace == "default" && service.Name == "kubernetes"
	base.health = parsed.Kind == scenario.TargetHealth
	var texts []string
	switch parsed.Kind {
	case scenario.TargetClusterIP:
		texts = service.Spec.ClusterIPs
	case scenario.TargetExternal:
		texts = service.Spec.ExternalIPs
	case scenario.TargetLB:
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			texts = append(texts, ingress.IP)
		}
	case scenario.TargetNodePort, scenario.TargetHealth:
		return c.nodePortAddresses(service, base)
	default:
		return nil, fmt.Errorf("target %s: unknown kind %q", base.written, parsed.Kind)
	}
	var addresses []netip.Addr
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, a)
		}
	}
	return addresses, nil
}

// nodePortAddresses are the entry node's addresses of the Service's families: the first of each, or all where the proxy is to serve
// all.
func (c *caseRun) nodePortAddresses(service *corev1.Service, base *target) ([]netip.Addr, error) {
	node, ok := c.world.Node(base.via)
	if !ok {
		return nil, fmt.Errorf("target %s: no node is called %s", base.written, base.via)
	}
	base.node = node.Name()
	if base.port = nodePort(service, *base); base.port == 0 {
		return nil, nil
	}
	var addresses []netip.Addr
	for _, f := range service.Spec.IPFamilies {
		family := world.IPv4
		if f == corev1.IPv6Protocol {
			family = world.IPv6
		}
		own := node.Addrs(family)
		if !c.job.Scenario.Subject.Options.NodePortsOnAllAddresses || base.health {
			own = own[:min(1, len(own))]
		}
		addresses = append(addresses, own...)
	}
	return addresses, nil
}

// nodePort is the number on nodes behind a target; 0 if there is none.
func nodePort(service *corev1.Service, t target) uint16 {
	if t.health {
		return uint16(service.Spec.HealthCheckNodePort)
	}
	for _, p := range service.Spec.Ports {
		if uint16(p.Port) == t.port && strings.EqualFold(string(p.Protocol), string(t.protocol)) {
			return uint16(p.NodePort)
		}
	}
	return 0
}

// addressOf reads an address back from a finding's object; the zero Addr if it is none.
func addressOf(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a
}
