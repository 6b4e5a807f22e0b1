package scenario

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
)

// docs is the format's documentation for people.
const docs = "../../docs/scenarios.md"

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

// TestGenerated compares schema.json and the tables of the documentation with what the types say now. After a change of the
// types: go generate ./harness/scenario
func TestGenerated(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	comments := commentsOf(t)
	for path, want := range map[string][]byte{
		"schema.json": schemaOf(t, comments),
		docs:          fillTables(t, text, comments),
	} {
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is older than the types (%v); run: go generate ./harness/scenario", path, err)
		}
	}
}

// commentsOf are the comments of the package's types and fields, by "package.Type" and "package.Type.Field".
func commentsOf(t *testing.T) map[string]string {
	t.Helper()
	var r jsonschema.Reflector
	if err := r.AddGoComments(packagePath, "./", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for name, text := range r.CommentMap {
		r.CommentMap[name] = plain(name[strings.LastIndex(name, ".")+1:], strings.Join(strings.Fields(text), " "))
	}
	return r.CommentMap
}

// plain drops the Go name with which a comment begins: files spell it otherwise. "MaxOutage is the longest time" becomes "The
// longest time".
func plain(name, text string) string {
	for _, verb := range []string{": ", " is ", " are "} {
		if rest, ok := strings.CutPrefix(text, name+verb); ok && rest != "" {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return text
}

const packagePath = "proxyproof/harness/scenario"

// schemaOf makes the JSON schema.
func schemaOf(t *testing.T, comments map[string]string) []byte {
	t.Helper()
	r := jsonschema.Reflector{FieldNameTag: "yaml", ExpandedStruct: true, Anonymous: true, CommentMap: comments, Mapper: scalarSchema}
	s := r.Reflect(&Scenario{})
	s.Title = "A scenario of proxyproof"
	refine(t, s)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

const (
	labelPattern    = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	portPattern     = `^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`
	deletePattern   = `^[a-z]+(/[a-z0-9-]+){1,2}$`
)

// scalarSchema is the schema of types that read themselves from a text.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	if c, ok := reflect.Zero(t).Interface().(choice); ok {
		words, _ := c.choices()
		return &jsonschema.Schema{Type: "string", Enum: anys(words)}
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	case reflect.TypeFor[Port]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: portPattern}, {Type: "integer", Minimum: "1", Maximum: "65535"},
		}}
	case reflect.TypeFor[Names]():
		one := &jsonschema.Schema{Type: "string"}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{one, {Type: "array", Items: one, MinItems: number(1), UniqueItems: true}}}
	}
	return nil
}

// refine adds what the types cannot say.
func refine(t *testing.T, s *jsonschema.Schema) {
	t.Helper()
	property := func(of *jsonschema.Schema, name string) *jsonschema.Schema {
		p, ok := of.Properties.Get(name)
		if !ok {
			t.Fatalf("the schema has no property %s", name)
		}
		return p
	}
	def := func(name string) *jsonschema.Schema {
		if s.Definitions[name] == nil {
			t.Fatalf("the schema has no definition %s", name)
		}
		return s.Definitions[name]
	}
	property(s, "issue").Pattern = issueForm.String()
	property(s, "description").MinLength = number(1)
	property(s, "steps").MinItems = number(1)
	property(s, "families").MinItems = number(1)
	property(s, "families").UniqueItems = true
	property(s, "exempt").PropertyNames = &jsonschema.Schema{Enum: anys(Invariants())}
	for _, list := range []string{"tags", "catches"} {
		property(s, list).UniqueItems = true
		property(s, list).Items.Pattern = labelPattern
	}
	for _, named := range []*jsonschema.Schema{s, def("Node"), def("Pod"), def("Client")} {
		property(named, "name").Pattern = labelPattern
	}
	property(def("World"), "nodes").MinItems = number(1)
	property(def("Node"), "addresses").Enum = []any{1, 2}
	property(def("Hold"), "kind").Enum = anys(holdKinds())
	property(def("Hold"), "to").Pattern = targetPattern()
	step, expect := def("Step"), def("Expect")
	property(step, "expect").MinItems = number(1)
	for _, alternative := range property(step, "delete").OneOf {
		if alternative.Items != nil {
			alternative = alternative.Items
		}
		alternative.Pattern = deletePattern
	}
	step.OneOf = exactlyOne(verbNames...)
	for _, list := range []string{"pods", "endpoints", "nodes", "foreign", "state"} {
		property(step, list).MinItems = number(1)
	}
	thing := def("Foreign")
	thing.OneOf = exactlyOne("ipvs", "mark", "ipset", "address", "route", "rule")
	property(thing, "name").Pattern = labelPattern
	property(thing, "mark").Minimum = "1"
	for _, name := range []string{"ipvs", "address", "route"} {
		property(thing, name).Pattern = targetPattern()
	}
	property(step, "disturb").MinItems = number(1)
	disturbance := def("Disturb")
	disturbance.OneOf = exactlyOne("ipvs", "ipset", "address", "chain", "neighbours")
	property(disturbance, "ipset").Enum = anys(setNames)
	for _, name := range []string{"ipvs", "address"} {
		property(disturbance, name).Pattern = targetPattern()
	}
	change := def("PodChange")
	change.AnyOf = exactlyOne("becomes", "labels")
	property(change, "name").Pattern = labelPattern
	property(expect, "status").Minimum, property(expect, "status").Maximum = "100", "599"
	changed := def("NodeChange")
	changed.OneOf = exactlyOne("addresses", "replug")
	property(changed, "addresses").Enum = []any{1, 2}
	property(changed, "replug").Enum = []any{true}
	state := def("StateCheck")
	state.OneOf = exactlyOne("ipvs", "ipset", "address", "route", "rule", "sysctl")
	for _, name := range []string{"ipvs", "address", "route"} {
		property(state, name).Pattern = targetPattern()
	}
	for _, name := range []string{"destinations", "drained", "equals"} {
		for _, alternative := range property(state, name).OneOf {
			alternative.MinItems = nil // [] for none
		}
	}
	expect.OneOf = exactlyOne("reach", "refused", "ping")
	for _, name := range []string{"reach", "refused", "ping"} {
		property(expect, name).Pattern = targetPattern()
	}
}

// targetPattern is targetForm with the kinds of targets.
func targetPattern() string {
	return strings.Replace(targetForm.String(), "[A-Za-z-]+", strings.Join(wordsOf(TargetKinds()...), "|"), 1)
}

func exactlyOne(fields ...string) []*jsonschema.Schema {
	var list []*jsonschema.Schema
	for _, f := range fields {
		list = append(list, &jsonschema.Schema{Required: []string{f}})
	}
	return list
}

func anys(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

func number(n uint64) *uint64 { return &n }

// tableForm is a generated table of the documentation.
var tableForm = regexp.MustCompile(`(?s)(<!-- fields of (\w+)[^>]*-->\n).*?(<!-- end -->)`)

// tabled are the types whose fields the documentation lists, each in a table of its own.
func tabled() []any {
	return []any{Scenario{}, World{}, Node{}, Pod{}, Client{}, Subject{}, Options{}, Hold{}, Step{}, PodChange{}, Endpoints{}, NodeChange{}, Foreign{}, Disturb{}, Expect{}, StateCheck{}}
}

// fillTables puts the fields of the types into the documentation.
func fillTables(t *testing.T, text []byte, comments map[string]string) []byte {
	t.Helper()
	seen := map[string]bool{}
	filled := tableForm.ReplaceAllFunc(text, func(block []byte) []byte {
		m := tableForm.FindSubmatch(block)
		name := string(m[2])
		seen[name] = true
		for _, v := range tabled() {
			if reflect.TypeOf(v).Name() == name {
				return []byte(string(m[1]) + table(reflect.TypeOf(v), comments) + string(m[3]))
			}
		}
		t.Fatalf("%s: there is no type %s", docs, name)
		return nil
	})
	for _, v := range tabled() {
		if name := reflect.TypeOf(v).Name(); !seen[name] {
			t.Errorf("%s lacks the table of %s", docs, name)
		}
	}
	return filled
}

// table lists the fields of a type.
func table(of reflect.Type, comments map[string]string) string {
	var b strings.Builder
	b.WriteString("| field | value | meaning |\n|---|---|---|\n")
	for _, f := range fieldsOf(of, "yaml") {
		member := of.FieldByIndex(f.index)
		name := "`" + f.name + "`"
		if f.required {
			name = "**" + name + "**"
		}
		comment := comments[fmt.Sprintf("%s.%s.%s", packagePath, of.Name(), member.Name)]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, valueOf(member.Type), strings.ReplaceAll(comment, "|", `\|`))
	}
	return b.String()
}

// valueOf says in words what a field can be.
func valueOf(t reflect.Type) string {
	if c, ok := reflect.Zero(t).Interface().(choice); ok {
		words, _ := c.choices()
		return "`" + strings.Join(words, "`, `") + "`"
	}
	switch t {
	case reflect.TypeFor[Names]():
		return "a name or a list"
	case reflect.TypeFor[Duration]():
		return "a duration"
	case reflect.TypeFor[Port]():
		return "a port"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueOf(t.Elem())
	case reflect.Slice:
		return "list of " + strings.TrimPrefix(valueOf(t.Elem()), "a ")
	case reflect.Map:
		return "names with texts"
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Int:
		return "a number"
	case reflect.Struct:
		return "[" + strings.ToLower(t.Name()) + "](#" + strings.ToLower(t.Name()) + ")"
	}
	return "a text"
}
