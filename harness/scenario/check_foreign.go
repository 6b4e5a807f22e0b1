package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rangeNames are the ranges of addresses that scenarios can name.
var rangeNames = []string{"nodes", "services", "externals", "loadbalancers"}

// checkForeign checks what somebody else puts into the kernel.
func (c *checker) checkForeign(step *Step, now *story) {
	if len(step.Foreign) == 0 {
		c.report(c.at(&step.Foreign), "add a thing, or remove the step", "foreign is empty")
	}
	for i := range step.Foreign {
		f := &step.Foreign[i]
		c.checkName(&f.Name, "foreign thing")
		if line := now.foreign[f.Name]; line > 0 {
			c.report(c.at(&f.Name), "choose another name, or withdraw it before", "%s is there already, since line %d", f.Name, line)
		}
		now.foreign[f.Name] = c.at(f).line
		if f.On != "" {
			c.findNode(&f.On)
		}
		c.checkThing(f, now)
	}
}

func (c *checker) checkWithdraw(step *Step, now *story) {
	for i := range step.Withdraw {
		name := &step.Withdraw[i]
		if now.foreign[*name] == 0 {
			c.report(c.at(name), Suggest(*name, slices.Sorted(maps.Keys(now.foreign)), "foreign things"), "no foreign thing is called %s at this step", *name)
		}
		delete(now.foreign, *name)
	}
}

// setNames are the proxy's sets, as disturb names them.
var setNames = []string{"local-ips", "svip", "svip-prt"}

// checkDisturb checks what is taken away from the proxy.
func (c *checker) checkDisturb(step *Step, now *story) {
	if len(step.Disturb) == 0 {
		c.report(c.at(&step.Disturb), "add a disturbance, or remove the step", "disturb is empty")
	}
	for i := range step.Disturb {
		d := &step.Disturb[i]
		if d.On != "" {
			c.findNode(&d.On)
		}
		kinds := c.written(map[string]any{"ipvs": &d.IPVS, "ipset": &d.IPSet, "address": &d.Address, "chain": &d.Chain, "neighbours": &d.Neighbours})
		if len(kinds) != 1 {
			c.report(c.at(d), "write exactly one of ipvs, ipset, address, chain, neighbours", "the disturbance is %d things", len(kinds))
			continue
		}
		if _, written := c.decoder.places[&d.Members]; written != (kinds[0] == "ipset") {
			c.report(c.at(d), "ipset and members go together", "members say what is taken out of an ipset")
		}
		switch kinds[0] {
		case "ipvs":
			c.checkAddressed(&d.IPVS, true, now)
		case "address":
			c.checkAddressed(&d.Address, false, now)
		case "ipset":
			if !slices.Contains(setNames, d.IPSet) {
				c.report(c.at(&d.IPSet), Suggest(d.IPSet, setNames, "sets"), "the proxy has no set %q", d.IPSet)
			}
			for j := range d.Members {
				c.checkAddressed(&d.Members[j], d.IPSet == "svip-prt", now)
			}
		}
	}
}

// companions are the fields that only go with some kinds of things.
var companions = map[string][]string{
	"to": {"ipvs", "mark"}, "members": {"ipset"}, "link": {"address"}, "table": {"rule"}, "chain": {"rule"}, "first": {"rule"},
}

// checkThing checks one thing by its kind.
func (c *checker) checkThing(f *Foreign, now *story) {
	kinds := c.written(map[string]any{
		"ipvs": &f.IPVS, "mark": &f.Mark, "ipset": &f.IPSet, "address": &f.Address, "route": &f.Route, "rule": &f.Rule,
	})
	if len(kinds) != 1 {
		c.report(c.at(f), "write exactly one of ipvs, mark, ipset, address, route, rule", "foreign %s is %d things", f.Name, len(kinds))
		return
	}
	for _, extra := range c.written(map[string]any{
		"to": &f.To, "members": &f.Members, "link": &f.Link, "table": &f.Table, "chain": &f.Chain, "first": &f.First,
	}) {
		if !slices.Contains(companions[extra], kinds[0]) {
			c.report(c.at(f), "leave it out", "%s does not go with %s, but with %s", extra, kinds[0], strings.Join(companions[extra], " and "))
		}
	}
	switch kinds[0] {
	case "ipvs":
		c.checkAddressed(&f.IPVS, true, now)
	case "mark":
		if f.Mark < 1 || f.Mark > 1<<31-1 {
			c.report(c.at(&f.Mark), "", "%d is no firewall mark", f.Mark)
		}
	case "ipset":
		if len(f.IPSet) > 25 || strings.ContainsAny(f.IPSet, " \t\"") { // 31 with "inet6:" before it
			c.report(c.at(&f.IPSet), "", "%q is no name of an ipset: it has at most 25 characters and no space", f.IPSet)
		}
	case "address":
		c.checkAddressed(&f.Address, false, now)
		if len(f.Link) > 15 || strings.ContainsAny(f.Link, " /") {
			c.report(c.at(&f.Link), "", "%q is no name of a link", f.Link)
		}
	case "route":
		c.checkAddressed(&f.Route, false, now)
	case "rule":
		c.checkRule(f)
	}
	for i := range f.To {
		c.checkDestination(&f.To[i])
	}
	for i := range f.Members {
		c.checkAddressed(&f.Members[i], false, now)
	}
}

// checkRule checks only what iptables would not: its own errors say more.
func (c *checker) checkRule(f *Foreign) {
	switch words := strings.Fields(f.Rule); {
	case len(words) == 0:
		c.report(c.at(&f.Rule), `such as "-p tcp --dport 9 -j DROP"`, "the rule is empty")
	case slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains([]string{"-A", "-I", "-D", "-N", "-F", "-X", "-P", "-t", "--append", "--insert", "--delete", "--table"}, w)
	}):
		c.report(c.at(&f.Rule), "use the fields table, chain and first", "the rule holds a command of iptables")
	}
}

// checkDestination checks a real server: a pod with a port that it listens on; false if it is none.
func (c *checker) checkDestination(written *string) bool {
	before := len(c.problems)
	t, err := parseTarget(*written)
	pod := c.cast.pods[t.Name]
	switch {
	case err != nil:
		c.phrase(c.at(written), err)
	case t.Kind != TargetPod || t.Port == 0:
		c.report(c.at(written), `such as "pod(web-1):8080"`, "a destination is a pod with a port")
	case pod == nil:
		c.report(c.at(written), Suggest(t.Name, c.podNames(), "pods"), "pod %s does not exist", t.Name)
	case !pod.listens(t.Port, t.Protocol):
		c.report(c.at(written), "add the port to its listen", "pod %s listens on %s", t.Name, pod.ports())
	}
	return len(c.problems) == before
}

// checkAddressed checks a target of which only the addresses are used, and perhaps a port.
func (c *checker) checkAddressed(written *string, wantsPort bool, now *story) {
	t, err := parseTarget(*written)
	if err != nil {
		c.phrase(c.at(written), err)
		return
	}
	at := c.at(written)
	if wantsPort != (t.Port != 0) {
		hint, what := "leave it out", "there is no port here"
		if wantsPort {
			hint, what = "add it: "+t.String()+":80", "the port is missing"
		}
		c.report(at, hint, "%s: %s", t, what)
	}
	if message, hint := c.absent(t, now); message != "" {
		c.report(at, hint, "%s", message)
	}
}

// absent tells that a target is not there at this step.
func (c *checker) absent(t Target, now *story) (message, hint string) {
	missing := func(kind string, names []string) (string, string) {
		return fmt.Sprintf("%s %s does not exist", kind, t.Name), Suggest(t.Name, names, kind+"s")
	}
	switch {
	case t.Kind.OfService() && now.objects[serviceRef(t.Namespace, t.Name)] == nil:
		return fmt.Sprintf("%s does not exist at this step", serviceRef(t.Namespace, t.Name)), Suggest(t.Name, now.services(), "Services")
	case t.Kind == TargetUnused && !slices.Contains(rangeNames, t.Name):
		return missing("range", rangeNames)
	case (t.Kind == TargetNode || t.Kind == TargetAPIServer) && c.cast.nodes[t.Name] == nil:
		return missing("node", c.nodeNames())
	case t.Kind == TargetPod && c.cast.pods[t.Name] == nil:
		return missing("pod", c.podNames())
	case t.Kind == TargetClient && c.cast.clients[t.Name] == nil:
		return missing("client", c.clientNames())
	}
	return "", ""
}
