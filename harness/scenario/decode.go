package scenario

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder fills Go values from YAML. It goes on after a problem, so that all are found at once, and remembers where everything
// stood, so that later checks can point at it.
type decoder struct {
	source *source
	// offset is added to positions: a manifest is YAML within the text of a file.
	offset offset
	// tag is the struct tag that names fields, "yaml" for scenarios or "json" for Kubernetes objects.
	tag string
	// places are where values stood, by pointer to the value, or mapKey.
	places   map[any]spot
	problems Problems
}

type offset struct{ lines, columns int }

// mapKey is the key of decoder.places for a key of a map.
type mapKey struct {
	of  any // pointer to the map
	key string
}

func newDecoder(s *source, tag string, o offset) *decoder {
	return &decoder{source: s, tag: tag, offset: o, places: map[any]spot{}}
}

func (d *decoder) report(at spot, suggestion, format string, args ...any) {
	d.problems = append(d.problems, d.source.problem(at, fmt.Sprintf(format, args...), suggestion))
}

// decode fills v, which has to be settable, from a node. name is what the field is called.
func (d *decoder) decode(n ast.Node, v reflect.Value, name string) {
	at := d.spotOf(n)
	d.places[v.Addr().Interface()] = at
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.report(at, "write the value out", "%s: anchors, aliases and tags are not part of the format", name)
		return
	case *ast.NullNode:
		if d.tag == "yaml" {
			d.report(at, "give it a value, or leave it out", "%s has no value", name)
		}
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *Names:
		d.names(n, target, name)
		return
	case encoding.TextUnmarshaler:
		if d.tag == "yaml" {
			d.text(n, target, name)
			return
		}
	}
	if target, ok := v.Addr().Interface().(json.Unmarshaler); ok && d.tag == "json" {
		d.json(n, target, name)
		return
	}
	d.kind(n, v, name)
}

// kind decodes by the kind of the Go type.
func (d *decoder) kind(n ast.Node, v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), name)
	case reflect.Struct:
		d.fields(n, v, name)
	case reflect.Map:
		d.entries(n, v, name)
	case reflect.Slice:
		d.list(n, v, name)
	case reflect.String:
		d.string(n, v, name)
	default:
		d.scalar(n, v, name)
	}
}

// names decodes one name or a list of them.
func (d *decoder) names(n ast.Node, into *Names, name string) {
	if _, isList := n.(*ast.SequenceNode); isList {
		d.list(n, reflect.ValueOf(into).Elem(), name)
		return
	}
	*into = make(Names, 1)
	d.decode(n, reflect.ValueOf(into).Elem().Index(0), name)
}

// text decodes what reads itself from a string.
func (d *decoder) text(n ast.Node, into encoding.TextUnmarshaler, name string) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode:
		if err := into.UnmarshalText([]byte(n.GetToken().Value)); err != nil {
			d.report(d.spotOf(n), "", "%s: %v", name, err)
		}
	default:
		d.mismatch(n, "a text", name, "")
	}
}

// json decodes what reads itself from JSON: times, quantities, ports of Kubernetes.
func (d *decoder) json(n ast.Node, into json.Unmarshaler, name string) {
	var text []byte
	switch n := n.(type) {
	case *ast.StringNode:
		text, _ = json.Marshal(n.Value)
	case *ast.LiteralNode:
		text, _ = json.Marshal(n.Value.Value)
	case *ast.MappingNode, *ast.SequenceNode:
		d.mismatch(n, "a single value", name, "")
		return
	default:
		text = []byte(n.GetToken().Value)
	}
	if err := into.UnmarshalJSON(text); err != nil {
		d.report(d.spotOf(n), "", "%s: %v", name, err)
	}
}

// fields decodes a mapping into a struct.
func (d *decoder) fields(n ast.Node, v reflect.Value, name string) {
	mapping, ok := d.mapping(n, name)
	if !ok {
		return
	}
	known := fieldsOf(v.Type(), d.tag)
	seen := d.keys(mapping)
	for _, pair := range mapping {
		i := slices.IndexFunc(known, func(f field) bool { return f.name == pair.key })
		if i < 0 {
			d.report(pair.at, Suggest(pair.key, names(known), "fields"), "unknown field %q in %s", pair.key, noun(v.Type(), name))
			seen[Nearest(pair.key, names(known))] = true // that it is missing would be the same problem again
			continue
		}
		if pair.again {
			continue
		}
		d.decode(pair.value, v.FieldByIndex(known[i].index), pair.key)
	}
	for _, f := range known {
		if f.required && !seen[f.name] {
			d.report(d.spotOf(n), "add "+f.name+": …", "%s lacks the field %q", noun(v.Type(), name), f.name)
		}
	}
}

// entries decodes a mapping into a map with string keys.
func (d *decoder) entries(n ast.Node, v reflect.Value, name string) {
	mapping, ok := d.mapping(n, name)
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.keys(mapping)
	for _, pair := range mapping {
		if pair.again {
			continue
		}
		d.places[mapKey{v.Addr().Interface(), pair.key}] = pair.at
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(pair.value, element, pair.key)
		v.SetMapIndex(reflect.ValueOf(pair.key).Convert(v.Type().Key()), element)
	}
}

// pair is a key with its value.
type pair struct {
	key   string
	at    spot // of the key
	value ast.Node
	again bool // the key came before
}

// mapping are the pairs of a node, if it is a mapping.
func (d *decoder) mapping(n ast.Node, name string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.mismatch(n, "fields", name, "write field: value lines below it, or {field: value}")
		return nil, false
	}
	pairs := make([]pair, len(values))
	for i, v := range values {
		pairs[i] = pair{key: v.Key.GetToken().Value, at: d.spotOf(v.Key), value: v.Value}
	}
	return pairs, true
}

// keys reports keys that come twice and returns all.
func (d *decoder) keys(pairs []pair) map[string]bool {
	first := map[string]spot{}
	seen := map[string]bool{}
	for i, p := range pairs {
		if before, again := first[p.key]; again {
			pairs[i].again = true
			d.report(p.at, "remove one of the two", "duplicate key %q: it is already on line %d", p.key, before.line)
			continue
		}
		first[p.key] = p.at
		seen[p.key] = true
	}
	return seen
}

// list decodes a sequence into a slice. Its elements do not move afterwards: places holds pointers to them.
func (d *decoder) list(n ast.Node, v reflect.Value, name string) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		if scalar, isString := n.(*ast.StringNode); isString && v.Type().Elem().Kind() == reflect.String {
			d.mismatch(n, "a list", name, fmt.Sprintf("write %s: [%s]", name, scalar.Value))
			return
		}
		d.mismatch(n, "a list", name, "write each element on a line of its own that begins with a hyphen, or [a, b]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(sequence.Values), len(sequence.Values)))
	for i, element := range sequence.Values {
		d.decode(element, v.Index(i), fmt.Sprintf("%s[%d]", name, i))
	}
}

// string decodes a text, and checks that it is one of the words if there is a fixed set.
func (d *decoder) string(n ast.Node, v reflect.Value, name string) {
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		if text = n.Value; d.tag == "json" && n.Token.Type == token.StringType && slices.Contains(truths(), strings.ToLower(text)) {
			d.report(d.spotOf(n), fmt.Sprintf("write %q, with the quotes", text), "%s: Kubernetes reads %s as true or false", name, text)
		}
	case *ast.LiteralNode:
		text = n.Value.Value
	default:
		suggestion := ""
		if written := n.GetToken().Value; isScalar(n) {
			suggestion = fmt.Sprintf("write %q, with the quotes", written)
		}
		if target, ok := targets[name]; ok {
			suggestion = fmt.Sprintf("name what is asked, such as %s: %q", name, target)
		}
		d.mismatch(n, "a text", name, suggestion)
		return
	}
	if c, ok := v.Interface().(choice); ok {
		if words, what := c.choices(); !slices.Contains(words, text) {
			d.report(d.spotOf(n), Suggest(text, words, what+"s"), "%s: unknown %s %q", name, what, text)
			return
		}
	}
	v.SetString(text)
}

// targets are examples of what is written where a scenario says whom packets go to.
var targets = map[string]string{probeReach: "clusterip(web):80", probeRefused: "node(cp):30080", probePing: "node(cp)", probeHold: "lb(web):80"}

// truths are the words that YAML 1.1, which Kubernetes reads, takes for booleans and YAML 1.2 does not.
func truths() []string { return []string{"y", "n", "yes", "no", "on", "off"} }

// scalar decodes booleans and numbers.
func (d *decoder) scalar(n ast.Node, v reflect.Value, name string) {
	switch {
	case v.Kind() == reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		d.mismatch(n, "true or false", name, "")
	case v.CanInt() || v.CanUint():
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			d.mismatch(n, "a whole number", name, "")
			return
		}
		if err := setInteger(v, i.Value); err != nil {
			d.report(d.spotOf(n), "", "%s: %v", name, err)
		}
	default:
		panic(fmt.Sprintf("scenario: no way to decode a %s", v.Type())) // a fault of this package: TestEveryTypeDecodes
	}
}

// setInteger sets a number of any width from what the parser made of it.
func setInteger(v reflect.Value, parsed any) error {
	var signed int64
	switch x := parsed.(type) {
	case int64:
		signed = x
	case uint64:
		if signed = int64(x); signed < 0 {
			return fmt.Errorf("%d is too large", x)
		}
	}
	switch {
	case v.CanUint() && signed < 0:
		return fmt.Errorf("%d is negative", signed)
	case v.CanUint() && v.OverflowUint(uint64(signed)), v.CanInt() && v.OverflowInt(signed):
		return fmt.Errorf("%d is too large", signed)
	case v.CanUint():
		v.SetUint(uint64(signed))
	default:
		v.SetInt(signed)
	}
	return nil
}

// mismatch reports a value of the wrong type.
func (d *decoder) mismatch(n ast.Node, want, name, suggestion string) {
	d.report(d.spotOf(n), suggestion, "%s: want %s, got %s", name, want, describe(n))
}

// describe says what a node is.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "fields"
	}
	return "nothing"
}

func isScalar(n ast.Node) bool {
	_, ok := n.(ast.ScalarNode)
	return ok
}

// spotOf is where a node begins and how wide it is on its line.
func (d *decoder) spotOf(n ast.Node) spot {
	t := n.GetToken()
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return d.spotOf(n.Values[0].Key)
		}
		t = n.Start
	case *ast.MappingValueNode:
		return d.spotOf(n.Key)
	}
	return d.spotOfToken(t)
}

func (d *decoder) spotOfToken(t *token.Token) spot {
	width := utf8.RuneCountInString(strings.SplitN(t.Value, "\n", 2)[0])
	switch t.Type {
	case token.DoubleQuoteType, token.SingleQuoteType:
		width += 2
	case token.NullType, token.ImplicitNullType:
		width = 1
	}
	return spot{t.Position.Line + d.offset.lines, t.Position.Column + d.offset.columns, width}
}
