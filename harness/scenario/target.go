package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"proxyproof/sim/world"
)

// TargetKind is the word before the bracket of a target.
type TargetKind string

// The kinds of targets.
const (
	TargetClusterIP TargetKind = "clusterip"   // a Service's cluster addresses
	TargetLB        TargetKind = "lb"          // the addresses in a Service's LoadBalancer status
	TargetExternal  TargetKind = "external"    // a Service's externalIPs
	TargetNodePort  TargetKind = "nodeport"    // the entry node's address at the node port that the Service's port was given
	TargetHealth    TargetKind = "healthcheck" // HTTP to a Service's health-check node port, on the entry node's address
	TargetNode      TargetKind = "node"        // a node's addresses
	TargetPod       TargetKind = "pod"         // a pod's addresses
	TargetClient    TargetKind = "client"      // a client's addresses
	TargetUnused    TargetKind = "unused"      // addresses of a range that nobody has: nodes, services, externals, loadbalancers
	TargetAPIServer TargetKind = "apiserver"   // HTTPS to the API server on its node's addresses
)

// TargetKinds are all kinds of targets.
func TargetKinds() []TargetKind {
	return []TargetKind{TargetClusterIP, TargetLB, TargetExternal, TargetNodePort, TargetHealth, TargetNode, TargetPod, TargetClient, TargetUnused, TargetAPIServer}
}

// OfService tells whether targets of the kind name a Service, so that only a proxy makes them answer.
func (k TargetKind) OfService() bool {
	switch k {
	case TargetClusterIP, TargetLB, TargetExternal, TargetNodePort, TargetHealth:
		return true
	}
	return false
}

// takesPort tells whether a port can be written behind targets of the kind.
func (k TargetKind) takesPort() bool { return k != TargetAPIServer && k != TargetHealth }

// onNode tells whether targets of the kind are on an address of the entry node.
func (k TargetKind) onNode() bool { return k == TargetNodePort || k == TargetHealth }

// AllAddresses is the index of a target that means every address of the place.
const AllAddresses = -1

// Target is what a check is about, by name: addresses are not known before the case runs.
type Target struct {
	Kind TargetKind
	// Namespace of the Service; "default" unless it is written; "" if the target is none of a Service.
	Namespace string
	// Name of the Service, node, pod, client or range.
	Name string
	// Index of the address in each family, or AllAddresses.
	Index int
	// Port is the Service's or the place's port; 0 if there is none: for ping, and for what has one port.
	Port     uint16
	Protocol world.Protocol
}

// targetForm is kind(name), [index] and :port/protocol.
var targetForm = regexp.MustCompile(`^([A-Za-z-]+)\(([^()]*)\)(\[[^\[\]]*\])?(:[^:]*)?$`)

// ParseTarget reads "lb(example):1337", "node(cp)[1]", "clusterip(other/dns):53/udp", "apiserver(cp)".
func ParseTarget(written string) (Target, error) {
	t, err := parseTarget(written)
	if err != nil {
		return Target{}, err
	}
	return t, nil
}

// parseTarget is ParseTarget with an error that tells which part is wrong.
func parseTarget(written string) (Target, *phraseError) {
	m := targetForm.FindStringSubmatch(written)
	if m == nil {
		return Target{}, &phraseError{written, fmt.Sprintf("target %q is not understood", written),
			`want kind(name):port, such as "lb(example):80", "node(cp)" or "apiserver(cp)"; kinds: ` + strings.Join(wordsOf(TargetKinds()...), ", ")}
	}
	t := Target{Kind: TargetKind(m[1]), Name: m[2], Index: AllAddresses, Protocol: world.TCP}
	if !slices.Contains(TargetKinds(), t.Kind) {
		return Target{}, &phraseError{m[1], fmt.Sprintf("target %q: unknown kind %q", written, m[1]),
			Suggest(m[1], wordsOf(TargetKinds()...), "kinds of targets")}
	}
	if err := t.parseName(m[2]); err != nil {
		return Target{}, &phraseError{m[2], fmt.Sprintf("target %q: %v", written, err), ""}
	}
	if index := strings.Trim(m[3], "[]"); m[3] != "" {
		n, err := strconv.ParseUint(index, 10, 8)
		if err != nil {
			return Target{}, &phraseError{m[3], fmt.Sprintf("target %q: %s is no index of an address", written, m[3]), "want [0] or [1]"}
		}
		t.Index = int(n)
	}
	if m[4] != "" {
		port, err := world.ParsePort(m[4][1:])
		switch {
		case !t.Kind.takesPort():
			return Target{}, &phraseError{m[4], fmt.Sprintf("target %q: %s has no port to choose", written, t.Kind), "leave " + m[4] + " out"}
		case err != nil:
			return Target{}, &phraseError{m[4][1:], fmt.Sprintf("target %q: %v", written, err), ""}
		}
		t.Port, t.Protocol = port.Number, port.Protocol
	}
	return t, nil
}

// parseName reads what stands between the brackets.
func (t *Target) parseName(written string) error {
	t.Name = written
	if t.Kind.OfService() {
		t.Namespace = defaultNamespace
		if namespace, name, found := strings.Cut(written, "/"); found {
			t.Namespace, t.Name = namespace, name
		}
	}
	for _, name := range []string{t.Name, t.Namespace} {
		if name == "" && (t.Kind.OfService() || t.Name == "") {
			return errors.New("a name is missing between the brackets")
		}
		if name != "" && !isLabel(name) {
			return fmt.Errorf("%q is no name", name)
		}
	}
	return nil
}

// String is the written form.
func (t Target) String() string {
	name := t.Name
	if t.Namespace != "" && t.Namespace != defaultNamespace {
		name = t.Namespace + "/" + name
	}
	s := fmt.Sprintf("%s(%s)", t.Kind, name)
	if t.Index != AllAddresses {
		s += fmt.Sprintf("[%d]", t.Index)
	}
	if t.Port == 0 {
		return s
	}
	s += fmt.Sprintf(":%d", t.Port)
	if t.Protocol != world.TCP {
		s += "/" + strings.ToLower(string(t.Protocol))
	}
	return s
}

// isAPIService tells whether the target is the Service of the API server, which speaks HTTPS.
func (t Target) isAPIService() bool {
	return t.Kind == TargetClusterIP && t.Namespace == defaultNamespace && t.Name == apiService
}

// phraseError tells which part of something written in a line, a target or a reference, is wrong.
type phraseError struct{ part, message, suggestion string }

func (e *phraseError) Error() string { return e.message }
