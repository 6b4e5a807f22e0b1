package scenario

import (
	"strings"
	"testing"
)

// TestProblemText is the interface with whoever writes a scenario: the whole text, for each class of problems.
func TestProblemText(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown field", "- {name: worker}", "- {name: worker, adresses: 2}", `
x.yaml:10:22: unknown field "adresses" in a node
   10 |     - {name: worker, adresses: 2}
      |                      ^^^^^^^^
  did you mean addresses? fields: name, apiServer, standby, addresses, proxy`},

		{"wrong type", "addresses: 2", "addresses: two", `
x.yaml:9:59: addresses: want a whole number, got the text "two"
    9 |     - {name: cp, apiServer: true, proxy: true, addresses: two}
      |                                                           ^^^`},

		{"text where a list belongs", "tags: [smoke]", `tags: "smoke"`, `
x.yaml:5:7: tags: want a list, got the text "smoke"
    5 | tags: "smoke"
      |       ^^^^^^^
  write tags: [smoke]`},

		{"number where a text belongs", "labels: {app: web}", "labels: {app: 1}", `
x.yaml:12:45: app: want a text, got the number 1
   12 |     - {name: web-1, node: cp, labels: {app: 1}, listen: [8080/tcp, 53/udp]}
      |                                             ^
  write "1", with the quotes`},

		{"truth where a target belongs", "  - delete: service/example\n", "  - delete: service/example\n  - expect: [{refused: true, from: laptop}]\n", `
x.yaml:40:24: refused: want a text, got true
   40 |   - expect: [{refused: true, from: laptop}]
      |                        ^^^^
  name what is asked, such as refused: "node(cp):30080"`},

		{"duplicate key", "description: A story.\n", "description: A story.\nname: again\n", `
x.yaml:4:1: duplicate key "name": it is already on line 2
    4 | name: again
      | ^^^^
  remove one of the two`},

		{"pod that does not exist", "backends: [web-1]", "backends: [web-2]", `
x.yaml:34:75: pod web-2 does not exist
   34 |       - {reach: "lb(example):80", via: cp, from: [laptop, cp], backends: [web-2]}
      |                                                                           ^^^^^
  did you mean web-1? pods: web-1, idle`},

		{"impossible family", "families: [ipv4, dual-v6]", "families: [ipv4, ipv7]", `
x.yaml:6:18: families[1]: unknown family set "ipv7"
    6 | families: [ipv4, ipv7]
      |                  ^^^^
  did you mean ipv4? family sets: ipv4, ipv6, dual-v4, dual-v6`},

		{"syntax", "tags: [smoke]", "tags: [smoke", `
x.yaml:6:1: ',' or ']' must be specified
    6 | families: [ipv4, dual-v6]
      | ^^^^^^^^`},

		{"missing field", "- {name: idle, node: worker}", "- {name: idle}", `
x.yaml:13:7: a pod lacks the field "node"
   13 |     - {name: idle}
      |       ^
  add node: …`},

		{"unknown field in a manifest", "        selector: {app: web}", "        selektor: {app: web}", `
x.yaml:28:9: unknown field "selektor" in spec (ServiceSpec)
   28 |         selektor: {app: web}
      |         ^^^^^^^^
  did you mean selector?`},

		{"wrong type in a manifest", "port: 80,", "port: eighty,", `
x.yaml:30:31: port: want a whole number, got the text "eighty"
   30 |           - {name: web, port: eighty, targetPort: 8080}
      |                               ^^^^^^`},

		{"duplicate key in a manifest", "        type: LoadBalancer\n", "        type: LoadBalancer\n        type: NodePort\n", `
x.yaml:28:9: duplicate key "type": it is already on line 27
   28 |         type: NodePort
      |         ^^^^
  remove one of the two`},

		{"syntax in a manifest", "selector: {app: web}\n", "selector: {app: web\n", `
x.yaml:29:9: ',' or '}' must be specified
   29 |         ports:
      |         ^^^^^`},

		{"deleted Service", "  - delete: service/example\n", "  - delete: service/example\n  - expect: [{ping: lb(example), from: laptop}]\n", `
x.yaml:40:24: ping lb(example): Service example was deleted on line 39
   40 |   - expect: [{ping: lb(example), from: laptop}]
      |                        ^^^^^^^
  check it before, or apply it again`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := problemsOf(t, edit(t, test.old, test.new)).Error()
			if want := strings.TrimPrefix(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestExcerpt marks what is meant also behind tabs and letters of several bytes.
func TestExcerpt(t *testing.T) {
	s := newSource("x.yaml", []byte("a\tb: ünicode, wörter\nlast"))
	for _, test := range []struct {
		at   spot
		want string
	}{
		{s.within(spot{1, 3, 1}, "wörter"), "    1 | a\tb: ünicode, wörter\n      |  \t            ^^^^^^"},
		{spot{2, 3, 99}, "    2 | last\n      |   ^^"},
		{spot{2, 9, 1}, "    2 | last\n      |     ^"},
		{spot{7, 1, 1}, ""},
	} {
		if got := s.excerpt(test.at); got != test.want {
			t.Errorf("%v: got\n%s\nwant\n%s", test.at, got, test.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"web-1", "laptop", "cp", "apiServer"}
	for written, want := range map[string]string{
		"web-2": "web-1", "lpatop": "laptop", "apiserver": "apiServer", "pc": "cp", "completely-different": "", "": "",
	} {
		if got := Nearest(written, known); got != want {
			t.Errorf("nearest to %q: got %q, want %q", written, got, want)
		}
	}
}
