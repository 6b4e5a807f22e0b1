package scenario

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kyaml "sigs.k8s.io/yaml"
)

// object is a Kubernetes object as a manifest describes it.
type object struct {
	Ref
	object metav1.Object
	// at is where its document begins.
	at spot
	// places are where its fields stand.
	places map[any]spot
	// text is its document, and empty makes an object of its kind.
	text  string
	empty func() metav1.Object
}

// manifests reads the manifests of all steps.
func (d *decoder) manifests(s *Scenario) map[*Step][]object {
	all := map[*Step][]object{}
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Apply == "" {
			continue
		}
		objects, problems := d.source.manifest(step.Apply, d.places[&step.Apply])
		d.problems = append(d.problems, problems...)
		all[step] = objects
	}
	return all
}

// manifest reads the text of an apply step, strictly: a field that Kubernetes would drop is a problem. at is where the text
// stands in the file.
func (s *source) manifest(text string, at spot) ([]object, Problems) {
	header, _ := cut(s.line(at.line)[min(at.column-1, len(s.line(at.line))):], 1)
	if header != "|" {
		return nil, Problems{s.problem(at, "apply: the manifest is no block of text", "write apply: | and the manifest below it, indented")}
	}
	var objects []object
	var problems Problems
	for _, doc := range documents(text) {
		o, more := s.document(doc.text, offset{at.line + doc.line, s.indent(text, at.line)})
		problems = append(problems, more...)
		if o != nil {
			objects = append(objects, *o)
		}
	}
	if len(objects) == 0 && len(problems) == 0 {
		problems = Problems{s.problem(at, "apply: the manifest holds no object", "")}
	}
	return objects, problems
}

// indent is by how many columns a block of text is indented in the file.
func (s *source) indent(text string, header int) int {
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) != "" {
			return blanks(s.line(header+1+i)) - blanks(line)
		}
	}
	return 0
}

func blanks(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// document is one of the documents of a manifest; line counts from 0.
type document struct {
	text string
	line int
}

// documents splits a manifest at lines of three hyphens.
func documents(text string) []document {
	var list []document
	lines := strings.Split(text, "\n")
	start := 0
	end := func(at int) {
		body := strings.Join(lines[start:at], "\n")
		if strings.TrimSpace(body) != "" {
			list = append(list, document{body + "\n", start})
		}
		start = at + 1
	}
	for i, line := range lines {
		if strings.TrimRight(line, " ") == "---" {
			end(i)
		}
	}
	end(len(lines))
	return list
}

// document reads one document; nil if it is too broken.
func (s *source) document(text string, o offset) (*object, Problems) {
	d := newDecoder(s, "json", o)
	root := d.parse([]byte(text))
	if root == nil {
		if len(d.problems) == 0 {
			d.report(spot{1 + o.lines, 1 + o.columns, 1}, "remove it", "apply: a document without an object")
		}
		return nil, d.problems
	}
	k, ok := d.kindOf(root)
	if !ok {
		return nil, d.problems
	}
	result := object{object: k.empty(), at: d.spotOf(root), places: d.places, text: text, empty: k.empty}
	d.decode(root, reflect.ValueOf(result.object).Elem(), k.name)
	if len(d.problems) == 0 {
		// The API server's own parser has the last word: YAML has dialects.
		again := k.empty()
		err := kyaml.UnmarshalStrict([]byte(text), again)
		if err == nil && !equality.Semantic.DeepEqual(result.object, again) {
			err = errors.New("a key or value means something else to it")
		}
		if err != nil {
			d.report(result.at, "put texts in quotes, and write numbers in decimal", "%s: Kubernetes reads this differently: %v", k.name, err)
		}
	}
	result.Ref = d.ref(k, result)
	return &result, d.problems
}

// parse is the root of a YAML document; nil if it is empty or a problem was reported.
func (d *decoder) parse(text []byte) ast.Node {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, message := spot{1 + d.offset.lines, 1 + d.offset.columns, 1}, err.Error()
		if syntax, ok := err.(yaml.Error); ok && syntax.GetToken() != nil {
			at, message = d.spotOfToken(syntax.GetToken()), syntax.GetMessage()
		}
		d.report(at, "", "%s", message)
		return nil
	}
	var root ast.Node
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 && root != nil {
			d.report(d.spotOf(doc.Body), "put each scenario into a file of its own", "a second document begins")
			return nil
		}
		root = doc.Body
	}
	return root
}

// kindOf finds the kind of object that a document describes.
func (d *decoder) kindOf(root ast.Node) (kind, bool) {
	pairs, ok := d.mapping(root, "manifest")
	if !ok {
		return kind{}, false
	}
	text := func(key string) (string, spot) {
		for _, p := range pairs {
			if p.key == key {
				return p.value.GetToken().Value, d.spotOf(p.value)
			}
		}
		return "", d.spotOf(root)
	}
	name, at := text("kind")
	version, versionAt := text("apiVersion")
	k, known := kindWhere(func(k kind) bool { return k.name == name })
	switch {
	case name == "":
		d.report(at, "kinds: "+strings.Join(kindNames(), ", "), "the object lacks the field \"kind\"")
	case !known:
		d.report(at, instead(name), "a scenario cannot apply the kind %q", name)
	case version == "":
		d.report(versionAt, "add apiVersion: "+k.apiVersion, "the object lacks the field \"apiVersion\"")
	case version != k.apiVersion:
		d.report(versionAt, "write apiVersion: "+k.apiVersion, "apiVersion: the harness has no %s in %q", k.name, version)
	default:
		return k, true
	}
	return kind{}, false
}

// instead says how to get a kind of object that cannot be applied.
func instead(name string) string {
	switch name {
	case "Pod", "Node":
		return fmt.Sprintf("describe it under world: %ss", strings.ToLower(name))
	case "Endpoints":
		return "apply an EndpointSlice"
	}
	return Suggest(name, kindNames(), "kinds")
}

// ref names the object, and checks that it has a name.
func (d *decoder) ref(k kind, o object) Ref {
	ref := Ref{Kind: k.name, Name: o.object.GetName(), Namespace: o.object.GetNamespace()}
	if k.namespaced && ref.Namespace == "" {
		ref.Namespace = defaultNamespace
	}
	switch {
	case ref.Name == "" && len(d.problems) == 0:
		d.report(o.at, "add metadata: {name: …}", "%s: the object has no name", k.name)
	case ref.Name != "" && !isLabel(ref.Name):
		d.report(o.at, nameRule, "%s: %q is no name", k.name, ref.Name)
	case !k.namespaced && ref.Namespace != "":
		d.report(o.at, "leave the namespace out", "%s: it is in no namespace", k.name)
	}
	return ref
}
