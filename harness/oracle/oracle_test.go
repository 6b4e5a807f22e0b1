package oracle_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"proxyproof/harness/oracle"
	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// onNode is a dual-stack cluster of the nodes cp and worker, IPv4 first, seen from node cp, which has two addresses of each family.
func onNode() oracle.Input {
	return oracle.Input{
		Node: "cp",
		Nodes: []*corev1.Node{
			nodeObject("cp", "192.0.2.10", "2001:db8:2::10", "198.19.1.0/24", "2001:db8:19:1::/64"),
			nodeObject("worker", "192.0.2.20", "2001:db8:2::20", "198.19.2.0/24", "2001:db8:19:2::/64"),
		},
		Addresses: map[world.Family][]netip.Addr{
			world.IPv4: {netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.11")},
			world.IPv6: {netip.MustParseAddr("2001:db8:2::10"), netip.MustParseAddr("2001:db8:2::11")},
		},
		Families: []world.Family{world.IPv4, world.IPv6}, Ranges: world.DefaultRanges(), Options: scenario.Options{LoadBalancer: true},
	}
}

func nodeObject(name, v4, v6 string, pods ...string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: pods},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: v4}, {Type: corev1.NodeInternalIP, Address: v6}, {Type: corev1.NodeHostName, Address: name},
		}},
	}
}

// parse reads objects: Services and EndpointSlices, separated by ---.
func parse(t *testing.T, in *oracle.Input, manifest string) {
	t.Helper()
	for _, text := range strings.Split(manifest, "---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatal(err)
		}
		var err error
		switch kind.Kind {
		case "Service":
			s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}}
			err = yaml.UnmarshalStrict([]byte(text), s)
			in.Services = append(in.Services, s)
		case "EndpointSlice":
			s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}}
			err = yaml.UnmarshalStrict([]byte(text), s)
			in.Slices = append(in.Slices, s)
		default:
			t.Fatalf("no kind in %q", text)
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

// write is the expectation as lines: "KEY required|allowed SCHEDULER AFFINITY -> DESTS", then "unjudged KEYS".
func write(e oracle.Expectation) []string {
	var all []string
	for _, s := range e.Services {
		line := s.Key.String()
		if !s.Required {
			line += " allowed"
		}
		if s.Holder != "" {
			line += " on no link"
		}
		if s.Scheduler != "rr" {
			line += " " + s.Scheduler
		}
		if s.Affinity > 0 {
			line += fmt.Sprintf(" affinity=%d", s.Affinity)
		}
		line += " ->"
		for _, d := range s.Dests {
			line += " " + d.AddrPort.String()
		}
		all = append(all, line)
	}
	for _, u := range e.Unjudged {
		line := "unjudged"
		if u.Marks {
			line += " marks"
		}
		for _, k := range u.Keys {
			line += " " + k.String()
		}
		all = append(all, line)
	}
	return all
}

const sliceOfA = `---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080, protocol: TCP}]
endpoints:
- {addresses: [198.19.1.20], nodeName: cp, conditions: {ready: true}}
- {addresses: [198.19.2.20], nodeName: worker}
`

func TestExpect(t *testing.T) {
	cases := map[string]struct {
		manifest string
		input    func(*oracle.Input)
		want     []string
	}{
		"cluster address": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7], ipFamilies: [IPv4], ports: [{port: 80, protocol: TCP}]}
` + sliceOfA,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080"},
		},
		"both families, each with its own endpoints": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7, "2001:db8:18::7"], ipFamilies: [IPv4, IPv6], ports: [{port: 80}]}
` + sliceOfA + `---
kind: EndpointSlice
metadata: {name: a-2, labels: {kubernetes.io/service-name: a}}
addressType: IPv6
ports: [{name: "", port: 8080}]
endpoints: [{addresses: ["2001:db8:19:1::20"]}]
`,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080", "TCP [2001:db8:18::7]:80 -> [2001:db8:19:1::20]:8080"},
		},
		"a family that the node lacks": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7, "2001:db8:18::7"], ipFamilies: [IPv4, IPv6], ports: [{port: 80, nodePort: 30080}]}
`,
			input: func(in *oracle.Input) { delete(in.Addresses, world.IPv4) },
			want:  []string{"TCP [2001:db8:2::10]:30080 allowed ->", "TCP [2001:db8:2::11]:30080 allowed ->", "TCP [2001:db8:18::7]:80 ->"},
		},
		"no endpoints: still served": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, ports: [{port: 80, nodePort: 30080}]}
`,
			want: []string{"TCP 192.0.2.10:30080 ->", "TCP 192.0.2.11:30080 allowed ->", "TCP 198.18.0.7:80 ->"},
		},
		"ports by name and protocol": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, {name: web, port: 80, targetPort: http}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: dns, port: 5353, protocol: UDP}, {name: dns-tcp, port: 5354, protocol: TCP}, {name: web, port: 8080}, {name: other, port: 1}, {name: dns, port: 9, protocol: TCP}, {name: web}]
endpoints: [{addresses: [198.19.1.20, 198.19.1.99]}]
---
kind: EndpointSlice
metadata: {name: a-2, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: web, port: 8081}]
endpoints: [{addresses: [198.19.1.21]}]
---
kind: EndpointSlice
metadata: {name: a-1, namespace: elsewhere, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: web, port: 8081}]
endpoints: [{addresses: [198.19.1.78]}]
---
kind: EndpointSlice
metadata: {name: b-1, labels: {kubernetes.io/service-name: b}}
addressType: IPv4
ports: [{name: web, port: 8081}]
endpoints: [{addresses: [198.19.1.77]}]
---
kind: EndpointSlice
metadata: {name: a-fqdn, labels: {kubernetes.io/service-name: a}}
addressType: FQDN
ports: [{name: web, port: 8081}]
endpoints: [{addresses: [example.org]}]
`,
			want: []string{
				"TCP 198.18.0.7:53 -> 198.19.1.20:5354", "UDP 198.18.0.7:53 -> 198.19.1.20:5353",
				"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.1.21:8081",
			},
		},
		"external and load balancer addresses, node port": {
			manifest: `kind: Service
metadata: {name: a}
spec:
  type: LoadBalancer
  clusterIP: 198.18.0.7
  externalIPs: [198.51.100.5, "2001:db8:51::5", nonsense]
  ports: [{port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {hostname: example.org}]}}
` + sliceOfA,
			want: []string{
				"TCP 192.0.2.10:30080 -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP 192.0.2.11:30080 allowed -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP 198.51.100.5:80 -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP 203.0.113.1:80 -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP [2001:db8:51::5]:80 allowed ->",
			},
		},
		"no node ports for a load balancer": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, clusterIP: 198.18.0.7, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "TCP 203.0.113.1:80 ->"},
		},
		"what is left of another type": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: ClusterIP, clusterIP: 198.18.0.7, ports: [{port: 80, nodePort: 30080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`,
			want: []string{"TCP 198.18.0.7:80 ->"},
		},
		"an address that the balancer serves itself": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1, ipMode: Proxy}, {ip: 203.0.113.2, ipMode: VIP}]}}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "TCP 203.0.113.2:80 ->"},
		},
		"node ports on the first address of each family": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7, "2001:db8:18::7"], ipFamilies: [IPv4, IPv6], ports: [{port: 80, nodePort: 30080}]}
`,
			input: func(in *oracle.Input) { in.NodePortsPerFamily = true },
			want: []string{
				"TCP 192.0.2.10:30080 ->", "TCP 192.0.2.11:30080 allowed ->", "TCP 198.18.0.7:80 ->",
				"TCP [2001:db8:2::10]:30080 ->", "TCP [2001:db8:2::11]:30080 allowed ->", "TCP [2001:db8:18::7]:80 ->",
			},
		},
		"node ports on all addresses": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7], ipFamilies: [IPv4], ports: [{port: 80, nodePort: 30080}]}
`,
			input: func(in *oracle.Input) {
				in.Options.NodePortsOnAllAddresses = true
				in.Local = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("::1")}
			},
			want: []string{"TCP 127.0.0.1:30080 allowed ->", "TCP 192.0.2.10:30080 ->", "TCP 192.0.2.11:30080 ->", "TCP 198.18.0.7:80 ->"},
		},
		"node ports on the primary address only": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7, "2001:db8:18::7"], ipFamilies: [IPv4, IPv6], ports: [{port: 80, nodePort: 30080}]}
`,
			input: func(in *oracle.Input) { slices.Reverse(in.Families) },
			want: []string{
				"TCP 192.0.2.10:30080 allowed ->", "TCP 192.0.2.11:30080 allowed ->", "TCP 198.18.0.7:80 ->",
				"TCP [2001:db8:2::10]:30080 ->", "TCP [2001:db8:2::11]:30080 allowed ->", "TCP [2001:db8:18::7]:80 ->",
			},
		},
		"internal policy Local rules the cluster address only": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, internalTrafficPolicy: Local, clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80, nodePort: 30080}]}
` + sliceOfA,
			want: []string{
				"TCP 192.0.2.10:30080 -> 198.19.1.20:8080 198.19.2.20:8080", "TCP 192.0.2.11:30080 allowed -> 198.19.1.20:8080 198.19.2.20:8080",
				"TCP 198.18.0.7:80 -> 198.19.1.20:8080", "TCP 198.51.100.5:80 -> 198.19.1.20:8080 198.19.2.20:8080",
			},
		},
		"external policy Local rules all the others": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80, nodePort: 30080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
` + sliceOfA,
			want: []string{
				"TCP 192.0.2.10:30080 -> 198.19.1.20:8080", "TCP 192.0.2.11:30080 allowed -> 198.19.1.20:8080",
				"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080", "TCP 198.51.100.5:80 -> 198.19.1.20:8080", "TCP 203.0.113.1:80 -> 198.19.1.20:8080",
			},
		},
		"Local without a local endpoint is not served": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, externalTrafficPolicy: Local, clusterIP: 198.18.0.7, ports: [{port: 80, nodePort: 30080}]}
` + sliceOfA,
			input: func(in *oracle.Input) { in.Node = "other" },
			want:  []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080"},
		},
		"Local with a local endpoint that is not ready": {
			manifest: `kind: Service
metadata: {name: a}
spec: {internalTrafficPolicy: Local, clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [{addresses: [198.19.1.20], nodeName: cp, conditions: {ready: false}}]
`,
			want: []string{"TCP 198.18.0.7:80 allowed ->"},
		},
		"ready ones win over terminating ones": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints:
- {addresses: [198.19.1.20], conditions: {ready: true, serving: true, terminating: false}}
- {addresses: [198.19.1.21], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [198.19.1.22], conditions: {ready: false, serving: false}}
`,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080"},
		},
		"terminating ones that serve, when no ready one exists": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints:
- {addresses: [198.19.1.21], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [198.19.1.22], conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [198.19.1.23], conditions: {ready: false, serving: true}}
`,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.21:8080"},
		},
		"terminating local ones, when the ready ones are elsewhere": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, externalTrafficPolicy: Local, clusterIP: 198.18.0.7, ports: [{port: 80, nodePort: 30080}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints:
- {addresses: [198.19.1.21], nodeName: cp, conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [198.19.2.20], nodeName: worker, conditions: {ready: true}}
`,
			want: []string{"TCP 192.0.2.10:30080 -> 198.19.1.21:8080", "TCP 192.0.2.11:30080 allowed -> 198.19.1.21:8080", "TCP 198.18.0.7:80 -> 198.19.2.20:8080"},
		},
		"one endpoint in two slices": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: a-0, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [{addresses: [198.19.1.20], conditions: {ready: false}}]
` + sliceOfA,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.2.20:8080"},
		},
		"affinity and scheduler": {
			manifest: `kind: Service
metadata: {name: a, annotations: {kube-router.io/service.scheduler: mh}}
spec: {clusterIP: 198.18.0.7, sessionAffinity: ClientIP, ports: [{port: 80}]}
---
kind: Service
metadata: {name: b}
spec: {clusterIP: 198.18.0.8, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, ports: [{port: 80}]}
`,
			want: []string{"TCP 198.18.0.7:80 mh affinity=10800 ->", "TCP 198.18.0.8:80 affinity=60 ->"},
		},
		"not for this proxy": {
			manifest: `kind: Service
metadata: {name: headless}
spec: {clusterIP: None, ports: [{port: 80}]}
---
kind: Service
metadata: {name: name}
spec: {type: ExternalName, externalName: example.org, ports: [{port: 80}]}
---
kind: Service
metadata: {name: other, labels: {service.kubernetes.io/service-proxy-name: other}}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: Service
metadata: {name: labelled, labels: {service.kubernetes.io/headless: ""}}
spec: {clusterIP: 198.18.0.8, ports: [{port: 80}]}
---
kind: Service
metadata: {name: pending}
spec: {ports: [{port: 80}]}
`,
		},
		"direct server return": {
			manifest: `kind: Service
metadata: {name: a, annotations: {kube-router.io/service.dsr: tunnel}}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80, nodePort: 30080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`,
			want: []string{"TCP 192.0.2.10:30080 ->", "TCP 192.0.2.11:30080 allowed ->", "TCP 198.18.0.7:80 ->", "unjudged marks TCP 198.51.100.5:80 TCP 203.0.113.1:80"},
		},
		"what is not understood": {
			manifest: `kind: Service
metadata: {name: a, annotations: {kube-router.io/service.scheduler: fastest}}
spec: {clusterIP: 198.18.0.7, ports: [{port: 80}]}
---
kind: Service
metadata: {name: b, annotations: {kube-router.io/service.local: "true"}}
spec: {clusterIP: 198.18.0.8, ports: [{port: 80}]}
---
kind: Service
metadata: {name: c}
spec: {clusterIP: 198.18.0.9, trafficDistribution: PreferClose, ports: [{port: 80}]}
`,
			want: []string{"unjudged TCP 198.18.0.7:80", "unjudged TCP 198.18.0.8:80", "unjudged TCP 198.18.0.9:80"},
		},
		"one Service asks twice for one address": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: NodePort, clusterIP: 198.18.0.7, externalIPs: [192.0.2.11], ports: [{port: 30080, nodePort: 30080}]}
`,
			want: []string{"TCP 192.0.2.10:30080 ->", "TCP 192.0.2.11:30080 allowed ->", "TCP 198.18.0.7:30080 ->"},
		},
		"external addresses that are the node's own, or another Service's": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, externalIPs: [192.0.2.10, 198.18.0.8, 203.0.113.1, 198.51.100.5], ports: [{port: 6443}]}
---
kind: Service
metadata: {name: b}
spec: {type: LoadBalancer, clusterIP: 198.18.0.8, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`,
			want: []string{
				"TCP 192.0.2.10:6443 allowed ->", "TCP 198.18.0.7:6443 ->", "TCP 198.18.0.8:80 ->", "TCP 198.51.100.5:6443 ->", "TCP 203.0.113.1:80 ->",
			},
		},
		"external addresses that another node or a pod has": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, clusterIPs: [198.18.0.7, "2001:db8:18::7"], externalIPs: [192.0.2.20, "2001:db8:2::20", 198.19.1.20, "2001:db8:19:2::20"], ports: [{port: 80}]}
`,
			want: []string{
				"TCP 192.0.2.20:80 allowed on no link ->", "TCP 198.18.0.7:80 ->", "TCP 198.19.1.20:80 allowed on no link ->",
				"TCP [2001:db8:2::20]:80 allowed on no link ->", "TCP [2001:db8:18::7]:80 ->", "TCP [2001:db8:19:2::20]:80 allowed on no link ->",
			},
		},
		"external addresses outside of the range are up to the proxy": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, externalIPs: [192.0.2.99, 198.18.0.99, 203.0.113.9, 198.51.100.5], ports: [{port: 80}]}
`,
			want: []string{
				"TCP 192.0.2.99:80 allowed ->", "TCP 198.18.0.7:80 ->", "TCP 198.18.0.99:80 allowed ->", "TCP 198.51.100.5:80 ->", "TCP 203.0.113.9:80 allowed ->",
			},
		},
		"a status with the addresses of nodes, pods and others": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.10}, {ip: 192.0.2.11}, {ip: 192.0.2.20}, {ip: 198.19.2.20}, {ip: 192.0.2.99}, {ip: 203.0.113.1}]}}
`,
			want: []string{
				"TCP 192.0.2.10:80 allowed ->", "TCP 192.0.2.11:80 allowed ->", "TCP 192.0.2.20:80 allowed on no link ->", "TCP 192.0.2.99:80 allowed ->",
				"TCP 198.18.0.7:80 ->", "TCP 198.19.2.20:80 allowed on no link ->", "TCP 203.0.113.1:80 ->",
			},
		},
		"addresses that mean something on the node alone are never served": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 127.0.0.1}, {ip: "::1"}, {ip: "fe80::1"}, {ip: 169.254.1.1}, {ip: 224.0.0.1}, {ip: 0.0.0.0}]}}
`,
			want: []string{"TCP 198.18.0.7:80 ->"},
		},
		"two Services share an external address": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80}]}
---
kind: Service
metadata: {name: b}
spec: {clusterIP: 198.18.0.8, externalIPs: [198.51.100.5], ports: [{port: 81}, {name: udp, port: 80, protocol: UDP}]}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "UDP 198.18.0.8:80 ->", "TCP 198.18.0.8:81 ->", "TCP 198.51.100.5:80 ->", "UDP 198.51.100.5:80 ->", "TCP 198.51.100.5:81 ->"},
		},
		"SCTP": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, ports: [{port: 80, protocol: SCTP}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080, protocol: SCTP}, {name: "", port: 8081, protocol: TCP}]
endpoints: [{addresses: [198.19.1.20]}]
`,
			want: []string{"SCTP 198.18.0.7:80 -> 198.19.1.20:8080"},
		},
		"publishes addresses that are not ready": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, publishNotReadyAddresses: true, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [{addresses: [198.19.1.20], conditions: {ready: false}}, {addresses: [198.19.1.21], conditions: {ready: true}}]
`,
			want: []string{"TCP 198.18.0.7:80 -> 198.19.1.20:8080 198.19.1.21:8080"},
		},
		"one Service asks twice for one address, once for less": {
			manifest: `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, externalIPs: [203.0.113.1], ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "TCP 203.0.113.1:80 ->"},
		},
		"two Services want one address": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80}, {name: more, port: 81}]}
---
kind: Service
metadata: {name: b}
spec: {clusterIP: 198.18.0.8, externalIPs: [198.51.100.5], ports: [{port: 80}]}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "TCP 198.18.0.7:81 ->", "TCP 198.18.0.8:80 ->", "TCP 198.51.100.5:81 ->", "unjudged TCP 198.51.100.5:80"},
		},
		"what one Service wants and another leaves open": {
			manifest: `kind: Service
metadata: {name: a}
spec: {clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80}]}
---
kind: Service
metadata: {name: b, annotations: {kube-router.io/service.skiplbips: "true"}}
spec: {clusterIP: 198.18.0.8, externalIPs: [198.51.100.5], ports: [{port: 80}]}
`,
			want: []string{"TCP 198.18.0.7:80 ->", "unjudged TCP 198.18.0.8:80 TCP 198.51.100.5:80"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := onNode()
			parse(t, &in, c.manifest)
			if c.input != nil {
				c.input(&in)
			}
			got := oracle.Expect(in)
			if lines := write(got); !slices.Equal(lines, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
			}
			for _, u := range got.Unjudged {
				if u.Owner == "" || u.Why == "" {
					t.Errorf("no owner or reason: %+v", u)
				}
			}
			for range 5 {
				rand.Shuffle(len(in.Services), func(i, j int) { in.Services[i], in.Services[j] = in.Services[j], in.Services[i] })
				rand.Shuffle(len(in.Slices), func(i, j int) { in.Slices[i], in.Slices[j] = in.Slices[j], in.Slices[i] })
				if again := oracle.Expect(in); !reflect.DeepEqual(again, got) {
					t.Fatalf("in another order of objects:\n%s\nwant:\n%s", strings.Join(write(again), "\n"), strings.Join(write(got), "\n"))
				}
			}
		})
	}
}

func TestWhy(t *testing.T) {
	in := onNode()
	parse(t, &in, `kind: Service
metadata: {name: a}
spec: {type: LoadBalancer, clusterIP: 198.18.0.7, externalIPs: [198.51.100.5], ports: [{port: 80, nodePort: 30080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`+sliceOfA)
	e := oracle.Expect(in)
	want := map[string]string{
		"192.0.2.10:30080": "node port 30080/TCP of Service default/a", "198.18.0.7:80": "cluster address of Service default/a, port 80/TCP",
		"198.51.100.5:80": "external address of Service default/a, port 80/TCP", "203.0.113.1:80": "load balancer address of Service default/a, port 80/TCP",
	}
	for at, why := range want {
		a := netip.MustParseAddrPort(at)
		s, ok := e.Find(oracle.Key{Address: a.Addr(), Protocol: world.TCP, Port: a.Port()})
		if !ok || s.Why() != why {
			t.Errorf("%s: %q, want %q", at, s.Why(), why)
		}
		if got := s.Dests[1].Why; got != "endpoint on worker of EndpointSlice default/a-1" {
			t.Errorf("%s: destination %q", at, got)
		}
	}
	if _, ok := e.Find(oracle.Key{Address: netip.MustParseAddr("203.0.113.1"), Protocol: world.UDP, Port: 80}); ok {
		t.Error("found a service that nobody wants")
	}
}

func TestLoadBalancers(t *testing.T) {
	cases := map[string]struct {
		manifest string
		input    func(*oracle.Input)
		want     string
	}{
		"both families": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ipFamilies: [IPv4, IPv6]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}}`,
			want:     "[{default/a [IPv4 IPv6] invalid IP [203.0.113.1]}]",
		},
		"its own family only": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: "2001:db8:18::7", ipFamilies: [IPv6]}}`,
			want:     "[{default/a [IPv6] invalid IP []}]",
		},
		"no range": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ipFamilies: [IPv4, IPv6]}}`,
			input:    func(in *oracle.Input) { delete(in.Ranges.LoadBalancers, world.IPv6) },
			want:     "[{default/a [IPv4] invalid IP []}]",
		},
		"not the cluster's family": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 198.18.0.7, ipFamilies: [IPv4, IPv6]}}`,
			input:    func(in *oracle.Input) { in.Families = in.Families[:1] },
			want:     "[{default/a [IPv4] invalid IP []}]",
		},
		"an address that it asks for": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, loadBalancerIP: 203.0.113.9, clusterIP: 198.18.0.7}}`,
			want:     "[{default/a [IPv4] 203.0.113.9 []}]",
		},
		"a class of its own": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, loadBalancerClass: example.org/other, clusterIP: 198.18.0.7}}`,
			want:     "[]",
		},
		"other type": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: NodePort, clusterIP: 198.18.0.7}}`,
			want:     "[]",
		},
		"no allocator": {
			manifest: `{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, clusterIP: 198.18.0.7}}`,
			input:    func(in *oracle.Input) { in.Options.LoadBalancer = false },
			want:     "[]",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := onNode()
			parse(t, &in, c.manifest)
			if c.input != nil {
				c.input(&in)
			}
			if got := fmt.Sprint(oracle.Expect(in).LoadBalancers); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
