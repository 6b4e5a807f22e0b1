package scenario

import (
	"errors"
	"strings"
	"testing"
)

// base is a scenario without a problem. Tests break it.
const base = `# a comment
name: example
description: A story.
issue: cloudnativelabs/kube-router#1685
tags: [smoke]
families: [ipv4, dual-v6]
world:
  nodes:
    - {name: cp, apiServer: true, proxy: true, addresses: 2}
    - {name: worker}
  pods:
    - {name: web-1, node: cp, labels: {app: web}, listen: [8080/tcp, 53/udp]}
    - {name: idle, node: worker}
  clients: [{name: laptop}]
subject:
  options: {loadBalancer: true, syncPeriod: 5m}
hold:
  - {from: laptop, to: apiserver(cp), maxOutage: 0s}
  - {from: [laptop, idle], to: "node(cp)[1]", kind: ping, maxOutage: 1.5s}
steps:
  - apply: |
      apiVersion: v1
      kind: Service
      metadata:
        name: example
      spec:
        type: LoadBalancer
        selector: {app: web}
        ports:
          - {name: web, port: 80, targetPort: 8080}
          - {name: dns, port: 53, protocol: UDP}
  - name: look
    expect:
      - {reach: "lb(example):80", via: cp, from: [laptop, cp], backends: [web-1]}
      - {refused: "lb(example):81", from: laptop}
      - {ping: node(cp), from: idle}
      - {reach: "clusterip(kubernetes):443", from: web-1}
  - subject: restart
  - delete: service/example
exempt:
  svip: it is broken here
catches: [local-ips-ipv4-only]
`

// edit replaces the only occurrence of a text in base.
func edit(t *testing.T, old, new string) string {
	t.Helper()
	if n := strings.Count(base, old); n != 1 {
		t.Fatalf("%q occurs %d times in base", old, n)
	}
	return strings.Replace(base, old, new, 1)
}

// problemsOf are the problems of a text; at least one is wanted.
func problemsOf(t *testing.T, text string) Problems {
	t.Helper()
	_, err := Parse("x.yaml", []byte(text))
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("no problem was found (%v) in\n%s", err, text)
	}
	return problems
}
