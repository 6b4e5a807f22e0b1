package known

import (
	"strings"
	"testing"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

const two = `
- findings: [local-ips-incomplete]
  versions: "<v2.2.0"
  families: [ipv6]
  upstream: o/r#1
  why: the set is empty
- findings: [apiserver-refused, node-self-unreachable]
  versions: "<v2.2.0"
  families: [ipv6]
  scenarios: ["loadbalancer-*"]
  except: [loadbalancer-odd]
  upstream: o/r#1
  why: a node port
- findings: [vip-route-wrong]
  families: [ipv6]
  sometimes: true
  upstream: o/r#2
  why: a race
- findings: [subject-exited]
  families: [ipv6]
  scenarios: ["exits-*"]
  upstream: o/r#3
  why: it cannot stand IPv6
`

func TestJudge(t *testing.T) {
	issues, err := Parse([]byte(two))
	if err != nil {
		t.Fatal(err)
	}
	at := func(name, version string) Case { return Case{name, "ipv6", version} }
	for _, c := range []struct {
		name  string
		at    Case
		found string
		want  event.VerdictKind
		hint  string
	}{
		{"as known", at("clusterip", "v2.1.2"), "local-ips-incomplete", event.Known, ""},
		{"as known, all", at("loadbalancer-a", "v2.1.2"), "apiserver-refused local-ips-incomplete node-self-unreachable", event.Known, ""},
		{"with the race", at("clusterip", "v2.1.2"), "local-ips-incomplete vip-route-wrong", event.Known, ""},
		{"only the race", at("clusterip", "v2.2.0"), "vip-route-wrong", event.Known, ""},
		{"one too many", at("clusterip", "v2.1.2"), "local-ips-incomplete apiserver-refused", event.Fail, ""},
		{"one too few", at("loadbalancer-a", "v2.1.2"), "local-ips-incomplete apiserver-refused", event.StaleKnown, "node-self-unreachable is a known issue"},
		{"none", at("clusterip", "v2.1.2"), "", event.StaleKnown, "o/r#1"},
		{"fixed", at("clusterip", "v2.2.0"), "", event.Pass, ""},
		{"fixed and back", at("clusterip", "v2.2.0"), "local-ips-incomplete", event.Fail, ""},
		{"taken out", at("loadbalancer-odd", "v2.1.2"), "local-ips-incomplete", event.Known, ""},
		{"gone before it", at("exits-a", "v2.1.2"), "subject-exited", event.Known, ""},
		{"gone, not as known", at("clusterip", "v2.1.2"), "subject-exited", event.Fail, ""},
		{"other family", Case{"clusterip", "ipv4", "v2.1.2"}, "local-ips-incomplete", event.Fail, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := event.Verdict{Kind: event.Pass}
			var found []finding.ID
			for _, id := range strings.Fields(c.found) {
				found, v.Kind = append(found, finding.ID(id)), event.Fail
			}
			got := Judge(issues, c.at, found, v)
			if got.Kind != c.want || !strings.Contains(got.Reason, c.hint) {
				t.Errorf("got %s (%s), want %s with %q", got.Kind, got.Reason, c.want, c.hint)
			}
		})
	}
	for _, kind := range []event.VerdictKind{event.Infra, event.Skip} {
		if got := Judge(issues, at("clusterip", "v2.1.2"), nil, event.Verdict{Kind: kind}); got.Kind != kind {
			t.Errorf("%s became %s", kind, got.Kind)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"finding":  {"[{findings: [nonsense], upstream: a, why: b}]", "no finding is called nonsense"},
		"family":   {"[{findings: [hold-lost], families: [ipv5], upstream: a, why: b}]", "no family set is called ipv5"},
		"pattern":  {"[{findings: [hold-lost], scenarios: ['['], upstream: a, why: b}]", "syntax error in pattern"},
		"versions": {"[{findings: [hold-lost], versions: 'latest!', upstream: a, why: b}]", "latest!"},
		"upstream": {"[{findings: [hold-lost], why: b}]", "upstream"},
		"field":    {"[{findings: [hold-lost], upstream: a, why: b, unless: c}]", "unless"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The files that ship can be read.
func TestShipped(t *testing.T) {
	entries, err := files.ReadDir(".")
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if _, err := Of(strings.TrimSuffix(e.Name(), ".yaml")); err != nil {
			t.Error(err)
		}
	}
	if issues, err := Of("nobody"); issues != nil || err != nil {
		t.Error(issues, err)
	}
}
