package scenario

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	defaultNamespace = corev1.NamespaceDefault
	// apiService is the Service of the API server, in the default namespace; every cluster has it.
	apiService     = "kubernetes"
	apiServicePort = 443
	apiServerPort  = 6443
)

// Ref names a Kubernetes object.
type Ref struct {
	// Kind as the object spells it: "Service".
	Kind string
	// Namespace is "" for an object that is in none.
	Namespace string
	Name      string
}

// String is "Service example", "Service other/example" outside the default namespace.
func (r Ref) String() string {
	if r.Namespace == "" || r.Namespace == defaultNamespace {
		return r.Kind + " " + r.Name
	}
	return fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name)
}

// kind is a kind of objects that manifests can hold.
type kind struct {
	name       string // as in manifests
	apiVersion string
	namespaced bool
	empty      func() metav1.Object
}

// word is the kind in lower case, as in "service/example".
func (k kind) word() string { return strings.ToLower(k.name) }

// kinds are those that a scenario can apply and delete. Nodes and Pods come from its world.
func kinds() []kind {
	return []kind{
		{"Service", "v1", true, func() metav1.Object { return &corev1.Service{} }},
		{"EndpointSlice", "discovery.k8s.io/v1", true, func() metav1.Object { return &discoveryv1.EndpointSlice{} }},
		{"NetworkPolicy", "networking.k8s.io/v1", true, func() metav1.Object { return &networkingv1.NetworkPolicy{} }},
		{"Namespace", "v1", false, func() metav1.Object { return &corev1.Namespace{} }},
	}
}

// kindWhere finds a kind.
func kindWhere(is func(kind) bool) (kind, bool) {
	all := kinds()
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	return kind{}, false
}

// kindNames are the names of all kinds.
func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// ParseRef reads "service/example" or "service/other/example".
func ParseRef(written string) (Ref, error) {
	ref, err := parseRef(written)
	if err != nil {
		return Ref{}, err
	}
	return ref, nil
}

// parseRef is ParseRef with an error that tells which part is wrong.
func parseRef(written string) (Ref, *phraseError) {
	parts := strings.Split(written, "/")
	k, known := kindWhere(func(k kind) bool { return k.word() == parts[0] })
	switch {
	case len(parts) < 2 || len(parts) > 3:
		return Ref{}, &phraseError{written, fmt.Sprintf("%q names no object", written), "want kind/name or kind/namespace/name, such as service/example"}
	case !known:
		return Ref{}, &phraseError{parts[0], fmt.Sprintf("unknown kind of object %q", parts[0]), Suggest(parts[0], kindWords(), "kinds")}
	case len(parts) == 3 && !k.namespaced:
		return Ref{}, &phraseError{written, fmt.Sprintf("%q: a %s is in no namespace", written, k.name), "write " + parts[0] + "/" + parts[2]}
	}
	for _, name := range parts[1:] {
		if !isLabel(name) {
			return Ref{}, &phraseError{written, fmt.Sprintf("%q names no object", written), nameRule}
		}
	}
	ref := Ref{Kind: k.name, Name: parts[len(parts)-1]}
	if k.namespaced {
		ref.Namespace = defaultNamespace
	}
	if len(parts) == 3 {
		ref.Namespace = parts[1]
	}
	return ref, nil
}

func kindWords() []string {
	var words []string
	for _, k := range kinds() {
		words = append(words, k.word())
	}
	return words
}

// nameRule is what isLabel wants, in words.
const nameRule = "a name has lower-case letters, digits and hyphens, begins and ends with a letter or digit, and has at most 63 characters"

// isLabel tells whether a name is a DNS label (RFC 1123).
func isLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }
