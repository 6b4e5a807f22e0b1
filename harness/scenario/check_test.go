package scenario

import (
	"fmt"
	"strings"
	"testing"
)

// TestBase: what the other tests break is whole, and what is read is what was written.
func TestBase(t *testing.T) {
	s, err := Parse("x.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, step := range s.Steps {
		titles = append(titles, fmt.Sprintf("%d %s", step.Line, step.Title()))
	}
	got := strings.Join(titles, "; ")
	if want := "21 apply Service example; 32 look; 38 restart the subject; 39 delete service/example"; got != want {
		t.Errorf("steps: got %s; want %s", got, want)
	}
	if got := s.Steps[1].Expect[2].Line; got != 36 {
		t.Errorf("the third check is said to be on line %d", got)
	}
	if got := s.Hold[1].Line; got != 19 {
		t.Errorf("the second hold is said to be on line %d", got)
	}
	if got := s.Hold[1].MaxOutage.String(); got != "1.5s" {
		t.Errorf("maxOutage: %s", got)
	}
	if got := s.Cases()[1].ID(); got != "example/dual-v6" {
		t.Errorf("second case: %s", got)
	}
}

// TestSense: each edit of base makes exactly one problem, at the text that is named, with this message and suggestion.
func TestSense(t *testing.T) {
	const apply = "  - delete: service/example\n"
	for _, test := range []struct{ old, new, at, message, suggestion string }{
		// The head.
		{"name: example\ndesc", "name: Example\ndesc", "Example", `"Example" is no name for a scenario`, "a name has lower-case"},
		{"A story.", `""`, `""`, "description is empty", "tell in a sentence"},
		{"kube-router#1685", "kube-router", "cloudnativelabs/kube-router", `issue "cloudnativelabs/kube-router" is not understood`, "write owner/repository#number"},
		{"[smoke]", "[smoke, smoke]", "", "tag smoke comes twice", "remove one"},
		{"[smoke]", "[ipv6]", "ipv6", `tag "ipv6" is a family set`, "remove it: every case"},
		{"[ipv4, dual-v6]", "[ipv4, ipv4]", "", "family set ipv4 comes twice", "remove one"},
		{"[ipv4, dual-v6]", "[]", "[]", "families: the list is empty, so that no case would run", "leave the field out"},
		{"svip: it", "svpi: it", "svpi", `exempt: unknown invariant "svpi"`, "did you mean svip? invariants: local-ips, svip, foreign, ipvs, firewall, subject"},
		{"svip: it is broken here", `svip: ""`, "svip", "exempt: svip has no reason", "say why"},
		{"[local-ips-ipv4-only]", "[local_ips]", "local_ips", `"local_ips" is no name for a defect`, "a name has"},
		// The world.
		{"clients: [{name: laptop}]", "clients: [{name: laptop}, {name: web-1}]", "web-1}]", "the name web-1 is taken", "nodes, pods and clients share"},
		{"addresses: 2", "addresses: 3", "3", "node cp cannot have 3 addresses per family", "write 1 or 2"},
		{"apiServer: true", "apiServer: true, standby: true", "true, proxy", "node cp has apiServer: true, too; both listen on port 6443", "give it to another node"},
		{"{name: worker}", "{name: worker, apiServer: true}", "true}", "a second node has apiServer: true; there is one API server", "remove it"},
		{"proxy: true, ", "", "", "no node has the proxy that is to be tested", "add proxy: true"},
		{"{name: idle, node: worker}", "{name: idle, node: wroker}", "wroker", "node wroker does not exist", "did you mean worker? nodes: cp, worker"},
		{"[8080/tcp, 53/udp]", "[8080/tcp, 8080/tcp]", "", "pod web-1 listens on 8080/tcp twice", "remove one"},
		{"[8080/tcp, 53/udp]", "[8080/tcp, 53/dccp]", "53/dccp", `listen[1]: port "53/dccp": unknown protocol "dccp"; want tcp, udp or sctp`, ""},
		{"[8080/tcp, 53/udp]", "[8080/tcp, 99999]", "99999", `listen[1]: port "99999": want a number from 1 to 65535`, ""},
		{"{app: web}, listen", `{app: "a b"}, listen`, "app", `labels of pod web-1: value "a b": a valid label`, ""},
		// The subject.
		{"syncPeriod: 5m", "syncPeriod: 0s", "0s", "syncPeriod: a proxy that never rests", "leave it out for 5m"},
		{"syncPeriod: 5m", "loadBalancerPool: 6", "6", "loadBalancerPool: 6 is no size of a range", "write 4"},
		{"syncPeriod: 5m", "syncPeriod: 5", "5}", `syncPeriod: "5" is no duration; want a number and a unit`, ""},
		{"maxOutage: 1.5s", "maxOutage: -1s", "-1s", "maxOutage: the duration -1s is negative", ""},
		// Holds.
		{"to: apiserver(cp)", "to: apiserver(worker)", "worker", "hold apiserver(worker): the API server is not on node worker", "it is on cp"},
		{"to: apiserver(cp)", `to: "lb(example):80"`, "\"lb(example):80\", max", "hold lb(example):80: a hold begins before the first step, when Service example does not exist", "hold the API server"},
		{"from: laptop, to", "from: [], to", "[]", "from: the list is empty", "places: cp, worker, web-1, idle, laptop"},
		{"kind: ping", "kind: pin", "pin", `unknown kind of hold "pin"`, "did you mean ping? kinds of holds: https, tcp, udp, ping"},
		{`"node(cp)[1]", kind: ping`, "apiserver(cp), kind: tcp", "tcp", "apiserver(cp) speaks https, not tcp", "leave kind out"},
		{`"node(cp)[1]", kind: ping`, `"clusterip(kubernetes):443"`, "idle", "idle enters at node worker, where no proxy serves clusterip(kubernetes):443", "add proxy: true to it"},
		// Steps.
		{"  - subject: restart\n", "  - name: nothing\n", "name: nothing", "the step does nothing", "add one of apply"},
		{"  - subject: restart\n", "  - {subject: restart, delete: service/example}\n", "{subject", "the step does 2 things at once: delete, subject", "make a step of each"},
		{"  - subject: restart\n", "  - subject: start\n", "start", "the subject runs already", "write subject: {start: by-step}"},
		{"  - subject: restart\n", "  - subject: stop\n  - subject: kill\n", "kill", "the subject does not run at this step: it cannot kill", "write start"},
		{"  - subject: restart\n", "  - subject: reboot\n", "reboot", `subject: unknown subject action "reboot"`, "subject actions: start, stop, kill, restart, swap"},
		{"  - subject: restart\n", "  - expect: []\n", "[]", "expect is empty", "add a check"},
		{apply, "  - delete: service/exmaple\n", "service/exmaple", "Service exmaple does not exist at this step", "did you mean service/example?"},
		{apply, "  - delete: svc/example\n", "svc/", `unknown kind of object "svc"`, "kinds: service, endpointslice, networkpolicy, namespace"},
		{apply, "  - delete: example\n", "example\nexempt", `"example" names no object`, "want kind/name"},
		{apply, "  - delete: [service/example, service/example]\n", "", "Service example was deleted already, on line 39", ""},
		{apply, "  - delete: service/kubernetes\n", "service/kubernetes", "Service kubernetes is part of every cluster", ""},
		{apply, "  - delete: namespace/other/x\n", "namespace/other/x", `"namespace/other/x": a Namespace is in no namespace`, "write namespace/x"},
		// Manifests.
		{"kind: Service\n", "kind: Servcie\n", "Servcie", `a scenario cannot apply the kind "Servcie"`, "did you mean Service? kinds: Service"},
		{"kind: Service\n", "kind: Pod\n", "Pod", `a scenario cannot apply the kind "Pod"`, "describe it under world: pods"},
		{"apiVersion: v1\n", "apiVersion: v2\n", "v2", `apiVersion: the harness has no Service in "v2"`, "write apiVersion: v1"},
		{"apiVersion: v1\n      ", "", "kind: Service", `the object lacks the field "apiVersion"`, "add apiVersion: v1"},
		{"name: example\n      spec", "labels: {}\n      spec", "apiVersion", "Service: the object has no name", "add metadata"},
		{"  - subject: restart\n", "  - apply: |\n      kind: Service\n      apiVersion: v1\n      metadata: {name: x, namespace: other}\n", "kind", "Service other/x: namespace other does not exist at this step", "apply a Namespace before it"},
		{"selector: {app: web}", "selector: {app: on}", "on}", "app: Kubernetes reads on as true or false", `write "on", with the quotes`},
		{"selector: {app: web}", "selector: {on: web}", "apiVersion", "Service: Kubernetes reads this differently: a key or value", "put texts in quotes"},
		// Checks.
		{`reach: "lb(example):80"`, `reach: "lb(example):88"`, ":88", "reach lb(example):88: example has no port 88/tcp", "its ports: 80/tcp, 53/udp"},
		{`reach: "lb(example):80"`, `reach: "lb(example):80/udp"`, ":80/udp", "reach lb(example):80/udp: example has no port 80/udp", "its ports"},
		{`reach: "lb(example):80"`, `reach: "lb(exmaple):80"`, "exmaple", "reach lb(exmaple):80: Service exmaple does not exist at this step", "apply it in a step before; did you mean example? Services: example, kubernetes"},
		{`reach: "lb(example):80"`, `reach: "ld(example):80"`, "ld", `target "ld(example):80": unknown kind "ld"`, "did you mean lb?"},
		{`reach: "lb(example):80"`, `reach: "lb example"`, "lb example", `target "lb example" is not understood`, "want kind(name):port"},
		{`reach: "lb(example):80", via: cp`, `reach: "client(laptop):80"`, `"client(laptop)`, "reach client(laptop):80: nothing listens on port 80 of a client", "ping it"},
		{`reach: "lb(example):80", via: cp`, `ping: client(cp)`, "cp)", "ping client(cp): client cp does not exist", "clients: "},
		{`reach: "lb(example):80"`, `reach: "lb():80"`, `"lb()`, `target "lb():80": a name is missing`, ""},
		{`reach: "lb(example):80"`, `reach: "lb(example)[x]:80"`, "[x]", `[x] is no index of an address`, "want [0] or [1]"},
		{`reach: "lb(example):80"`, `reach: "lb(example)[1]:80"`, "[1]:80", "there is no address [1]: it has 1 per family", ""},
		{`reach: "lb(example):80"`, `reach: "lb(example)"`, "\"lb(example)\"", "reach lb(example): the port is missing", "add it: lb(example):80"},
		{`reach: "lb(example):80"`, `reach: "external(example):80"`, "external", "reach external(example):80: example has none", "add externalIPs"},
		{"via: cp", "via: worker", "worker, from", "no proxy runs on node worker, so that nobody serves lb(example):80 there", "add proxy: true to it, or choose cp"},
		{"via: cp", "via: cpp", "cpp", "node cpp does not exist", "did you mean cp?"},
		{"via: cp, from: [laptop, cp]", "via: cp, from: [cp]", "cp, from", "via has no effect: no client", "leave it out"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), via: cp, from: laptop}", "cp, from: laptop}", "via has no effect: node(cp) is reached on its own address", "leave it out"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idel}", "idel", "pod idel does not exist", "did you mean idle?"},
		{"{ping: node(cp), from: idle}", `{ping: "node(cp):80", from: idle}`, ":80\", from: idle", "ping node(cp):80: a ping knows no ports", "leave the port out"},
		{"{ping: node(cp), from: idle}", `{reach: "node(cp):6443", from: idle}`, `"node(cp):6443"`, "reach node(cp):6443: that is the API server", "write apiserver(cp)"},
		{"{ping: node(cp), from: idle}", `{reach: "node(cp):99", from: idle}`, `"node(cp):99"`, "reach node(cp):99: nothing listens on port 99 of a node", "for a node port"},
		{"{ping: node(cp), from: idle}", `{reach: "apiserver(cp):6443", from: idle}`, ":6443", `target "apiserver(cp):6443": apiserver has no port to choose`, "leave :6443 out"},
		{"{ping: node(cp), from: idle}", `{reach: "pod(web-1):81", from: idle}`, `"pod(web-1):81"`, "reach pod(web-1):81: pod web-1 listens on 8080/tcp, 53/udp", "add the port to its listen"},
		{"{ping: node(cp), from: idle}", `{reach: "lb(example):80", from: idle}`, "idle}", "idle enters at node worker, where no proxy serves lb(example):80", "add proxy: true"},
		{"{ping: node(cp), from: idle}", "{from: idle}", "{from", "the check names no target", "write exactly one of reach, refused, ping"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), reach: apiserver(cp), from: idle}", "{ping: node(cp), reach", "the check has several targets: ping, reach", "write exactly one"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, backends: web-1}", "web-1}", "backends say who may answer a reach; this is a ping", "leave backends out"},
		{"backends: [web-1]", "backends: [idle]", "idle]}", "pod idle listens on nothing", "give it listen"},
		{"listen: [8080/tcp, 53/udp]", "listen: [8081/tcp, 53/udp]", "web-1]}", "example sends to port 8080/tcp of pod web-1, which listens on 8081/tcp, 53/udp", "add 8080/tcp to its listen"},
		{"listen: [8080/tcp, 53/udp]", "listen: [8080/tcp], unready: true", "web-1]}", "pod web-1 is not ready", ""},
		{"labels: {app: web}, ", "labels: {app: wbe}, ", "web-1]}", "pod web-1 is no endpoint of example, which selects app=web", "give it labels: {app: web}"},
		{`{reach: "clusterip(kubernetes):443", from: web-1}`, `{reach: "clusterip(kubernetes):443", from: cp, backends: web-1}`, "web-1}", "the API server answers, not a pod", "leave backends out"},
		{"{name: cp, apiServer: true, ", "{name: cp, ", "- {name: cp", "no node has the API server", "add apiServer: true to one"},
		{"{app: web}, listen", `{"a b": web}, listen`, `"a b"`, `labels of pod web-1: key "a b": name part`, ""},
		{"loadBalancer: true, syncPeriod: 5m}", "loadBalancer: true}\n  api: node-adress", "node-adress", `api: unknown API path "node-adress"`, "did you mean node-address? API paths: control, node-address"},
		{"from: laptop, to", "from: loptap, to", "loptap", "client loptap does not exist", "did you mean laptop?"},
		{"from: laptop, to", "from: wrker, to", "wrker", "node wrker does not exist", "did you mean worker?"},
		{"from: laptop, to", "from: elsewhere, to", "elsewhere", "place elsewhere does not exist", "places: cp, worker, web-1, idle, laptop"},
		{"from: [laptop, idle]", "from: [idle, idle]", "idle], to", "idle comes twice", "remove one"},
		{`to: "node(cp)[1]", kind: ping`, `to: "pod(web-1):53/udp", kind: tcp`, "tcp, max", "pod(web-1):53/udp speaks udp, not tcp", "leave kind out"},
		{`to: "node(cp)[1]", kind: ping`, `to: "pod(web-1):8080/tcp", kind: udp`, "udp, max", "pod(web-1):8080/tcp speaks tcp, not udp", "leave kind out"},
		{"{ping: node(cp), from: idle}", "{ping: node(pc), from: idle}", "pc)", "ping node(pc): node pc does not exist", "did you mean cp?"},
		{"{ping: node(cp), from: idle}", "{ping: pod(web), from: idle}", "web)", "ping pod(web): pod web does not exist", "did you mean web-1?"},
		{"{ping: node(cp), from: idle}", "{ping: nodeport(example), from: idle}", "nodeport", "a node port is not pinged, its node is", "write node(…)"},
		{"{ping: node(cp), from: idle}", `{ping: "node(cp)[2]", from: idle}`, "[2]", "there is no address [2]: it has 2 per family", ""},
		{"{ping: node(cp), from: idle}", `{reach: "pod(web-1):8080", from: idle, backends: idle}`, "idle}", "only pod web-1 can answer on its own address", "leave backends out"},
		{"{ping: node(cp), from: idle}", `{reach: "pod(idle):8080", from: cp}`, `"pod(idle):8080"`, "pod idle listens on nothing", "add the port to its listen"},
		{"{ping: node(cp), from: idle}", `{reach: "lb(example)[256]:80", from: cp}`, "[256]", "[256] is no index", "want [0] or [1]"},
		{"backends: [web-1]", "backends: [web-1, web-1]", "web-1]}", "pod web-1 comes twice", "remove one"},
		{apply, "  - delete: []\n", "[]\nexempt", "delete: the list is empty", ""},
		{apply, "  - {apply: null}\n", "null", "apply has no value", "give it a value"},
		// Pods and endpoints.
		{"  - subject: restart\n", "  - pods: []\n", "[]\n", "pods is empty", "add a pod"},
		{"  - subject: restart\n", "  - pods: [{name: wbe-1, becomes: gone}]\n", "wbe-1", "pod wbe-1 does not exist", "did you mean web-1? pods: web-1, idle"},
		{"  - subject: restart\n", "  - pods: [{name: web-1}]\n", "{name: web-1}]\n", "nothing becomes of pod web-1", "add becomes or labels"},
		{"  - subject: restart\n", "  - pods: [{name: web-1, becomes: dead}]\n", "dead", `becomes: unknown pod state "dead"`, "pod states: ready, unready, terminating, gone"},
		{"  - subject: restart\n", "  - pods: [{name: web-1, becomes: ready}]\n", "ready", "pod web-1 is ready already", ""},
		{"  - subject: restart\n", "  - pods: [{name: web-1, becomes: gone}, {name: web-1, becomes: ready}]\n", "web-1, becomes: ready", "pod web-1 comes twice", "make two steps"},
		{"  - subject: restart\n", "  - pods: [{name: web-1, labels: {app: 'a b'}}]\n", "app: 'a b'", `labels of pod web-1: value "a b": a valid label`, ""},
		{"  - subject: restart\n", "  - pods: [{name: web-1, becomes: gone, labels: {app: web}}]\n", "{app: web}}]", "pod web-1 is gone: it has no labels", "leave them out"},
		{"  - subject: restart\n", "  - endpoints: []\n", "[]\n", "endpoints is empty", "add the endpoints"},
		{"  - subject: restart\n", "  - endpoints: [{service: exmaple}]\n", "exmaple", "Service exmaple does not exist at this step", "did you mean example?"},
		{"  - subject: restart\n", "  - endpoints: [{service: example}]\n", "example}", "Service example has a selector: its endpoints are the pods that match", "change pods"},
		{"  - subject: restart\n", "  - endpoints: [{service: kubernetes}]\n", "kubernetes", "the endpoints of Service kubernetes are the API server's own", ""},
		{`reach: "lb(example):80", via: cp`, `reach: "healthcheck(example)", via: cp`, "healthcheck", "reach healthcheck(example): example has no health-check node port", "write type: LoadBalancer and externalTrafficPolicy: Local"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, sticky: true}", "true}", "sticky is about the pods that answer a reach", "leave it out"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, source: node}", "node}", "only pods that answer a reach tell whom they saw", "leave it out"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, status: 200}", "200}", "status is that of a healthcheck target that is reached", "leave it out"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, source: nodes}", "nodes}", `source: unknown source "nodes"`, "did you mean node? sources: client, node"},
		{"backends: [web-1]}", "backends: [web-1], sticky: true}", "true}", "sticky cannot fail with a single backend", "name all backends"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, keepsPort: true}", "true}", "keepsPort is about a UDP target that is reached", "leave it out"},
		{"backends: [web-1]}", "backends: [web-1], keepsPort: true}", "true}", "keepsPort is about a UDP target that is reached", "leave it out"},
		{"backends: [web-1]}", "source: node}", "cp], source", "from node cp the address of the client is that of the node", "probe from a pod or a client"},
		{`to: "node(cp)[1]", kind: ping`, `to: "pod(web-1):53/sctp"`, `"pod(web-1):53/sctp"`, "hold pod(web-1):53/sctp: pod web-1 listens on 8080/tcp, 53/udp", "add the port to its listen"},
		// The API server.
		{"  - subject: restart\n", "  - api: heal\n", "heal", "the API server has no fault at this step", ""},
		{"  - subject: restart\n", "  - api: slow\n  - api: errors\n", "errors", "the API server has a fault already, since line 38: slow", "write api: heal before"},
		{"  - subject: restart\n", "  - api: gone\n", "gone", `api: unknown API action "gone"`, "API actions: outage, black-hole"},
		{"  - subject: restart\n", "  - api: outage\n", "apiserver(cp), max", "apiserver(cp) is reset by the outage on line 38", "hold something else"},
		{"  - subject: restart\n", "  - api: black-hole\n  - expect: [{reach: apiserver(cp), from: cp}]\n", "apiserver(cp), from", "nobody reaches the API server since line 38: black-hole", "reach it after api: heal"},
		// Nodes.
		{"  - subject: restart\n", "  - nodes: []\n", "[]\n", "nodes is empty", "add a node"},
		{"  - subject: restart\n", "  - nodes: [{name: cp}]\n", "{name: cp}]\n", "0 things become of cp", "write exactly one of addresses, replug"},
		{"  - subject: restart\n", "  - nodes: [{name: laptop, addresses: 1}]\n", "laptop, addr", "node laptop does not exist", "nodes: cp, worker"},
		{"  - subject: restart\n", "  - nodes: [{name: worker, addresses: 2}]\n", "2}]\n", "node worker began with 1 addresses per family and cannot have 2", ""},
		{"  - subject: restart\n", "  - nodes: [{name: cp, addresses: 2}]\n", "2}]\n", "node cp has 2 already", ""},
		{"  - subject: restart\n", "  - nodes: [{name: cp, addresses: 1}]\n  - expect: [{ping: 'node(cp)[1]', from: idle}]\n", "[1]', from", "there is no address [1]: it has 1 per family", ""},
		// State.
		{"  - subject: restart\n", "  - state: []\n", "[]\n", "state is empty", "add a check"},
		{"  - subject: restart\n", "  - state: [{absent: true}]\n", "{absent", "the check is about 0 things", "write exactly one of ipvs, ipset"},
		{"  - subject: restart\n", "  - state: [{ipset: svip, address: node(cp)}]\n", "{ipset", "the check is about 2 things", "write exactly one"},
		{"  - subject: restart\n", "  - state: [{on: worker, ipset: svip}]\n", "worker, ipset", "no proxy runs on node worker", "or choose cp"},
		{"  - subject: restart\n", "  - state: [{ipset: svip, scheduler: rr}]\n", "{ipset", "scheduler does not go with ipset, but with ipvs", "leave it out"},
		{"  - subject: restart\n", "  - state: [{ipset: svip, absent: true, lacks: node(cp)}]\n", "{ipset", "what is absent has no lacks", "remove one"},
		{"  - subject: restart\n", "  - state: [{ipset: svip, equals: [], lacks: node(cp)}]\n", "[], lacks", "equals goes with neither contains nor lacks", ""},
		{"  - subject: restart\n", "  - state: [{ipset: svip, contains: lb(exmaple)}]\n", "lb(exmaple)", "Service exmaple does not exist at this step", "did you mean example?"},
		{"  - subject: restart\n", "  - state: [{ipset: svip-prt, contains: lb(example)}]\n", "lb(example)}]", "lb(example): the port is missing", "add it: lb(example):80"},
		{"  - subject: restart\n", "  - state: [{ipset: a set}]\n", "a set", `"a set" is no name of an ipset`, ""},
		{"  - subject: restart\n", "  - state: [{ipvs: lb(example)}]\n", "lb(example)}]", "lb(example): the port is missing", "add it"},
		{"  - subject: restart\n", "  - state: [{ipvs: 'lb(example):80', destinations: 'pod(idle):8080'}]\n", "'pod(idle):8080'", "pod idle listens on nothing", "add the port"},
		{"  - subject: restart\n", "  - state: [{route: lb(example), table: main}]\n", "main", `"main" is no number of a table`, "254 is main"},
		{"  - subject: restart\n", "  - state: [{rule: -j DROP}]\n", "{rule", "the rule lacks its chain", "such as chain: INPUT"},
		{"  - subject: restart\n", "  - state: [{rule: -m u32 --u32 0 -j DROP, chain: INPUT}]\n", "-m u32", "the rule is not understood", "as iptables-save does"},
		{"  - subject: restart\n", "  - state: [{sysctl: net.ipv4.vs.conntrak, value: '1'}]\n", "net.ipv4.vs.conntrak", "the harness does not read the setting", "did you mean net.ipv4.vs.conntrack?"},
		{"  - subject: restart\n", "  - state: [{sysctl: net.ipv4.conf.eth0.rp_filter}]\n", "{sysctl", "the value is missing", ""},
		// Form.
		{"apiServer: true", "apiServer: 1", "1, proxy", "apiServer: want true or false, got the number 1", ""},
		{"addresses: 2", "addresses: -99999999999999999999", "-9", "addresses: want a whole number, got", ""},
		{"{app: web}, listen", "[app], listen", "[app]", "labels: want fields, got a list", "write field: value"},
		{"clients: [{name: laptop}]", "clients: {name: laptop}", "{name", "clients: want a list, got fields", "write each element on a line of its own"},
		{"kind: Service\n", "type: Service\n", "apiVersion", `the object lacks the field "kind"`, "kinds: Service"},
		{"[8080/tcp, 53/udp]", "[[1], 53/udp]", "[1]", "listen[0]: want a text, got a list", ""},
		{"world:\n", "world:\n  pod: []\n", "pod: []", `unknown field "pod" in the world`, "did you mean pods? fields: nodes, pods, clients"},
		{"{loadBalancer: true,", "{loadbalancer: true,", "loadbalancer", `unknown field "loadbalancer" in options`, "did you mean loadBalancer?"},
		{"subject:\n  options", "subject:\n  option: {}\n  options", "option:", `unknown field "option" in subject`, "did you mean options?"},
		{"name: worker}", "label: {}, name: worker}", "label:", `unknown field "label" in a node`, "fields: name, apiServer, standby, addresses, proxy"},
		{", maxOutage: 1.5s", "", "{from: [laptop, idle]", `a hold lacks the field "maxOutage"`, "add maxOutage"},
		{", from: web-1}", "}", "{reach", `a check of expect lacks the field "from"`, "add from"},
		{"{name: worker}", "&x {name: worker}", "&", "nodes[1]: anchors, aliases and tags are not part of the format", "write the value out"},
		{"A story.", "", "", "description has no value", "give it a value"},
		{"apply: |", `apply: "x"` + "\n  - apply: |", `"x"`, "apply: the manifest is no block of text", "write apply: |"},
		{"catches: [local-ips-ipv4-only]\n", "---\nname: two\n", "name: two", "a second document begins", "put each scenario into a file of its own"},
	} {
		t.Run(test.message, func(t *testing.T) {
			text := edit(t, test.old, test.new)
			problems := problemsOf(t, text)
			if len(problems) != 1 {
				t.Fatalf("want one problem, got %v", problems)
			}
			p := problems[0]
			if !strings.Contains(p.Message, test.message) || !strings.Contains(p.Suggestion, test.suggestion) {
				t.Errorf("got\n%v\nwant\n%s\n  %s", p, test.message, test.suggestion)
			}
			if at := position(text, p); !strings.HasPrefix(text[at:], test.at) {
				t.Errorf("the problem is not at %q:\n%v", test.at, p)
			}
		})
	}
}

// cluster is a scenario without steps: tests append them. Its proxy is not on the API server's node.
const cluster = `name: example
description: A story.
world:
  nodes: [{name: cp, apiServer: true}, {name: worker, proxy: true}]
  pods: [{name: web-1, node: worker, labels: {app: web}, listen: [8080], unready: true}]
  clients: [{name: laptop}]
`

// service is a step that applies a Service.
func service(name, spec string) string {
	return "  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: " + name + "}\n      spec: {ports: [{port: 80, targetPort: 8080}], " + spec + "}\n"
}

// TestStory: what makes sense depends on what happened before. An empty want means that there is no problem.
func TestStory(t *testing.T) {
	const start, options = "steps:\n", "subject: {options: {loadBalancer: true}}\n"
	byStep := "subject: {start: by-step}\n" + start
	check := func(checks string) string { return "  - expect: [" + checks + "]\n" }
	for name, test := range map[string]struct{ text, want string }{
		"nothing happens":         {"steps: []\n", "there are no steps"},
		"never started":           {byStep + service("a", ""), "start: by-step, but no step starts the subject"},
		"started":                 {byStep + service("a", "") + "  - subject: start\n" + check(`{reach: "clusterip(a):80", from: laptop}`), ""},
		"started twice":           {byStep + "  - subject: start\n  - subject: start\n", "write restart, or stop or kill it before"},
		"reached too early":       {byStep + service("a", "") + check(`{reach: "clusterip(a):80", from: laptop}`) + "  - subject: start\n", "the subject was not started yet"},
		"still there":             {start + service("a", "") + "  - subject: kill\n" + check(`{reach: "clusterip(a):80", from: laptop}`) + "  - subject: start\n", ""},
		"restarted while dead":    {start + "  - subject: stop\n  - subject: restart\n", "it cannot restart"},
		"held before the start":   {"hold: [{from: laptop, to: \"clusterip(kubernetes):443\", maxOutage: 0s}]\n" + byStep + "  - subject: start\n", "with start: by-step nobody serves it"},
		"held from the start":     {"hold: [{from: laptop, to: \"clusterip(kubernetes):443\", maxOutage: 0s}]\n" + start + "  - subject: stop\n", ""},
		"applied too late":        {start + check(`{reach: "clusterip(a):80", from: laptop}`) + service("a", ""), "Service a does not exist at this step"},
		"applied again":           {start + service("a", "") + "  - delete: service/a\n" + service("a", "") + check(`{reach: "clusterip(a):80", from: laptop}`), ""},
		"type changed":            {options + start + service("a", "type: LoadBalancer") + service("a", "") + check(`{reach: "lb(a):80", from: laptop}`), "a is no LoadBalancer"},
		"no allocator":            {start + service("a", "type: LoadBalancer") + check(`{ping: lb(a), from: laptop}`), "the subject does not hand out LoadBalancer addresses"},
		"no node port":            {options + start + service("a", "type: LoadBalancer, allocateLoadBalancerNodePorts: false") + check(`{reach: "nodeport(a):80", from: laptop}`), "a has allocateLoadBalancerNodePorts: false"},
		"no type":                 {start + service("a", "") + check(`{reach: "nodeport(a):80", from: laptop}`), "a has no node ports"},
		"node port from anywhere": {start + service("a", "type: NodePort") + check(`{reach: "nodeport(a):80", via: worker, from: [cp, web-1]}`), ""},
		"node port refuses":       {start + service("a", "type: NodePort") + check(`{refused: "nodeport(a):81", from: cp}`), "a has no port 81/tcp"},
		"headless":                {start + service("a", "clusterIP: None") + check(`{reach: "clusterip(a):80", from: laptop}`), "a has no cluster address"},
		"external":                {start + service("a", "externalIPs: [198.51.100.1]") + check(`{reach: "external(a)[0]:80", from: laptop}`), ""},
		"external by name":        {start + service("a", `externalIPs: ["unused(externals)"]`) + check(`{reach: "external(a)[0]:80", from: laptop}`), ""},
		"external of nobody":      {start + service("a", `externalIPs: ["unused(external)"]`), "Service a: range external does not exist"},
		"external with a port":    {start + service("a", `externalIPs: ["unused(externals):80"]`), `Service a: "unused(externals):80" names no address`},
		"external index":          {start + service("a", "externalIPs: [198.51.100.1]") + check(`{reach: "external(a)[1]:80", from: laptop}`), "there is no address [1]"},
		"unready backend":         {start + service("a", "selector: {app: web}") + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), "pod web-1 is not ready"},
		"unready but published":   {start + service("a", "selector: {app: web}, publishNotReadyAddresses: true") + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), ""},
		"named target port":       {start + strings.Replace(service("a", "selector: {app: web}, publishNotReadyAddresses: true"), "8080", "http", 1) + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), ""},
		"target port left out":    {start + strings.Replace(service("a", "selector: {app: web}, publishNotReadyAddresses: true"), ", targetPort: 8080", "", 1) + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), "a sends to port 80/tcp of pod web-1"},
		"no selector":             {start + service("a", "") + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), ""},
		"path that is not cut":    {"subject: {api: node-address}\n" + start + "  - subject: restart\n", "api: node-address makes no difference"},
		"other namespace":         {start + "  - apply: |\n      {apiVersion: v1, kind: Namespace, metadata: {name: other}}\n" + strings.Replace(service("a", ""), "{name: a}", "{name: a, namespace: other}", 1) + check(`{reach: "clusterip(other/a):80", from: laptop}`) + "  - delete: service/other/a\n", ""},
		"gone backend":            {start + service("a", "selector: {app: web}, publishNotReadyAddresses: true") + "  - pods: [{name: web-1, becomes: gone}]\n" + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), "pod web-1 is gone at this step"},
		"ready by now":            {start + service("a", "selector: {app: web}") + "  - pods: [{name: web-1, becomes: ready}]\n" + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), ""},
		"other labels by now":     {start + service("a", "selector: {app: web}, publishNotReadyAddresses: true") + "  - pods: [{name: web-1, labels: {app: dns}}]\n" + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), "pod web-1 is no endpoint of a"},
		"going and unready":       {start + "  - pods: [{name: web-1, becomes: terminating}]\n  - pods: [{name: web-1, becomes: ready}]\n  - pods: [{name: web-1, becomes: terminating}]\n  - pods: [{name: web-1, becomes: unready}]\n", ""},
		"gone twice":              {start + "  - pods: [{name: web-1, becomes: gone}]\n  - pods: [{name: web-1, becomes: gone}]\n", "pod web-1 is gone already"},
		"endpoints":               {start + service("a", "") + "  - endpoints: [{service: a, ready: \"pod(web-1):8080\"}]\n" + check(`{reach: "clusterip(a):80", from: laptop, backends: web-1}`), ""},
		"endpoints of two ports":  {start + strings.Replace(service("a", ""), "ports: [", "ports: [{name: b, port: 81}, ", 1) + "  - endpoints: [{service: a, ready: \"pod(web-1):8080\"}]\n", "a has 2 ports: say which is meant"},
		"endpoints of no port":    {start + service("a", "") + "  - endpoints: [{service: a, port: 81, ready: \"pod(web-1):8080\"}]\n", "a has no port 81/tcp"},
		"endpoints of a protocol": {start + strings.Replace(service("a", ""), "port: 80,", "port: 80, protocol: UDP,", 1) + "  - endpoints: [{service: a, ready: \"pod(web-1):8080\"}]\n", "speaks tcp, the port of the Service udp"},
		"health check":            {options + start + service("a", "type: LoadBalancer, externalTrafficPolicy: Local") + check(`{reach: healthcheck(a), from: laptop, status: 503}`), ""},
		"health check of nobody":  {options + start + service("a", "type: LoadBalancer, externalTrafficPolicy: Local") + check(`{reach: healthcheck(a), from: laptop, status: 5}`), "5 is no HTTP status"},
		"health check of a pod":   {options + start + service("a", "type: LoadBalancer, externalTrafficPolicy: Local") + check(`{reach: healthcheck(a), from: laptop, backends: web-1}`), "the proxy answers, not a pod"},
		"nothing to delete":       {start + "  - delete: service/a\n", "there are no objects"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(cluster+test.text))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %s", err, test.want)
			case test.want != "" && len(err.(Problems)) != 1:
				t.Errorf("want one problem, got %v", err)
			}
		})
	}
}

// TestHints: a kind that cannot be applied has a way that can.
func TestHints(t *testing.T) {
	for kind, want := range map[string]string{"Pod": "world: pods", "Node": "world: nodes", "Endpoints": "apply an EndpointSlice", "Ingress": "kinds: Service"} {
		if got := instead(kind); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
	}
}

// position is the offset of a problem in the text.
func position(text string, p Problem) int {
	at := 0
	for range p.Line - 1 {
		at += strings.Index(text[at:], "\n") + 1
	}
	return at + p.Column - 1
}
