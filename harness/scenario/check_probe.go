package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"proxyproof/sim/world"
)

// probe is a check of any kind, as written.
type probe struct {
	target *string
	from   *Names
	via    *string
	// kind is "reach", "refused", "ping" or "hold".
	kind string
	now  *story
}

const (
	probeReach   = "reach"
	probeRefused = "refused"
	probePing    = "ping"
	probeHold    = "hold"
)

func (c *checker) checkExpect(e *Expect, now *story) {
	fields := map[string]*string{probeReach: &e.Reach, probeRefused: &e.Refused, probePing: &e.Ping}
	written := c.written(map[string]any{probeReach: &e.Reach, probeRefused: &e.Refused, probePing: &e.Ping})
	if len(written) != 1 {
		message := "the check names no target"
		if len(written) > 1 {
			message = "the check has several targets: " + strings.Join(written, ", ")
		}
		c.report(c.at(e), "write exactly one of reach, refused, ping", "%s", message)
		return
	}
	p := probe{fields[written[0]], &e.From, &e.Via, written[0], now}
	t, ok := c.checkProbe(p)
	if ok {
		c.checkAnswer(e, t, p)
	}
	for i := range e.Backends {
		pod := c.findPod(&e.Backends[i])
		if slices.Contains(e.Backends[:i], e.Backends[i]) {
			c.report(c.at(&e.Backends[i]), "remove one of the two", "pod %s comes twice", e.Backends[i])
		}
		if ok && pod != nil {
			c.checkBackend(&e.Backends[i], pod, t, p)
		}
	}
}

// checkAnswer checks what is said about the answer.
func (c *checker) checkAnswer(e *Expect, t Target, p probe) {
	pods := p.kind == probeReach && t.Kind != TargetHealth && t.Kind != TargetAPIServer && !t.isAPIService()
	if !pods && e.Sticky {
		c.report(c.at(&e.Sticky), "leave it out", "sticky is about the pods that answer a reach")
	}
	if len(e.Backends) == 1 && e.Sticky {
		c.report(c.at(&e.Sticky), "name all backends that the Service has", "sticky cannot fail with a single backend")
	}
	c.checkKeepsPort(e, t, p)
	if !pods && e.Source != "" {
		c.report(c.at(&e.Source), "leave it out", "only pods that answer a reach tell whom they saw")
	}
	if status, written := c.decoder.places[&e.Status]; written {
		switch {
		case t.Kind != TargetHealth || p.kind != probeReach:
			c.report(status, "leave it out", "status is that of a healthcheck target that is reached")
		case e.Status < 100 || e.Status > 599:
			c.report(status, "200 or 503", "%d is no HTTP status", e.Status)
		}
	}
	for i, name := range e.From {
		if pods && e.Source != "" && c.cast.nodes[name] != nil && c.entersAt(name, e.Via, t) == name {
			c.report(c.at(&e.From[i]), "probe from a pod or a client", "from node %s the address of the client is that of the node", name)
		}
	}
}

// checkKeepsPort: a flow has no end only over UDP, and goes to one backend.
func (c *checker) checkKeepsPort(e *Expect, t Target, p probe) {
	switch {
	case !e.KeepsPort:
	case p.kind != probeReach || t.Protocol != world.UDP:
		c.report(c.at(&e.KeepsPort), "leave it out", "keepsPort is about a UDP target that is reached")
	case e.Sticky:
		c.report(c.at(&e.KeepsPort), "leave one of the two out", "with one port there is one flow, which says nothing about affinity")
	case len(e.Backends) > 1:
		c.report(c.at(&e.KeepsPort), "name one backend", "what comes from one port goes to one backend, not to each of %d", len(e.Backends))
	}
}

// entersAt is the node at which a node that probes enters.
func (c *checker) entersAt(name, via string, t Target) string {
	if t.Kind.onNode() && via != "" {
		return via
	}
	return name
}

// checkProbe checks target and places of a probe; false if the target means nothing.
func (c *checker) checkProbe(p probe) (Target, bool) {
	c.checkFrom(p.from)
	t, err := parseTarget(*p.target)
	if err != nil {
		c.phrase(c.at(p.target), err)
		return t, false
	}
	before := len(c.problems)
	c.checkPort(t, p)
	if t.Kind.OfService() {
		c.checkService(t, p)
	} else {
		c.checkPlace(t, p)
	}
	c.checkIndex(t, p)
	c.checkVia(t, p)
	if speaks(t) == HoldHTTPS && p.kind == probeReach && p.now.api.Cuts() {
		c.bad(p, "", "reach it after api: heal", "nobody reaches the API server since line %d: %s", p.now.apiLine, p.now.api)
	}
	return t, len(c.problems) == before
}

// bad reports that a part of the target makes no sense.
func (c *checker) bad(p probe, part, suggestion, format string, args ...any) {
	c.report(c.source.within(c.at(p.target), part), suggestion, "%s", p.kind+" "+*p.target+": "+fmt.Sprintf(format, args...))
}

// checkFrom checks the places that probe.
func (c *checker) checkFrom(from *Names) {
	if len(*from) == 0 {
		c.report(c.at(from), Suggest("", c.cast.all, "places"), "from: the list is empty")
	}
	for i, name := range *from {
		if !slices.Contains(c.cast.all, name) {
			c.report(c.at(&(*from)[i]), Suggest(name, c.cast.all, "places"), "%s does not exist", c.guess(name))
		}
		if slices.Contains((*from)[:i], name) {
			c.report(c.at(&(*from)[i]), "remove one of the two", "%s comes twice", name)
		}
	}
}

// guess says what kind of place a name that does not exist was meant to be, judging by the nearest one.
func (c *checker) guess(name string) string {
	near := Nearest(name, c.cast.all)
	switch {
	case c.cast.pods[near] != nil:
		return "pod " + name
	case c.cast.nodes[near] != nil:
		return "node " + name
	case c.cast.clients[near] != nil:
		return "client " + name
	}
	return "place " + name
}

// checkPort checks whether the target must, may or must not have a port.
func (c *checker) checkPort(t Target, p probe) {
	switch {
	case t.Port != 0 && p.kind == probePing:
		_, port, _ := strings.Cut(*p.target, ":")
		c.bad(p, ":"+port, "leave the port out", "a ping knows no ports")
	case t.Port == 0 && p.kind != probePing && t.Kind.takesPort():
		c.bad(p, "", "add it: "+t.String()+":80", "the port is missing")
	}
}

// checkPlace checks a target that is a node, a pod or a client.
func (c *checker) checkPlace(t Target, p probe) {
	node, pod := c.cast.nodes[t.Name], c.cast.pods[t.Name]
	switch {
	case t.Kind == TargetUnused:
		if message, hint := c.absent(t, p.now); message != "" {
			c.bad(p, t.Name, hint, "%s", message)
		}
	case t.Kind == TargetPod && pod == nil:
		c.bad(p, t.Name, Suggest(t.Name, c.podNames(), "pods"), "pod %s does not exist", t.Name)
	case t.Kind == TargetPod:
		if reaches(p) && t.Port != 0 && !pod.listens(t.Port, t.Protocol) {
			c.bad(p, "", "add the port to its listen", "pod %s listens on %s", t.Name, pod.ports())
		}
	case t.Kind == TargetClient && c.cast.clients[t.Name] == nil:
		c.bad(p, t.Name, Suggest(t.Name, c.clientNames(), "clients"), "client %s does not exist", t.Name)
	case t.Kind == TargetClient:
		if reaches(p) && t.Port != 0 {
			c.bad(p, "", "ping it", "nothing listens on port %d of a client", t.Port)
		}
	case node == nil:
		c.bad(p, t.Name, Suggest(t.Name, c.nodeNames(), "nodes"), "node %s does not exist", t.Name)
	case t.Kind == TargetAPIServer && !node.APIServer:
		c.bad(p, t.Name, "it is on "+strings.Join(c.named(c.isServer), ", "), "the API server is not on node %s", t.Name)
	case t.Kind == TargetNode && reaches(p) && t.Port == apiServerPort && node.APIServer:
		c.bad(p, "", "write apiserver("+t.Name+")", "that is the API server, who speaks HTTPS")
	case t.Kind == TargetNode && reaches(p) && t.Port != 0:
		c.bad(p, "", "for a node port write nodeport(service):port, with the port of the Service", "nothing listens on port %d of a node", t.Port)
	}
}

func (c *checker) isServer(name string) bool {
	n := c.cast.nodes[name]
	return n != nil && n.APIServer
}

// reaches tells whether the probe wants an answer.
func reaches(p probe) bool { return p.kind == probeReach || p.kind == probeHold }

// checkIndex checks that the address exists in each family.
func (c *checker) checkIndex(t Target, p probe) {
	if t.Index == AllAddresses {
		return
	}
	if t.Kind == TargetUnused {
		return
	}
	count := 1
	if n := c.cast.nodes[t.Name]; n != nil && (t.Kind == TargetNode || t.Kind == TargetAPIServer) {
		count = p.now.addresses(n)
	}
	if service := p.now.objects[serviceRef(t.Namespace, t.Name)]; t.Kind == TargetExternal && service != nil {
		count = len(service.Spec.ExternalIPs)
	}
	if t.Kind == TargetNodePort && c.scenario.Subject.Options.NodePortsOnAllAddresses {
		count = p.now.addresses(c.entry(p))
	}
	if t.Index >= count {
		index := fmt.Sprintf("[%d]", t.Index)
		c.bad(p, index, "", "there is no address %s: it has %d per family, counted from [0]", index, count)
	}
}

// entry is the node through which a probe enters.
func (c *checker) entry(p probe) *Node {
	if n := c.cast.nodes[*p.via]; n != nil {
		return n
	}
	return c.cast.nodes[c.named(c.hasProxy)[0]]
}

// checkVia checks the node through which clients enter.
func (c *checker) checkVia(t Target, p probe) {
	if *p.via == "" {
		return
	}
	node := c.findNode(p.via)
	client := slices.ContainsFunc(*p.from, func(name string) bool { return c.cast.clients[name] != nil })
	switch {
	case node == nil:
	case !t.Kind.OfService() && t.Kind != TargetUnused:
		c.report(c.at(p.via), "leave it out", "via has no effect: %s is reached on its own address", *p.target)
	case !t.Kind.onNode() && !client:
		c.report(c.at(p.via), "leave it out", "via has no effect: no client is among those that probe, and nodes and pods enter where they are")
	case !node.Proxy:
		c.report(c.at(p.via), "add proxy: true to it, or choose "+strings.Join(c.named(c.hasProxy), " or "), "no proxy runs on node %s, so that nobody serves %s there", *p.via, *p.target)
	}
}

func (c *checker) hasProxy(name string) bool {
	n := c.cast.nodes[name]
	return n != nil && n.Proxy
}

// checkService checks a target that is a Service, as it is at this step.
func (c *checker) checkService(t Target, p probe) {
	ref := serviceRef(t.Namespace, t.Name)
	service := p.now.objects[ref]
	name := strings.TrimPrefix(ref.String(), "Service ")
	switch line := p.now.deleted[ref]; {
	case service == nil && line > 0:
		c.bad(p, name, "check it before, or apply it again", "%s was deleted on line %d", ref, line)
		return
	case service == nil:
		c.bad(p, name, "apply it in a step before; "+Suggest(name, p.now.services(), "Services"), "%s does not exist at this step", ref)
		return
	case !p.now.started:
		c.bad(p, "", "start the subject in a step before", "the subject was not started yet, so that nobody serves it")
	}
	c.checkKind(t, p, service)
	if t.Port != 0 && (reaches(p) || t.Kind == TargetNodePort) {
		c.checkServicePort(t, p, service)
	}
	for i, name := range *p.from {
		if n := c.host(name); n != nil && !n.Proxy && !t.Kind.onNode() {
			c.report(c.at(&(*p.from)[i]), "add proxy: true to it", "%s enters at node %s, where no proxy serves %s", name, n.Name, *p.target)
		}
	}
}

// checkKind checks that a Service has addresses of the kind that is asked for.
func (c *checker) checkKind(t Target, p probe, service *corev1.Service) {
	spec := &service.Spec
	word := string(t.Kind)
	isLB := spec.Type == corev1.ServiceTypeLoadBalancer
	switch t.Kind {
	case TargetClusterIP:
		if spec.ClusterIP == corev1.ClusterIPNone || spec.Type == corev1.ServiceTypeExternalName {
			c.bad(p, word, "", "%s has no cluster address", service.Name)
		}
	case TargetLB:
		switch {
		case !isLB:
			c.bad(p, word, "write spec: {type: LoadBalancer} in its manifest", "%s is no LoadBalancer", service.Name)
		case !c.scenario.Subject.Options.LoadBalancer:
			c.bad(p, word, "write subject: {options: {loadBalancer: true}}", "the subject does not hand out LoadBalancer addresses")
		}
	case TargetExternal:
		if len(spec.ExternalIPs) == 0 {
			c.bad(p, word, "add externalIPs to its spec", "%s has none", service.Name)
		}
	case TargetNodePort:
		without := spec.AllocateLoadBalancerNodePorts != nil && !*spec.AllocateLoadBalancerNodePorts
		switch {
		case spec.Type != corev1.ServiceTypeNodePort && !isLB:
			c.bad(p, word, "write spec: {type: NodePort} in its manifest", "%s has no node ports", service.Name)
		case isLB && without:
			c.bad(p, word, "", "%s has allocateLoadBalancerNodePorts: false", service.Name)
		case p.kind == probePing:
			c.bad(p, word, "write node(…)", "a node port is not pinged, its node is")
		}
	case TargetHealth:
		switch {
		case !isLB || spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal:
			c.bad(p, word, "write type: LoadBalancer and externalTrafficPolicy: Local in its spec", "%s has no health-check node port", service.Name)
		case p.kind == probePing:
			c.bad(p, word, "write node(…)", "a node port is not pinged, its node is")
		}
	}
}

// checkServicePort checks that the Service has the port.
func (c *checker) checkServicePort(t Target, p probe, service *corev1.Service) {
	if servicePort(service, t) != nil {
		return
	}
	c.bad(p, fmt.Sprintf(":%d", t.Port), "its ports: "+portsOf(service), "%s has no port %d/%s",
		service.Name, t.Port, strings.ToLower(string(t.Protocol)))
}

// servicePort is the port of a Service that a target means, or nil.
func servicePort(service *corev1.Service, t Target) *corev1.ServicePort {
	i := slices.IndexFunc(service.Spec.Ports, func(port corev1.ServicePort) bool {
		return port.Port == int32(t.Port) && protocolOf(port) == t.Protocol
	})
	if i < 0 {
		return nil
	}
	return &service.Spec.Ports[i]
}

func protocolOf(port corev1.ServicePort) world.Protocol {
	if port.Protocol == "" {
		return world.TCP
	}
	return world.Protocol(port.Protocol)
}

// checkBackend checks that a pod can answer for the target at all.
func (c *checker) checkBackend(name *string, pod *Pod, t Target, p probe) {
	at := c.at(name)
	service := p.now.objects[serviceRef(t.Namespace, t.Name)]
	switch {
	case p.kind != probeReach:
		c.report(at, "leave backends out", "backends say who may answer a reach; this is a %s", p.kind)
	case t.Kind == TargetAPIServer || t.isAPIService():
		c.report(at, "leave backends out", "the API server answers, not a pod")
	case t.Kind == TargetHealth:
		c.report(at, "leave backends out", "the proxy answers, not a pod")
	case t.Kind == TargetPod:
		if pod.Name != t.Name {
			c.report(at, "leave backends out", "only pod %s can answer on its own address", t.Name)
		}
	case len(pod.Listen) == 0:
		c.report(at, "give it listen: [8080/tcp]", "pod %s listens on nothing, so that it cannot answer", *name)
	case service != nil && len(service.Spec.Selector) > 0:
		c.checkEndpoint(at, p.now.life(pod), t, service)
	}
}

// checkEndpoint checks that a pod is an endpoint of the Service's port that traffic can go to.
func (c *checker) checkEndpoint(at spot, pod Life, t Target, service *corev1.Service) {
	for _, key := range slices.Sorted(maps.Keys(service.Spec.Selector)) {
		if value := service.Spec.Selector[key]; pod.Labels[key] != value {
			c.report(at, fmt.Sprintf("give it labels: {%s: %s}", key, value), "pod %s is no endpoint of %s, which selects %s=%s", pod.Name, service.Name, key, value)
			return
		}
	}
	if pod.Gone {
		c.report(at, "", "pod %s is gone at this step, so that it is no endpoint of %s", pod.Name, service.Name)
	}
	if pod.Unready && !service.Spec.PublishNotReadyAddresses {
		c.report(at, "", "pod %s is not ready, so that it is no endpoint of %s", pod.Name, service.Name)
	}
	port := servicePort(service, t)
	if port == nil || port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != "" {
		return
	}
	number := port.TargetPort.IntVal
	if number == 0 {
		number = port.Port
	}
	if !pod.listens(uint16(number), t.Protocol) {
		c.report(at, fmt.Sprintf("add %d/%s to its listen, or correct the targetPort", number, strings.ToLower(string(t.Protocol))),
			"%s sends to port %d/%s of pod %s, which listens on %s", service.Name, number, strings.ToLower(string(t.Protocol)), pod.Name, pod.ports())
	}
}

// checkHolds checks the holds. Their targets have to be there from the beginning.
func (c *checker) checkHolds() {
	for i := range c.scenario.Hold {
		c.checkHold(&c.scenario.Hold[i])
	}
}

func (c *checker) checkHold(h *Hold) {
	p := probe{&h.To, &h.From, &h.Via, probeHold, newStory(StartFirst)}
	if h.Kind != "" && !slices.Contains(holdKinds(), h.Kind) {
		c.report(c.at(&h.Kind), Suggest(h.Kind, holdKinds(), "kinds of holds"), "unknown kind of hold %q", h.Kind)
		return
	}
	if h.Kind == HoldPing {
		p.kind = probePing
	}
	t, err := parseTarget(h.To)
	if err == nil && t.Kind.OfService() && !t.isAPIService() {
		c.checkFrom(p.from)
		c.bad(p, "", "hold the API server, a node, a pod or clusterip(kubernetes):443", "a hold begins before the first step, when %s does not exist", serviceRef(t.Namespace, t.Name))
		return
	}
	if err == nil && t.isAPIService() && c.scenario.Subject.Start == StartByStep {
		c.bad(p, "", "hold apiserver(…)", "with start: by-step nobody serves it when the hold begins")
	}
	t, ok := c.checkProbe(p)
	if ok && p.kind != probePing && t.Protocol == world.SCTP {
		c.report(c.at(&h.To), "expect it in a step", "%s speaks SCTP, which cannot be held", h.To)
		return
	}
	if ok && h.Kind != "" && h.Kind != HoldPing && h.Kind != speaks(t) {
		c.report(c.at(&h.Kind), "leave kind out", "%s speaks %s, not %s", h.To, speaks(t), h.Kind)
	}
}

// speaks is the kind of hold that a target with a port understands.
func speaks(t Target) string {
	switch {
	case t.Kind == TargetAPIServer || t.isAPIService():
		return HoldHTTPS
	case t.Protocol == world.UDP:
		return HoldUDP
	}
	return HoldTCP
}
