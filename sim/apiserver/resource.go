package apiserver

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// resource is a kind of objects that the server keeps.
type resource struct {
	group, version string
	name           string // plural, as in paths
	singular       string
	kind           string
	namespaced     bool
	status         bool // has a status subresource
	// readOnly: the server writes these objects itself, and takes no writes of others.
	readOnly bool
}

// resources are all that service proxies and their clients ask for.
var resources = []*resource{
	{version: "v1", name: "nodes", singular: "node", kind: "Node", status: true},
	{version: "v1", name: "namespaces", singular: "namespace", kind: "Namespace", status: true},
	{version: "v1", name: "services", singular: "service", kind: "Service", namespaced: true, status: true},
	{version: "v1", name: "endpoints", singular: "endpoints", kind: "Endpoints", namespaced: true},
	{version: "v1", name: "pods", singular: "pod", kind: "Pod", namespaced: true, status: true},
	{version: "v1", name: "events", singular: "event", kind: "Event", namespaced: true},
	{version: "v1", name: "configmaps", singular: "configmap", kind: "ConfigMap", namespaced: true},
	{version: "v1", name: "secrets", singular: "secret", kind: "Secret", namespaced: true},
	{version: "v1", name: "serviceaccounts", singular: "serviceaccount", kind: "ServiceAccount", namespaced: true},
	{group: "discovery.k8s.io", version: "v1", name: "endpointslices", singular: "endpointslice", kind: "EndpointSlice", namespaced: true},
	{group: "networking.k8s.io", version: "v1", name: "networkpolicies", singular: "networkpolicy", kind: "NetworkPolicy", namespaced: true},
	{group: "networking.k8s.io", version: "v1", name: "servicecidrs", singular: "servicecidr", kind: "ServiceCIDR", status: true, readOnly: true},
	{group: "networking.k8s.io", version: "v1", name: "ipaddresses", singular: "ipaddress", kind: "IPAddress", readOnly: true},
	{group: "coordination.k8s.io", version: "v1", name: "leases", singular: "lease", kind: "Lease", namespaced: true},
	{group: "events.k8s.io", version: "v1", name: "events", singular: "event", kind: "Event", namespaced: true},
}

func (r *resource) gv() schema.GroupVersion {
	return schema.GroupVersion{Group: r.group, Version: r.version}
}

func (r *resource) gvk() schema.GroupVersionKind { return r.gv().WithKind(r.kind) }

func (r *resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.group, Resource: r.name}
}

// String is "services" or "leases.coordination.k8s.io".
func (r *resource) String() string { return r.groupResource().String() }

// newObject makes an empty object of the kind.
func (r *resource) newObject() runtime.Object {
	o, err := scheme.Scheme.New(r.gvk())
	if err != nil {
		panic(fmt.Sprintf("the scheme lacks %v: %v", r.gvk(), err)) // a fault of the table above
	}
	return o
}

// newList makes an empty list of the kind.
func (r *resource) newList() runtime.Object {
	o, err := scheme.Scheme.New(r.gv().WithKind(r.kind + "List"))
	if err != nil {
		panic(fmt.Sprintf("the scheme lacks the list of %v: %v", r.gvk(), err))
	}
	return o
}

// byPath finds a resource by its place in a path.
func byPath(group, version, name string) *resource {
	i := slices.IndexFunc(resources, func(r *resource) bool { return r.group == group && r.version == version && r.name == name })
	if i < 0 {
		return nil
	}
	return resources[i]
}

// byKind finds a resource by its group, version and kind.
func byKind(gvk schema.GroupVersionKind) *resource {
	i := slices.IndexFunc(resources, func(r *resource) bool { return r.gvk() == gvk })
	if i < 0 {
		return nil
	}
	return resources[i]
}

// byWord finds a resource by what a person calls it: "service", "Services", "endpointslice".
func byWord(word string) (*resource, error) {
	word = strings.ToLower(word)
	for _, r := range resources {
		if r.readOnly {
			continue
		}
		if word == r.name || word == r.singular || word == strings.ToLower(r.kind) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("unknown kind of object %q", word)
}

// verbs are what clients can do with the objects.
func (r *resource) verbs() metav1.Verbs {
	if r.readOnly {
		return metav1.Verbs{"get", "list", "watch"}
	}
	return metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

func serviceResource() *resource { return byPath("", "v1", "services") }
func podResource() *resource     { return byPath("", "v1", "pods") }

// metaOf is the metadata of any of our objects.
func metaOf(o runtime.Object) metav1.Object { return o.(metav1.Object) }
