package scenario

import (
	"regexp"
	"slices"
	"strings"

	"proxyproof/sim/world"
)

// checker looks for what is well-formed and yet makes no sense, before anything is booted.
type checker struct {
	*decoder
	scenario  *Scenario
	manifests map[*Step][]object
	cast      cast
}

// at is where the first of the values stands that is in the file at all.
func (c *checker) at(values ...any) spot {
	for _, v := range values {
		if at, ok := c.decoder.places[v]; ok {
			return at
		}
	}
	return spot{1, 1, 1}
}

// check looks at the world first: what happens in it makes sense only if it does.
func (c *checker) check() {
	c.checkHead()
	c.checkFamilies()
	before := len(c.problems)
	c.checkWorld()
	c.checkSubject()
	if len(c.problems) > before {
		return
	}
	c.checkHolds()
	c.checkSteps()
	if len(c.problems) == before {
		c.checkAdmission()
	}
}

// issueForm is owner/repository#number.
var issueForm = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+#[1-9][0-9]*$`)

func (c *checker) checkHead() {
	s := c.scenario
	c.checkName(&s.Name, "scenario")
	if s.Description == "" {
		c.report(c.at(&s.Description), "tell in a sentence or two what must hold, and why", "description is empty")
	}
	if s.Issue != "" && !issueForm.MatchString(s.Issue) {
		c.report(c.at(&s.Issue), "write owner/repository#number, such as cloudnativelabs/kube-router#1685", "issue %q is not understood", s.Issue)
	}
	c.checkNames(s.Tags, "tag")
	for i, tag := range s.Tags {
		if slices.Contains(AllFamilies, FamilySet(tag)) {
			c.report(c.at(&s.Tags[i]), "remove it: every case has its family set for a label anyway", "tag %q is a family set", tag)
		}
	}
	c.checkNames(s.Catches, "defect")
	for name, reason := range s.Exempt {
		at := c.at(mapKey{&s.Exempt, name})
		switch {
		case !slices.Contains(Invariants(), name):
			c.report(at, Suggest(name, Invariants(), "invariants"), "exempt: unknown invariant %q", name)
		case strings.TrimSpace(reason) == "":
			c.report(at, "say why it cannot hold here", "exempt: %s has no reason", name)
		}
	}
}

// checkName checks the name of a thing.
func (c *checker) checkName(name *string, what string) {
	if !isLabel(*name) {
		c.report(c.at(name), nameRule, "%q is no name for a %s", *name, what)
	}
}

// checkNames checks a list of names, each of which may come once.
func (c *checker) checkNames(list []string, what string) {
	for i := range list {
		c.checkName(&list[i], what)
		if slices.Contains(list[:i], list[i]) {
			c.report(c.at(&list[i]), "remove one of the two", "%s %s comes twice", what, list[i])
		}
	}
}

func (c *checker) checkFamilies() {
	s := c.scenario
	at, written := c.decoder.places[&s.Families]
	if written && len(s.Families) == 0 {
		c.report(at, "leave the field out for all four", "families: the list is empty, so that no case would run")
	}
	for i, f := range s.Families {
		if slices.Contains(s.Families[:i], f) {
			c.report(c.at(&s.Families[i]), "remove one of the two", "family set %s comes twice", f)
		}
	}
}

// cast is who is in the world, by name.
type cast struct {
	nodes   map[string]*Node
	pods    map[string]*Pod
	clients map[string]*Client
	all     []string // in the order of the file
}

// checkWorld checks nodes, pods and clients, and remembers who there is.
func (c *checker) checkWorld() {
	w := &c.scenario.World
	c.cast = cast{map[string]*Node{}, map[string]*Pod{}, map[string]*Client{}, nil}
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if c.enter(&n.Name, "node") {
			c.cast.nodes[n.Name] = n
		}
		if at, written := c.decoder.places[&n.Addresses]; written && n.Addresses != 1 && n.Addresses != 2 {
			c.report(at, "write 1 or 2", "node %s cannot have %d addresses per family", n.Name, n.Addresses)
		}
	}
	c.checkRoles()
	for i := range w.Pods {
		c.checkPod(&w.Pods[i])
	}
	for i := range w.Clients {
		if c.enter(&w.Clients[i].Name, "client") {
			c.cast.clients[w.Clients[i].Name] = &w.Clients[i]
		}
	}
}

// enter gives a name to a place; false if it cannot have it.
func (c *checker) enter(name *string, what string) bool {
	c.checkName(name, what)
	if slices.Contains(c.cast.all, *name) {
		c.report(c.at(name), "nodes, pods and clients share one set of names: choose another", "the name %s is taken", *name)
		return false
	}
	c.cast.all = append(c.cast.all, *name)
	return true
}

// checkRoles checks that there is one API server and at least one proxy.
func (c *checker) checkRoles() {
	w := &c.scenario.World
	servers, proxies := 0, 0
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if n.Proxy {
			proxies++
		}
		if n.APIServer {
			if servers++; servers == 2 {
				c.report(c.at(&n.APIServer), "remove it from one of the nodes", "a second node has apiServer: true; there is one API server")
			}
			if n.Standby {
				c.report(c.at(&n.Standby), "give it to another node", "node %s has apiServer: true, too; both listen on port 6443", n.Name)
			}
		}
	}
	if servers == 0 {
		c.report(c.at(&w.Nodes, w), "add apiServer: true to one", "no node has the API server")
	}
	if proxies == 0 {
		c.report(c.at(&w.Nodes, w), "add proxy: true to at least one", "no node has the proxy that is to be tested")
	}
}

func (c *checker) checkPod(p *Pod) {
	if c.enter(&p.Name, "pod") {
		c.cast.pods[p.Name] = p
	}
	c.findNode(&p.Node)
	for i, port := range p.Listen {
		if slices.Contains(p.Listen[:i], port) {
			c.report(c.at(&p.Listen[i]), "remove one of the two", "pod %s listens on %s twice", p.Name, port)
		}
	}
	for key, value := range p.Labels {
		if err := labelError(key, value); err != nil {
			c.report(c.at(mapKey{&p.Labels, key}), "", "labels of pod %s: %v", p.Name, err)
		}
	}
}

// findNode checks that a node exists.
func (c *checker) findNode(name *string) *Node {
	n := c.cast.nodes[*name]
	if n == nil {
		c.report(c.at(name), Suggest(*name, c.nodeNames(), "nodes"), "node %s does not exist", *name)
	}
	return n
}

// findPod checks that a pod exists.
func (c *checker) findPod(name *string) *Pod {
	p := c.cast.pods[*name]
	if p == nil {
		c.report(c.at(name), Suggest(*name, c.podNames(), "pods"), "pod %s does not exist", *name)
	}
	return p
}

func (c *checker) nodeNames() []string {
	return c.named(func(n string) bool { return c.cast.nodes[n] != nil })
}

func (c *checker) podNames() []string {
	return c.named(func(n string) bool { return c.cast.pods[n] != nil })
}

func (c *checker) clientNames() []string {
	return c.named(func(n string) bool { return c.cast.clients[n] != nil })
}

// named are the names of those in the world for whom something is true.
func (c *checker) named(is func(string) bool) []string {
	var list []string
	for _, name := range c.cast.all {
		if is(name) {
			list = append(list, name)
		}
	}
	return list
}

// host is the node on which a node or pod is; nil for a client.
func (c *checker) host(name string) *Node {
	if p := c.cast.pods[name]; p != nil {
		name = p.Node
	}
	return c.cast.nodes[name]
}

func (c *checker) checkSubject() {
	s := &c.scenario.Subject
	for i := range s.Options.ExcludedCIDRs {
		if name := &s.Options.ExcludedCIDRs[i]; !slices.Contains(rangeNames, *name) {
			c.report(c.at(name), Suggest(*name, rangeNames, "ranges"), "range %s does not exist", *name)
		}
	}
	if at, written := c.decoder.places[&s.Options.LoadBalancerPool]; written {
		if n := s.Options.LoadBalancerPool; n < 4 || n > 64 || n&(n-1) != 0 {
			c.report(at, "write 4, 8, 16, 32 or 64", "loadBalancerPool: %d is no size of a range", n)
		}
	}
	if at, written := c.decoder.places[&s.Options.SyncPeriod]; written && s.Options.SyncPeriod == 0 {
		c.report(at, "leave it out for 5m", "syncPeriod: a proxy that never rests cannot be waited for")
	}
	if s.API != APINodeAddress {
		return
	}
	for _, n := range c.scenario.World.Nodes {
		if n.APIServer && !n.Proxy {
			c.report(c.at(&s.API), "add proxy: true to node "+n.Name+", or remove api",
				"api: node-address makes no difference, as the proxy that could cut this path is not on the API server's node %s", n.Name)
		}
	}
}

// phrase reports which part of a target or reference is wrong, where it stands.
func (c *checker) phrase(at spot, e *phraseError) {
	c.report(c.source.within(at, e.part), e.suggestion, "%s", e.message)
}

// listens tells whether a pod answers on a port.
func (p *Pod) listens(number uint16, protocol world.Protocol) bool {
	return slices.Contains(p.Listen, Port{world.Port{Number: number, Protocol: protocol}})
}

// ports are what a pod listens on, in words.
func (p *Pod) ports() string {
	if len(p.Listen) == 0 {
		return "nothing"
	}
	var list []string
	for _, port := range p.Listen {
		list = append(list, port.String())
	}
	return strings.Join(list, ", ")
}
