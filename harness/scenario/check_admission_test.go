package scenario

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// refuse is a scenario of one step that applies the lines of a manifest.
func refuse(lines string) string {
	return `name: a
description: A story.
world:
  nodes: [{name: cp, apiServer: true, proxy: true, addresses: 2}]
  pods: [{name: web-1, node: cp, labels: {app: web}, listen: [8080/tcp]}]
  clients: [{name: friend}]
steps:
  - apply: |
` + "      " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n      ") + "\n"
}

const aService = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
const aPolicy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web}\n"
const aSlice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web}\n"

// TestRefusedText: what the API server refuses is a problem of the file, at the field that is meant, with the API server's words.
func TestRefusedText(t *testing.T) {
	for _, test := range []struct{ name, lines, want string }{
		{"a range that is none", aService + `spec:
  type: LoadBalancer
  loadBalancerSourceRanges: ["client(friend)", "192.0.2.0"]
  ports: [{port: 80}]`, `
x.yaml:14:54: Service web: the API server refuses this: spec.loadBalancerSourceRanges[1]: Invalid value: "192.0.2.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
   14 |         loadBalancerSourceRanges: ["client(friend)", "192.0.2.0"]
      |                                                      ^^^^^^^^^^^`},

		{"a field of another type of Service", aService + `spec:
  loadBalancerSourceRanges: ["client(friend)"]
  ports: [{port: 80}]`, `
x.yaml:13:35: Service web: the API server refuses this: spec.loadBalancerSourceRanges: Forbidden: may only be used when ` + "`type`" + ` is 'LoadBalancer'
   13 |         loadBalancerSourceRanges: ["client(friend)"]
      |                                   ^`},

		{"nothing to serve", aService + `spec:
  selector: {app: web}`, `
x.yaml:13:9: Service web: the API server refuses this: spec.ports: Required value
   13 |         selector: {app: web}
      |         ^^^^^^^^
  add ports`},

		{"a port out of range, deep in flow style", aService + `spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}`, `
x.yaml:12:59: Service web: the API server refuses this: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767
   12 |       spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}
      |                                                           ^^`},

		{"two families in one", aService + `spec:
  ipFamilyPolicy: RequireDualStack
  ports: [{port: 80}]`, `
x.yaml:13:25: Service web: the API server refuses this: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
   13 |         ipFamilyPolicy: RequireDualStack
      |                         ^^^^^^^^^^^^^^^^
  it does so in ipv4, ipv6 only`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, want := problemsOf(t, refuse(test.lines)).Error(), strings.TrimPrefix(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestRefused: one case for each rule of an API server that a manifest can break, and its counterpart that is accepted.
func TestRefused(t *testing.T) {
	const lb, port = "  type: LoadBalancer\n", "  ports: [{port: 80}]\n"
	for name, test := range map[string]struct{ lines, want string }{
		"ranges of targets":            {aService + "spec:\n" + lb + port + `  loadBalancerSourceRanges: ["client(friend)", "node(cp)", "198.51.100.0/24"]`, ""},
		"ranges of nobody":             {aService + "spec:\n" + lb + port + `  loadBalancerSourceRanges: ["client(freind)"]`, "client freind does not exist"},
		"headless balancer":            {aService + "spec:\n" + lb + port + "  clusterIP: None", "may not be set to 'None' for LoadBalancer services"},
		"headless":                     {aService + "spec: {clusterIP: None}", ""},
		"class of no balancer":         {aService + "spec:\n" + port + "  loadBalancerClass: a/b", "spec.loadBalancerClass: Forbidden"},
		"policy of nothing external":   {aService + "spec:\n" + port + "  externalTrafficPolicy: Local", "may only be set for externally-accessible services"},
		"policy of external addresses": {aService + "spec:\n" + port + "  externalTrafficPolicy: Local\n  externalIPs: [\"unused(externals)\"]", ""},
		"unknown policy":               {aService + "spec:\n" + port + "  internalTrafficPolicy: local", `supported values: "Cluster", "Local"`},
		"unknown type":                 {aService + "spec:\n" + port + "  type: Loadbalancer", `supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`},
		"unknown affinity":             {aService + "spec:\n" + port + "  sessionAffinity: Client", `spec.sessionAffinity: Unsupported value: "Client"`},
		"affinity of two days":         {aService + "spec:\n" + port + "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 172800}}", "must be greater than 0 and less than 86400"},
		"two ports without names":      {aService + "spec: {ports: [{port: 80}, {name: a, port: 81}]}", "spec.ports[0].name: Required value"},
		"two ports of a name":          {aService + "spec: {ports: [{name: a, port: 80}, {name: a, port: 81}]}", "spec.ports[1].name: Duplicate value"},
		"a port twice":                 {aService + "spec: {ports: [{name: a, port: 80}, {name: b, port: 80}]}", "spec.ports[1]: Duplicate value"},
		"name of a port":               {aService + "spec: {ports: [{name: A_b, port: 80}]}", "spec.ports[0].name: Invalid value"},
		"target port":                  {aService + "spec: {ports: [{port: 80, targetPort: 70000}]}", "spec.ports[0].targetPort: Invalid value: 70000"},
		"protocol":                     {aService + "spec: {ports: [{port: 80, protocol: tcp}]}", `spec.ports[0].protocol: Unsupported value: "tcp"`},
		"node port of no node":         {aService + "spec: {ports: [{port: 80, nodePort: 30080}]}", "may not be used when `type` is 'ClusterIP'"},
		"external loopback":            {aService + "spec:\n" + port + "  externalIPs: [127.0.0.1]", "may not be in the loopback range"},
		"selector":                     {aService + "spec:\n" + port + "  selector: {app: -}", "spec.selector: Invalid value"},
		"label":                        {strings.Replace(aService, "{name: web}", "{name: web, labels: {a b: c}}", 1) + "spec:\n" + port, "metadata.labels: Invalid value"},
		"annotation of ranges":         {strings.Replace(aService, "{name: web}", "{name: web, annotations: {service.beta.kubernetes.io/load-balancer-source-ranges: everyone}}", 1) + "spec:\n" + lb + port, "must be a valid CIDR value"},
		"cluster address elsewhere":    {aService + "spec:\n" + port + "  clusterIP: unused(externals)", "the provided IP is not in the valid range"},
		"cluster address":              {aService + "spec:\n" + port + "  clusterIP: unused(services)", ""},
		"external name with a port":    {aService + "spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}", ""},
		"external name with address":   {aService + "spec: {type: ExternalName, externalName: example.com, clusterIP: unused(services)}", "may not be set for ExternalName services"},
		"external name of no host":     {aService + "spec: {type: ExternalName, externalName: example_com}", "spec.externalName: Invalid value"},
		"status of no balancer":        {aService + "spec:\n" + port + "status: {loadBalancer: {ingress: [{ip: \"unused(loadbalancers)\"}]}}", "may only be used when `spec.type` is 'LoadBalancer'"},
		"status":                       {aService + "spec:\n" + lb + port + "status: {loadBalancer: {ingress: [{ip: \"unused(loadbalancers)\"}]}}", ""},

		"peer of ranges":           {aPolicy + `spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "client(friend)"}}]}]}`, ""},
		"peer of nobody":           {aPolicy + `spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "client(freind)"}}]}]}`, "client freind does not exist"},
		"peer of an address":       {aPolicy + `spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.1}}]}]}`, "spec.ingress[0].from[0].ipBlock.cidr: Invalid value"},
		"peer of nothing":          {aPolicy + `spec: {podSelector: {}, egress: [{to: [{}]}]}`, "must specify a peer"},
		"peer of two things":       {aPolicy + `spec: {podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 192.0.2.0/24}}]}]}`, "may not specify both ipBlock and another peer"},
		"exception outside":        {aPolicy + `spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [198.51.100.0/25]}}]}]}`, "must be a strict subset of `cidr`"},
		"policy type":              {aPolicy + `spec: {podSelector: {}, policyTypes: [ingress]}`, `supported values: "Egress", "Ingress"`},
		"range of ports backwards": {aPolicy + `spec: {podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}`, "must be greater than or equal to `port`"},
		"selector of a policy":     {aPolicy + `spec: {podSelector: {matchExpressions: [{key: a, operator: Is}]}}`, "not a valid selector operator"},

		"endpoints of a family":  {aSlice + "addressType: IPv4\nendpoints: [{addresses: [\"2001:db8::1\"]}]", "must be an IPv4 address"},
		"endpoints of targets":   {aSlice + "endpoints: [{addresses: [\"pod(web-1)\"]}]\nports: [{port: 8080}]", ""},
		"endpoints of nothing":   {aSlice + "endpoints: [{addresses: []}]", "must contain at least 1 address"},
		"endpoints of loopback":  {aSlice + "addressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]", "may not be in the loopback range"},
		"kind of addresses":      {aSlice + "addressType: IPv5\nendpoints: []", `supported values: "FQDN", "IPv4", "IPv6"`},
		"two ports in endpoints": {aSlice + "endpoints: []\nports: [{port: 80}, {port: 81}]", "ports[1].name: Duplicate value"},
		"namespace":              {"apiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {a: b c}}", "metadata.labels: Invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(refuse(test.lines)))
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

// TestRefusedLater: a manifest is judged against what the steps before it left.
func TestRefusedLater(t *testing.T) {
	apply := func(lines string) string {
		return "  - apply: |\n      " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n      ") + "\n"
	}
	const nodePort = "spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}"
	other := strings.Replace(aService, "name: web", "name: other", 1)
	for name, test := range map[string]struct{ steps, want string }{
		"class":                {apply(aService+"spec: {type: LoadBalancer, loadBalancerClass: a/b, ports: [{port: 80}]}") + apply(aService+"spec: {type: LoadBalancer, loadBalancerClass: a/c, ports: [{port: 80}]}"), "spec.loadBalancerClass: Invalid value: \"a/c\": may not change once set"},
		"cluster address":      {apply(aService+"spec: {ports: [{port: 80}]}") + apply(aService+"spec: {clusterIP: unused(services), ports: [{port: 80}]}"), "may not change once set"},
		"headless":             {apply(aService+"spec: {ports: [{port: 80}]}") + apply(aService+"spec: {clusterIP: None, ports: [{port: 80}]}"), "may not change once set"},
		"by another name":      {apply(aService+"spec: {ports: [{port: 80}]}") + "  - delete: service/web\n" + apply(aService+"spec: {clusterIP: None, ports: [{port: 80}]}"), ""},
		"type":                 {apply(aService+"spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}") + apply(aService+"spec: {ports: [{port: 80}]}"), ""},
		"to ExternalName":      {apply(aService+"spec: {ports: [{port: 80}]}") + apply(aService+"spec: {type: ExternalName, externalName: example.com}") + apply(aService+"spec: {ports: [{port: 80}]}"), ""},
		"node port taken":      {apply(aService+nodePort) + apply(other+nodePort), "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"},
		"node port given up":   {apply(aService+nodePort) + "  - delete: service/web\n" + apply(other+nodePort), ""},
		"kind of addresses":    {apply(aSlice+"addressType: IPv4\nendpoints: []") + apply(aSlice+"addressType: IPv6\nendpoints: []"), "addressType: Invalid value: \"IPv6\": field is immutable"},
		"address of a Service": {apply(aService+"spec: {ports: [{port: 80}]}") + apply(other+"spec: {externalIPs: [\"clusterip(web)\"], ports: [{port: 80}]}"), ""},
		"taken by a Service":   {apply(aService+"spec: {ports: [{port: 80}]}") + apply(other+"spec: {clusterIP: clusterip(web), ports: [{port: 80}]}"), "provided IP is already allocated"},
	} {
		t.Run(name, func(t *testing.T) {
			first, _, _ := strings.Cut(refuse(""), "steps:\n")
			text := first + "steps:\n" + test.steps
			_, err := Parse("x.yaml", []byte(text))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %s", err, test.want)
			case test.want != "" && err.(Problems)[0].Line <= strings.Count(text[:strings.LastIndex(text, "apply")], "\n"):
				t.Errorf("not in the second manifest: %v", err)
			}
		})
	}
}

// TestRefusedBySeed: a node port that a manifest asks for may be the one that the API server has chosen for another Service. Whether
// it is depends on the seed, so lint does not report it.
func TestRefusedBySeed(t *testing.T) {
	text := strings.Replace(refuse(aService+"spec: {type: NodePort, ports: [{port: 80}]}"), "world:", "families: [ipv4]\nworld:", 1)
	s, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoder(newSource("x.yaml", []byte(text)), "yaml", offset{})
	c := checker{decoder: d, scenario: s, manifests: map[*Step][]object{}}
	objects, problems := d.source.manifest(s.Steps[0].Apply, spot{9, 12, 1})
	if problems != nil {
		t.Fatal(problems)
	}
	c.manifests[&s.Steps[0]] = objects
	r := newRehearsal(&c, FamilyIPv4, 1)
	r.run()
	chosen := r.objects[objects[0].Ref].(*corev1.Service).Spec.Ports[0].NodePort
	other := strings.Replace(aService, "name: web", "name: other", 1) + fmt.Sprintf("spec: {type: NodePort, ports: [{port: 80, nodePort: %d}]}", chosen)
	text += "  - apply: |\n      " + strings.ReplaceAll(other, "\n", "\n      ") + "\n"
	if _, err := Parse("x.yaml", []byte(text)); err != nil {
		t.Errorf("node port %d, which seed 1 gives away: %v", chosen, err)
	}
	objects, _ = d.source.manifest(other+"\n", spot{9, 12, 1})
	r.apply(objects[0])
	if len(r.found) != 1 {
		t.Errorf("with seed 1, got %v, want one refusal", r.found)
	}
}

func TestSegments(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "spec": "spec", "spec.ports[0].nodePort": "spec|ports|0|nodePort", "metadata.annotations[a.b/c].d": "metadata|annotations|a.b/c|d",
		"spec.externalIPs[12]": "spec|externalIPs|12", "[": "", "a[b": "a|b", "a..b": "a||b",
	} {
		var names []string
		for _, s := range segments(path) {
			names = append(names, s.name)
		}
		if got := strings.Join(names, "|"); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}
