package scenario

import (
	"errors"
	"testing"
)

// FuzzParse: whatever is in a file, the answer is a scenario or Problems at places that exist.
func FuzzParse(f *testing.F) {
	f.Add(base)
	for _, s := range shipped(f) {
		f.Add(string(s.Source))
	}
	for _, text := range []string{"", "-", "a", "? a", "a: &b", "*a", "steps: |", "{", "steps:\n- apply: |\n", "name: !!x", "<<: {a: b}", "world: {nodes: [", "\t", "---\n---", "hold: [~]"} {
		f.Add(text)
	}
	for _, lines := range []string{
		aService + "spec: {type: LoadBalancer, ports: [{port: 80}], loadBalancerSourceRanges: [\"client(friend)\", \"192.0.2.0\"]}",
		aService + "spec: {clusterIP: None, type: NodePort, selector: {app: -}}",
		aPolicy + "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: \"client(friend)\"}}, {}]}]}",
		aSlice + "endpoints: [{addresses: [\"pod(web-1)\", 127.0.0.1]}]\nports: [{name: A}]",
	} {
		f.Add(refuse(lines))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("x.yaml", []byte(text))
		var problems Problems
		if (s == nil) != errors.As(err, &problems) || err != nil && len(problems) == 0 {
			t.Fatalf("got %v, %v", s, err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Errorf("a problem nowhere: %+v", p)
			}
		}
	})
}
