package scenario

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// withStep is base with another first step.
func withStep(step string) string {
	return strings.Replace(base, "steps:\n", "steps:\n"+step, 1)
}

// TestManifestPositions: lines and columns are those of the file, in whatever document, at whatever indentation.
func TestManifestPositions(t *testing.T) {
	const step = `  - apply: |%s

      # a comment

      apiVersion: v1
      kind: Namespace
      metadata: {name: other}
      ---
      # and a Service

      apiVersion: v1
      kind: Service
      metadata:
        name: other
        namespace: other
      spec:
        ports: [{prot: 80}]
`
	for _, indicator := range []string{"", "-", "+", "2-"} {
		text := withStep(fmt.Sprintf(step, indicator))
		problems := problemsOf(t, text)
		if len(problems) != 1 {
			t.Fatalf("%q: got %v", indicator, problems)
		}
		p := problems[0]
		if at := position(text, p); !strings.HasPrefix(text[at:], "prot: 80") {
			t.Errorf("|%s: got %v", indicator, p)
		}
		s, err := Parse("x.yaml", []byte(strings.Replace(text, "prot:", "port:", 1)))
		if err != nil {
			t.Fatalf("|%s: %v", indicator, err)
		}
		if got := s.Steps[0].Title(); got != "apply Namespace other, Service other/other" {
			t.Errorf("|%s: %s", indicator, got)
		}
	}
}

// TestManifestForm refuses what would be read as something else than it seems.
func TestManifestForm(t *testing.T) {
	for step, want := range map[string]string{
		"  - apply: >\n      kind: Service\n": "no block of text",
		"  - apply: |\n      # nothing\n":     "a document without an object", "  - apply: |\n\n      ---\n": "holds no object",
		"  - apply: |\n      - kind: Service\n":                                                                                                                                 "manifest: want fields, got a list",
		"  - apply: |\n      kind: Service\n      kind: Service\n      apiVersion: v1\n":                                                                                        "duplicate key",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: 'A b'}\n":                                                                              `"A b" is no name`,
		"  - apply: |\n      apiVersion: v1\n      kind: Namespace\n      metadata: {name: a, namespace: b}\n":                                                                  "it is in no namespace",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a}\n      ---\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a}\n": "comes twice in one manifest",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: kubernetes}\n":                                                                         "the API server's own",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a, creationTimestamp: today}\n":                                                        "creationTimestamp: parsing time",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a}\n      spec: {ports: [{port: 3000000000}]}\n":                                       "port: 3000000000 is too large",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a}\n      spec: {ports: [{port: 80, targetPort: {}}]}\n":                               "targetPort: want a single value, got fields",
		"  - apply: |\n      apiVersion: v1\n      kind: Service\n      metadata: {name: a}\n      spec: {allocateLoadBalancerNodePorts: \"no\"}\n":                             "want true or false, got the text",
	} {
		if got := problemsOf(t, withStep(step)).Error(); !strings.Contains(got, want) {
			t.Errorf("%s: got\n%s\nwant %s", step, got, want)
		}
	}
}

// TestManifestKinds: each kind can be applied and deleted, and null is nothing, as in Kubernetes.
func TestManifestKinds(t *testing.T) {
	const steps = `  - apply: |
      apiVersion: discovery.k8s.io/v1
      kind: EndpointSlice
      metadata: {name: a, labels: {kubernetes.io/service-name: example}, annotations: null}
      addressType: IPv4
      ports: [{name: "", port: 8080, protocol: TCP}]
      endpoints: [{addresses: [192.0.2.1], conditions: {ready: true}}]
      ---
      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata: {name: a}
      spec:
        podSelector: {matchLabels: {app: web}}
        ingress: [{ports: [{port: 80}, {port: http}]}]
      ---
      apiVersion: v1
      kind: Namespace
      metadata: {name: a}
  - delete: [endpointslice/a, networkpolicy/default/a, namespace/a]
`
	s, err := Parse("x.yaml", []byte(withStep(steps)))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Steps[0].Title() + "; " + s.Steps[1].Title(); got != "apply EndpointSlice a, NetworkPolicy a, Namespace a; delete endpointslice/a, networkpolicy/default/a, namespace/a" {
		t.Error(got)
	}
}

// TestEveryTypeDecodes: the decoder knows all types that occur in the objects that can be applied, and in the format itself.
func TestEveryTypeDecodes(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type, string, string)
	visit = func(of reflect.Type, tag, path string) {
		if seen[of] {
			return
		}
		seen[of] = true
		if tag == "json" && reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return
		}
		switch of.Kind() {
		case reflect.Struct:
			for _, f := range fieldsOf(of, tag) {
				visit(of.FieldByIndex(f.index).Type, tag, path+"."+f.name)
			}
		case reflect.Pointer, reflect.Slice:
			visit(of.Elem(), tag, path)
		case reflect.Map:
			if of.Key().Kind() != reflect.String {
				t.Errorf("%s: keys of type %s", path, of.Key())
			}
			visit(of.Elem(), tag, path)
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16:
		default:
			t.Errorf("%s: no way to decode a %s", path, of)
		}
	}
	visit(reflect.TypeFor[Scenario](), "yaml", "scenario")
	for _, k := range kinds() {
		visit(reflect.TypeOf(k.empty()).Elem(), "json", k.name)
	}
}
