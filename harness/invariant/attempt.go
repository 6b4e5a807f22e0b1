package invariant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"proxyproof/harness/oracle"
	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// Attempt is a connection or a ping that did not get what it asked for, as the place that made it saw it.
type Attempt struct {
	// From is the place, and Entry the node whose kernel the packets meet first: a node itself, that of a pod, the one through which a
	// client enters. FromNode: they begin on that node.
	From, Entry string
	FromNode    bool
	// Local is the source address; the zero Addr if it is not known.
	Local, To netip.Addr
	Port      uint16
	Protocol  string // "tcp", "udp", "sctp", "icmp"
	// Home is the node, pod or client whose own address To is, and HomeNode the node that it is, or is behind; "" for a VIP.
	Home, HomeNode string
	// Connected: a connection was made, so that no packet was rejected or lost.
	Connected bool
	// Offender is the source of the ICMP error that ended the attempt; the zero Addr if none came.
	Offender netip.Addr
}

// Explain tells from the kernels of all nodes with a proxy what became of an attempt: who sent the ICMP error, which nodes have the
// address and why, and which rule of which node decided. It says nothing about a node that it has no view of.
func Explain(a Attempt, views []View) []string {
	if !a.To.IsValid() {
		return nil
	}
	w := way{a, slices.DeleteFunc(slices.Clone(views), func(v View) bool { return v.Now == nil })}
	lines := append(w.sender(), w.carriers()...)
	return append(lines, w.fate()...)
}

// way is that of an attempt's packets through the nodes.
type way struct {
	Attempt
	views []View
}

func (w way) view(name string) (View, bool) {
	i := slices.IndexFunc(w.views, func(v View) bool { return v.Node.Name == name })
	if i < 0 {
		return View{}, false
	}
	return w.views[i], true
}

// sender tells who sent the ICMP error. A kernel that rejects what ends on it takes the address that was asked for as the source: if the
// first node has that address, it was this one, whoever else has it.
func (w way) sender() []string {
	if !w.Offender.IsValid() {
		return nil
	}
	if entry, ok := w.view(w.Entry); ok && entry.carries(w.Offender) {
		return []string{fmt.Sprintf("node %s sent the ICMP error: it has its source %s on %s, and is the first that the packet meets", w.Entry, w.Offender, entry.linkOf(w.Offender))}
	}
	for _, v := range w.views {
		if v.carries(w.Offender) {
			return []string{fmt.Sprintf("node %s sent the ICMP error: it has its source %s on %s", v.Node.Name, w.Offender, v.linkOf(w.Offender))}
		}
	}
	switch w.Offender {
	case w.Local:
		return []string{fmt.Sprintf("%s itself reports the error: no neighbour answers for the address", w.From)}
	case w.To:
		if w.Home != "" {
			return []string{fmt.Sprintf("%s sent the ICMP error: its source is the address that was asked for", w.Home)}
		}
	}
	return []string{fmt.Sprintf("the ICMP error has the source %s, which no node with a proxy has", w.Offender)}
}

func (v View) linkOf(a netip.Addr) string {
	link, _ := linkOf(v.Now, a.String())
	return link
}

// carriers tells which nodes have the address that should not, or do not have it and should, and through what.
func (w way) carriers() []string {
	var lines []string
	for _, v := range w.views {
		name := v.Node.Name
		switch {
		case v.carries(w.To) && name == w.HomeNode && plainLink(v.linkOf(w.To)): // its own
		case v.carries(w.To):
			line := fmt.Sprintf("node %s has %s on %s, %s", name, w.To, v.linkOf(w.To), v.claims(w.To))
			if w.Home != "" {
				line += fmt.Sprintf("; it is an address of %s", w.Home)
			}
			lines = append(lines, line)
		case name == w.Entry && w.Home == "":
			lines = append(lines, fmt.Sprintf("node %s does not have %s, %s", name, w.To, v.claims(w.To)))
		}
		if name == w.Entry {
			lines = append(lines, v.barriers(w.To)...)
		}
	}
	return append(lines, w.thieves()...)
}

// thieves are the nodes that have an address which answers are sent to: the first node's, which is that of the place, or the one behind which it is masqueraded.
func (w way) thieves() []string {
	entry, ok := w.view(w.Entry)
	if !ok {
		return nil
	}
	var lines []string
	for _, a := range entry.Node.Addresses[world.FamilyOf(w.To)] {
		for _, v := range w.views {
			if v.Node.Name != w.Entry && a != w.To && v.carries(a) {
				lines = append(lines, fmt.Sprintf("node %s has %s on %s, %s; it is an address of %s, and answers to it end there",
					v.Node.Name, a, v.linkOf(a), v.claims(a), w.Entry))
			}
		}
	}
	return lines
}

// claims tells which Services name an address, whether it is right that they do or not.
func (v View) claims(a netip.Addr) string {
	var all []string
	for _, s := range v.Objects.Services {
		for _, field := range fieldsWith(s, a) {
			all = append(all, fmt.Sprintf("%s of Service %s/%s", field, s.Namespace, s.Name))
		}
	}
	switch {
	case len(all) > 0:
		return "which is in " + list(all)
	case slices.ContainsFunc(v.before().Addrs, func(have netstate.Addr) bool { return have.Prefix.Addr() == a }):
		return "where the subject did not put it"
	}
	return "which no Service has"
}

// fieldsWith are the fields of a Service that hold an address.
func fieldsWith(s *corev1.Service, a netip.Addr) []string {
	var ingress []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		ingress = append(ingress, i.IP)
	}
	var fields []string
	for _, f := range []struct {
		name   string
		values []string
	}{{"spec.clusterIPs", s.Spec.ClusterIPs}, {"spec.externalIPs", s.Spec.ExternalIPs}, {"status.loadBalancer.ingress", ingress}} {
		if slices.ContainsFunc(f.values, func(text string) bool {
			got, err := netip.ParseAddr(text)
			return err == nil && got == a
		}) {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// barriers are routes to exactly the address that lead nowhere.
func (v View) barriers(a netip.Addr) []string {
	var lines []string
	for _, r := range v.Now.Routes {
		if r.Dst != netip.PrefixFrom(a, a.BitLen()) || !slices.Contains([]string{"unreachable", "blackhole", "prohibit"}, r.Type) {
			continue
		}
		line := fmt.Sprintf("node %s has a route to %s that is %s", v.Node.Name, a, r.Type)
		for _, i := range v.Injected {
			if i.State != nil && slices.Contains(i.State.Routes, r) {
				line += fmt.Sprintf("; it is foreign: %q of the scenario", i.Name)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// hook is where a kernel looks at a packet: tables in the order in which it asks them.
type hook struct {
	chain  string
	tables []string
}

var (
	prerouting = hook{"PREROUTING", []string{"raw", "mangle", "nat"}}
	input      = hook{"INPUT", []string{"mangle", "filter"}}
	forward    = hook{"FORWARD", []string{"mangle", "filter"}}
	output     = hook{"OUTPUT", []string{"raw", "mangle", "nat", "filter"}}
)

// stage is what one node does with a packet.
type stage struct {
	View
	hook
	packet
}

// String is such as "INPUT of node cp".
func (s stage) String() string { return fmt.Sprintf("%s of node %s", s.chain, s.Node.Name) }

// request is the first packet of the attempt.
func (w way) request() packet {
	p := packet{family: world.FamilyOf(w.To), from: w.Local, to: w.To, port: w.Port, protocol: w.Protocol}
	return p.echo(8, 128)
}

// response is the first packet that comes back.
func (w way) response() packet {
	p := packet{family: world.FamilyOf(w.To), from: w.To, to: w.Local, protocol: w.Protocol, answer: true}
	return p.echo(0, 129)
}

// echo makes a ping one of the packet's family.
func (p packet) echo(v4, v6 int) packet {
	if p.protocol != "icmp" {
		return p
	}
	p.icmp = v4
	if p.family == world.IPv6 {
		p.protocol, p.icmp = "icmpv6", v6
	}
	return p
}

// stages are those of the request, and then of the answer, as far as there are views of the nodes.
func (w way) stages() []stage {
	var all []stage
	add := func(v View, p packet, hooks ...hook) {
		for _, h := range hooks {
			all = append(all, stage{v, h, p})
		}
	}
	request, response := w.request(), w.response()
	entry, enters := w.view(w.Entry)
	home, arrives := w.view(w.HomeNode)
	if enters && w.FromNode {
		add(entry, request, output)
	}
	switch {
	case enters && entry.carries(w.To):
		if !w.FromNode {
			add(entry, request, prerouting)
		}
		add(entry, request, input)
		arrives, home = true, entry
	case enters && !w.FromNode:
		add(entry, request, prerouting, forward)
	}
	if arrives && home.Node.Name != w.Entry {
		add(home, request, prerouting)
		if home.carries(w.To) {
			add(home, request, input)
		} else {
			add(home, request, forward)
		}
	}
	if arrives && home.carries(w.To) {
		add(home, response, output)
	}
	if enters && w.FromNode && entry.carries(w.Local) {
		add(entry, response, input)
	}
	return all
}

// fate tells which node decided what becomes of the packets, and by what: a rule, IPVS, or nothing that is known.
func (w way) fate() []string {
	stages := w.stages()
	var passed []string
	for _, s := range stages {
		for _, table := range s.tables {
			d := s.judgeChain(table, s.chain, s.packet)
			if d.final() && !(w.Connected && d.verdict != redirect) || d.verdict == unknown && table == "filter" {
				return s.decided(d)
			}
		}
		passed = append(passed, s.String())
		if line := s.virtual(); line != "" {
			return []string{line}
		}
	}
	if len(passed) == 0 {
		return nil
	}
	var lines []string
	for _, s := range stages {
		if s.chain == input.chain && !s.answer {
			lines = append(lines, s.explainService(s.packet), s.explainLocal(s.packet))
			if s.Node.Name != w.HomeNode && w.Home != "" {
				return append(lines, fmt.Sprintf("no rule rejects %s: it ends on node %s, which is not %s", s.what(), s.Node.Name, w.Home))
			}
		}
	}
	return append(lines, fmt.Sprintf("no rule on the way rejects %s: %s", stages[0].what(), strings.Join(passed, ", ")))
}

// decided tells how a stage ended the way.
func (s stage) decided(d decision) []string {
	if d.table != "filter" || s.chain != input.chain || s.foreignRule(d) != "" {
		return []string{s.explainDecision(d, s.packet)}
	}
	return []string{s.explainService(s.packet), s.explainLocal(s.packet), s.explainDecision(d, s.packet)}
}

// virtual tells where IPVS leads a packet that ends or begins on the node.
func (s stage) virtual() string {
	if s.answer || s.chain != input.chain && s.chain != output.chain {
		return ""
	}
	for _, v := range s.Now.IPVS {
		if v.Address != s.to || v.Port != s.port || !strings.EqualFold(v.Protocol, s.protocolName()) {
			continue
		}
		var dests []string
		for _, d := range v.Dests {
			dests = append(dests, fmt.Sprintf("%s (weight %d)", netip.AddrPortFrom(d.Address, d.Port), d.Weight))
		}
		why := "which comes from no Service"
		if want, ok := s.expectation().Find(oracle.Key{Address: v.Address, Protocol: world.Protocol(v.Protocol), Port: v.Port}); ok {
			why = want.Why()
		}
		return fmt.Sprintf("IPVS of node %s has a virtual service there (%s) and leads it to %s", s.Node.Name, why, list(dests))
	}
	return ""
}

// what names the packet of a stage.
func (p packet) what() string {
	switch {
	case p.answer && p.isICMP():
		return "the answer to the ping"
	case p.answer:
		return "the answer"
	case p.isICMP():
		return "a ping of it"
	case p.port == 0:
		return fmt.Sprintf("a new %s connection to a port of it that is no service's", strings.ToUpper(p.protocolName()))
	}
	return fmt.Sprintf("a new %s connection to port %d of it", strings.ToUpper(p.protocolName()), p.port)
}

// foreignRule is the name of the foreign thing that a rule is of; "" if the scenario has not put it there.
func (v View) foreignRule(d decision) string {
	for _, i := range v.Injected {
		if i.State == nil {
			continue
		}
		for _, t := range i.State.Tables {
			if c, ok := findChain(t, d.chain); ok && t.Name == d.table && slices.ContainsFunc(c.Rules, func(r netstate.Rule) bool { return r.Spec == d.rule.Spec }) {
				return i.Name
			}
		}
	}
	return ""
}

// placeOf names the rule that decided, with its node and table, and its owner if it is foreign.
func (v View) placeOf(d decision) string {
	place := d.place()
	if d.table != "" && d.table != "filter" {
		place += " in table " + d.table
	}
	place += " on node " + v.Node.Name
	if name := v.foreignRule(d); name != "" {
		return fmt.Sprintf("the foreign rule of %q (%s)", name, place)
	}
	return place
}
