package scenario

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the schema as an editor uses it.
func compiled(t *testing.T) *validator.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := validator.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate judges a scenario file by the schema.
func validate(t *testing.T, s *validator.Schema, text string) error {
	t.Helper()
	json, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	document, err := validator.UnmarshalJSON(strings.NewReader(string(json)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(document)
}

// TestSchemaAccepts: an editor does not complain about what the parser takes.
func TestSchemaAccepts(t *testing.T) {
	s := compiled(t)
	texts := map[string]string{"base": base, "port without protocol": edit(t, "8080/tcp, ", "8080, "), "many names": edit(t, "delete: service/example", "delete: [service/example]")}
	for _, shipped := range shipped(t) {
		texts[shipped.File] = string(shipped.Source)
	}
	for name, text := range texts {
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses: an editor shows what can be seen without knowing the rest of the file. The parser refuses it as well.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	for _, test := range []struct{ old, new string }{
		{"name: example\ndesc", "name: Example\ndesc"},
		{"description: A story.\n", ""},
		{"A story.", `""`},
		{"kube-router#1685", "kube-router"},
		{"[smoke]", "[smoke, smoke]"},
		{"[smoke]", "[sm oke]"},
		{"[ipv4, dual-v6]", "[ipv7]"},
		{"[ipv4, dual-v6]", "[]"},
		{"addresses: 2", "addresses: 3"},
		{"addresses: 2", "addresses: two"},
		{"{name: worker}", "{name: worker, adresses: 2}"},
		{"53/udp", "53/dccp"},
		{"subject: restart", "pods: []"},
		{"subject: restart", "pods: [{name: web-1}]"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), from: idle, status: 99}"},
		{"53/udp", "udp/53"},
		{"syncPeriod: 5m", "syncPeriod: 5"},
		{"loadBalancer: true", "loadBalancer: yes"},
		{"to: apiserver(cp)", "to: cp"},
		{"kind: ping", "kind: pin"},
		{", maxOutage: 1.5s", ""},
		{"subject: restart", "subject: reboot"},
		{"- subject: restart", "- name: nothing"},
		{"- subject: restart", "- {subject: restart, delete: service/example}"},
		{"delete: service/example", "delete: example"},
		{"{ping: node(cp), from: idle}", "{from: idle}"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp), reach: apiserver(cp), from: idle}"},
		{"{ping: node(cp), from: idle}", "{ping: nod(cp), from: idle}"},
		{"{ping: node(cp), from: idle}", "{ping: node(cp)}"},
		{"svip: it", "svpi: it"},
	} {
		text := edit(t, test.old, test.new)
		if validate(t, s, text) == nil {
			t.Errorf("the schema accepts %s", test.new)
		}
		problemsOf(t, text)
	}
}
