package apiserver

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	corev1 "k8s.io/api/core/v1"
)

// target is what a path names.
type target struct {
	resource    *resource
	namespace   string
	name        string
	subresource string
}

// splitPath reads /api/v1/… and /apis/GROUP/VERSION/…. What follows the namespace begins with the name of a resource.
func splitPath(path string) (group, version, namespace string, parts []string, ok bool) {
	parts = strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		parts = parts[1:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, parts = parts[1], parts[2:]
	default:
		return "", "", "", nil, false
	}
	version, parts = parts[0], parts[1:]
	if parts[0] == "namespaces" && len(parts) >= 3 && parts[2] != "status" && parts[2] != "finalize" {
		namespace, parts = parts[1], parts[2:]
	}
	return group, version, namespace, parts, true
}

// parsePath finds what a path names among what the server keeps.
func parsePath(path string) (target, bool) {
	group, version, namespace, parts, ok := splitPath(path)
	if !ok {
		return target{}, false
	}
	t := target{namespace: namespace}
	if t.resource = byPath(group, version, parts[0]); t.resource == nil || len(parts) > 3 {
		return target{}, false
	}
	if len(parts) > 1 {
		t.name = parts[1]
	}
	if len(parts) > 2 {
		t.subresource = parts[2]
	}
	return t, t.subresource == "" || t.subresource == "status" && t.resource.status
}

// serve answers every request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.serveMeta(w, r) {
		return
	}
	t, ok := parsePath(r.URL.Path)
	if !ok {
		writeStatus(w, r, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, corev1.Resource(""), "", "the server could not find the requested resource", 0, true))
		return
	}
	var o runtime.Object
	var err error
	status := http.StatusOK
	switch {
	case r.Method != http.MethodGet && t.resource.readOnly:
		err = apierrors.NewMethodNotSupported(t.resource.groupResource(), r.Method)
	case r.Method == http.MethodGet && t.name == "" && isWatch(r):
		s.watch(w, r, t)
		return
	case r.Method == http.MethodGet && t.name == "":
		o, err = s.list(r, t)
	case r.Method == http.MethodGet:
		o, err = s.get(t)
	case r.Method == http.MethodPost && t.name == "":
		status = http.StatusCreated
		o, err = s.post(r, t)
	case r.Method == http.MethodPut && t.name != "":
		o, err = s.put(r, t)
	case r.Method == http.MethodPatch && t.name != "":
		o, err = s.patch(r, t)
	case r.Method == http.MethodDelete && t.name != "":
		o, err = s.delete(r, t)
	case r.Method == http.MethodDelete:
		o, err = s.deleteCollection(r, t)
	default:
		err = apierrors.NewMethodNotSupported(t.resource.groupResource(), r.Method)
	}
	if err != nil {
		writeStatus(w, r, err)
		return
	}
	writeObject(w, r, status, o)
}

func (s *Server) get(t target) (runtime.Object, error) {
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	if o := s.store.get(t.resource, t.namespace, t.name); o != nil {
		return o, nil
	}
	return nil, apierrors.NewNotFound(t.resource.groupResource(), t.name)
}

// bodyOf reads the object of a write and makes sure that it is the one that the path names.
func bodyOf(r *http.Request, t target) (runtime.Object, error) {
	o, err := readObject(r, t.resource)
	if err != nil {
		return nil, err
	}
	m := metaOf(o)
	if t.resource.namespaced {
		if m.GetNamespace() == "" {
			m.SetNamespace(t.namespace)
		}
		if m.GetNamespace() != t.namespace {
			return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
		}
	}
	if t.name != "" && m.GetName() != t.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), t.name))
	}
	return o, nil
}

func (s *Server) post(r *http.Request, t target) (runtime.Object, error) {
	o, err := bodyOf(r, t)
	if err != nil {
		return nil, err
	}
	if metaOf(o).GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	return s.create(t.resource, o)
}

func (s *Server) put(r *http.Request, t target) (runtime.Object, error) {
	o, err := bodyOf(r, t)
	if err != nil {
		return nil, err
	}
	return s.update(t.resource, o, t.subresource == "status")
}

func (s *Server) delete(r *http.Request, t target) (runtime.Object, error) {
	var options metav1.DeleteOptions
	if err := readOptions(r, &options); err != nil {
		return nil, err
	}
	o, err := s.remove(t.resource, t.namespace, t.name, options.Preconditions)
	if err != nil || len(metaOf(o).GetFinalizers()) > 0 {
		return o, err
	}
	return o, nil
}

func (s *Server) deleteCollection(r *http.Request, t target) (runtime.Object, error) {
	match, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	objects, version := s.store.list(t.resource, t.namespace)
	var removed []runtime.Object
	for _, o := range objects {
		if !match(o) {
			continue
		}
		last, err := s.remove(t.resource, metaOf(o).GetNamespace(), metaOf(o).GetName(), nil)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		removed = append(removed, last)
	}
	return makeList(t.resource, removed, version, "", 0)
}

// selector tells whether an object is wanted.
type selector func(runtime.Object) bool

func selectorOf(r *http.Request) (selector, error) {
	query := r.URL.Query()
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("labelSelector: %v", err))
	}
	byField, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("fieldSelector: %v", err))
	}
	for _, q := range byField.Requirements() {
		switch q.Field {
		case "metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "spec.clusterIP", "spec.type", "type":
		default:
			return nil, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", q.Field))
		}
	}
	return func(o runtime.Object) bool {
		return byLabel.Matches(labels.Set(metaOf(o).GetLabels())) && byField.Matches(fieldsOf(o))
	}, nil
}

// fieldsOf are the fields that selectors can name.
func fieldsOf(o runtime.Object) fields.Set {
	m := metaOf(o)
	set := fields.Set{"metadata.name": m.GetName(), "metadata.namespace": m.GetNamespace()}
	switch o := o.(type) {
	case *corev1.Pod:
		set["spec.nodeName"], set["status.phase"] = o.Spec.NodeName, string(o.Status.Phase)
	case *corev1.Service:
		set["spec.clusterIP"], set["spec.type"] = o.Spec.ClusterIP, string(o.Spec.Type)
	case *corev1.Namespace:
		set["status.phase"] = string(o.Status.Phase)
	case *corev1.Secret:
		set["type"] = string(o.Type)
	}
	return set
}

// list answers with the objects that match, a page of them if a limit is given. A page continues after the key that its token
// names, in what is there then.
func (s *Server) list(r *http.Request, t target) (runtime.Object, error) {
	match, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	after, err := readToken(r.URL.Query().Get("continue"))
	if err != nil {
		return nil, err
	}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	all, version := s.store.list(t.resource, t.namespace)
	var page []runtime.Object
	var token string
	rest := 0
	for _, o := range all {
		k := key(metaOf(o).GetNamespace(), metaOf(o).GetName())
		switch {
		case !match(o) || after != "" && k <= after:
		case limit > 0 && len(page) == limit:
			rest++
		default:
			page = append(page, o)
		}
	}
	if rest > 0 {
		last := metaOf(page[len(page)-1])
		token = writeToken(key(last.GetNamespace(), last.GetName()))
	}
	return makeList(t.resource, page, version, token, rest)
}

func writeToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("after:" + after))
}

func readToken(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(raw), "after:")
	if err != nil || !ok {
		return "", apierrors.NewBadRequest("continue key is not valid")
	}
	return after, nil
}

func makeList(r *resource, objects []runtime.Object, version uint64, token string, rest int) (runtime.Object, error) {
	list := r.newList()
	if err := meta.SetList(list, objects); err != nil {
		return nil, fmt.Errorf("make a list of %s: %w", r, err)
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("make a list of %s: %w", r, err)
	}
	m.SetResourceVersion(formatVersion(version))
	m.SetContinue(token)
	if rest > 0 {
		left := int64(rest)
		m.SetRemainingItemCount(&left)
	}
	return list, nil
}

// serveMeta answers what is no object: health, version, discovery.
func (s *Server) serveMeta(w http.ResponseWriter, r *http.Request) bool {
	switch path := strings.TrimSuffix(r.URL.Path, "/"); path {
	case "/healthz", "/readyz", "/livez":
		_, _ = w.Write([]byte("ok"))
	case "/version":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"major":"1","minor":"37","gitVersion":"v1.37.0-proxyproof","platform":"linux/amd64"}`))
	case "/api":
		writeObject(w, r, http.StatusOK, &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"}})
	case "/apis":
		writeObject(w, r, http.StatusOK, apiGroups())
	default:
		list := resourceList(strings.TrimPrefix(path, "/"))
		if list == nil {
			return false
		}
		writeObject(w, r, http.StatusOK, list)
	}
	return true
}

func apiGroups() *metav1.APIGroupList {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, r := range resources {
		if r.group == "" {
			continue
		}
		v := metav1.GroupVersionForDiscovery{GroupVersion: r.gv().String(), Version: r.version}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: r.group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	sort.Slice(list.Groups, func(i, j int) bool { return list.Groups[i].Name < list.Groups[j].Name })
	return list
}

// resourceList describes a group version, named as in a path: "api/v1", "apis/discovery.k8s.io/v1".
func resourceList(path string) *metav1.APIResourceList {
	var list *metav1.APIResourceList
	for _, r := range resources {
		prefix := "apis/"
		if r.group == "" {
			prefix = "api/"
		}
		if path != prefix+r.gv().String() {
			continue
		}
		if list == nil {
			list = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: r.gv().String()}
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.name, SingularName: r.singular, Kind: r.kind, Namespaced: r.namespaced, Verbs: r.verbs()})
		if r.status && !r.readOnly {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.name + "/status", Kind: r.kind, Namespaced: r.namespaced, Verbs: metav1.Verbs{"get", "patch", "update"}})
		}
	}
	return list
}
