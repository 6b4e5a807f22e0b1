package apiserver

import (
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Lack is something that a client asked for and that this server does not have.
type Lack struct {
	// What is in words: "servicecidrs of networking.k8s.io/v1", "POST of ipaddresses of networking.k8s.io/v1", "/openapi/v3".
	What string
	// BuiltIn: every Kubernetes API server has it. Else it is of a CustomResourceDefinition, or of no API at all.
	BuiltIn bool
}

// lackOf is what an answer lacks; nil if it lacks nothing. An object that is not there is no lack of the server.
func lackOf(verb, path string, status int) *Lack {
	if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		return nil
	}
	if t, served := parsePath(path); served {
		if status == http.StatusNotFound {
			return nil
		}
		return &Lack{What: fmt.Sprintf("%s of %s", verb, named(t.resource.gv(), t.resource.name)), BuiltIn: true}
	}
	group, version, _, parts, ok := splitPath(path)
	if !ok {
		return &Lack{What: path, BuiltIn: isBuiltInPath(path)}
	}
	gv := schema.GroupVersion{Group: group, Version: version}
	l := &Lack{What: named(gv, parts[0]), BuiltIn: isBuiltIn(gv, parts[0])}
	if len(parts) > 2 {
		l.What = parts[2] + " of " + l.What
	}
	return l
}

func named(gv schema.GroupVersion, resource string) string { return resource + " of " + gv.String() }

// isBuiltIn tells whether Kubernetes itself has a resource. client-go has a type for each.
func isBuiltIn(gv schema.GroupVersion, resource string) bool {
	for kind := range scheme.Scheme.KnownTypes(gv) {
		if plural, _ := meta.UnsafeGuessKindToResource(gv.WithKind(kind)); plural.Resource == resource {
			return true
		}
	}
	return false
}

// isBuiltInPath does the same for what is no object: the discovery of a group, and what else is served at the root.
func isBuiltInPath(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] != "apis" {
		return parts[0] == "openapi" || parts[0] == "metrics"
	}
	switch len(parts) {
	case 2:
		return scheme.Scheme.IsGroupRegistered(parts[1])
	case 3:
		return scheme.Scheme.IsVersionRegistered(schema.GroupVersion{Group: parts[1], Version: parts[2]})
	}
	return false
}
