package scenario

import (
	"testing"

	"proxyproof/sim/world"
)

func TestParseTarget(t *testing.T) {
	for written, want := range map[string]Target{
		"clusterip(web):80":           {TargetClusterIP, "default", "web", AllAddresses, 80, world.TCP},
		"clusterip(other/dns):53/udp": {TargetClusterIP, "other", "dns", AllAddresses, 53, world.UDP},
		"lb(example)":                 {TargetLB, "default", "example", AllAddresses, 0, world.TCP},
		"external(example)[1]:80":     {TargetExternal, "default", "example", 1, 80, world.TCP},
		"nodeport(example):1337":      {TargetNodePort, "default", "example", AllAddresses, 1337, world.TCP},
		"node(cp)[1]":                 {TargetNode, "", "cp", 1, 0, world.TCP},
		"client(laptop)":              {TargetClient, "", "laptop", AllAddresses, 0, world.TCP},
		"pod(web-1):65535":            {TargetPod, "", "web-1", AllAddresses, 65535, world.TCP},
		"apiserver(cp)[0]":            {TargetAPIServer, "", "cp", 0, 0, world.TCP},
	} {
		got, err := ParseTarget(written)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", written, got, err, want)
		}
		if got.String() != written {
			t.Errorf("%s is written %s", written, got)
		}
	}
	if got, err := ParseTarget("clusterip(default/web):80/tcp"); err != nil || got.String() != "clusterip(web):80" {
		t.Errorf("what is the default need not be written: %v, %v", got, err)
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for _, written := range []string{
		"", "cp", "node", "node(", "node()", "node(cp", "node(cp))", "node(a/b)", "node(A)", "Node(cp)", "lb(/x):80", "lb(x/):80", "lb(a/b/c):80",
		"lb(x):", "lb(x):0", "lb(x):65536", "lb(x):-1", "lb(x):80/", "lb(x):80/icmp", "lb(x)[", "lb(x)[]:80", "lb(x)[-1]:80", "lb(x)[999]:80",
		"lb(x):80[1]", "apiserver(cp):443", " lb(x):80", "lb(x):80 ",
	} {
		if got, err := ParseTarget(written); err == nil {
			t.Errorf("%q was read as %+v", written, got)
		}
	}
}

func TestParseRef(t *testing.T) {
	for written, want := range map[string]Ref{
		"service/a":         {"Service", "default", "a"},
		"service/other/a":   {"Service", "other", "a"},
		"endpointslice/a":   {"EndpointSlice", "default", "a"},
		"networkpolicy/x/a": {"NetworkPolicy", "x", "a"},
		"namespace/a":       {"Namespace", "", "a"},
	} {
		if got, err := ParseRef(written); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", written, got, err, want)
		}
	}
	for _, written := range []string{"", "a", "service", "service/", "service//a", "service/a/", "service/a/b/c", "Service/a", "services/a", "pod/a", "service/A", "namespace/a/b"} {
		if got, err := ParseRef(written); err == nil {
			t.Errorf("%q was read as %v", written, got)
		}
	}
}

func TestTitle(t *testing.T) {
	service := Ref{"Service", "default", "a"}
	for want, step := range map[string]Step{
		"a name":                               {Name: "a name", Subject: SubjectStart},
		"apply Service a":                      {Apply: "x", Objects: []Ref{service}},
		"apply 4 objects":                      {Apply: "x", Objects: []Ref{service, service, service, service}},
		"apply a manifest":                     {Apply: "x"},
		"delete service/a, service/b":          {Delete: Names{"service/a", "service/b"}},
		"kill the subject":                     {Subject: SubjectKill},
		"expect lb(a):80 to answer x, y":       {Expect: []Expect{{Reach: "lb(a):80", From: Names{"x", "y"}}}},
		"expect lb(a):80 to refuse x":          {Expect: []Expect{{Refused: "lb(a):80", From: Names{"x"}}}},
		"expect node(cp) to answer pings of x": {Expect: []Expect{{Ping: "node(cp)", From: Names{"x"}}}},
		"expect 2 checks":                      {Expect: make([]Expect, 2)},
	} {
		if got := step.Title(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
