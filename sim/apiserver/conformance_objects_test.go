package apiserver

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

var objectChecks = []check{
	{"a NetworkPolicy is completed", func(a *api) {
		_, err := a.server.Control().Apply(a.ctx(), []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}\n"))
		a.must(err)
		p, err := a.json.NetworkingV1().NetworkPolicies("default").Get(a.ctx(), "a", metav1.GetOptions{})
		a.must(err)
		a.true(*p.Spec.Ingress[0].Ports[0].Protocol == "TCP" && len(p.Spec.PolicyTypes) == 1 && p.Spec.PolicyTypes[0] == "Ingress", "got %+v", p.Spec)
	}},
	{"a Pod is completed", func(a *api) {
		container := corev1.Container{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{container}}}
		made, err := a.json.CoreV1().Pods("default").Create(a.ctx(), pod, metav1.CreateOptions{})
		a.must(err)
		pod.Name = "b"
		pod.Spec.TerminationGracePeriodSeconds = ptr.To[int64](5)
		a.must(a.server.Control().Put(a.ctx(), pod))
		put, err := a.json.CoreV1().Pods("default").Get(a.ctx(), "b", metav1.GetOptions{})
		a.must(err)
		for p, grace := range map[*corev1.Pod]int64{made: 30, put: 5} {
			spec := p.Spec
			a.true(spec.TerminationGracePeriodSeconds != nil && *spec.TerminationGracePeriodSeconds == grace && *spec.EnableServiceLinks &&
				spec.SecurityContext != nil && spec.RestartPolicy == "Always" && spec.DNSPolicy == "ClusterFirst" &&
				spec.Containers[0].Ports[0].Protocol == "TCP" && p.Status.Phase == "Pending", "got %+v", p)
		}
	}},
	{"create completes metadata", func(a *api) {
		m := a.configMap("a", nil)
		a.true(m.UID != "" && m.ResourceVersion != "" && !m.CreationTimestamp.IsZero() && m.Namespace == "default", "got %+v", m.ObjectMeta)
	}},
	{"create makes names", func(a *api) {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-"}}
		first, err := a.json.CoreV1().ConfigMaps("default").Create(a.ctx(), o, metav1.CreateOptions{})
		a.must(err)
		second, err := a.json.CoreV1().ConfigMaps("default").Create(a.ctx(), o, metav1.CreateOptions{})
		a.must(err)
		a.true(first.Name != second.Name && len(first.Name) > 2, "got %q and %q", first.Name, second.Name)
	}},
	{"create refuses a taken name", func(a *api) {
		a.configMap("a", nil)
		_, err := a.json.CoreV1().ConfigMaps("default").Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
		a.refused(apierrors.IsAlreadyExists, err)
	}},
	{"create refuses a version", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "5"}}, metav1.CreateOptions{})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"get of nothing is not found", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").Get(a.ctx(), "none", metav1.GetOptions{})
		a.refused(apierrors.IsNotFound, err)
	}},
	{"protobuf bodies both ways", func(a *api) {
		made, err := a.proto.CoreV1().ConfigMaps("default").Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{})
		a.must(err)
		read, err := a.json.CoreV1().ConfigMaps("default").Get(a.ctx(), "p", metav1.GetOptions{})
		a.must(err)
		a.true(made.Data["k"] == "v" && read.Data["k"] == "v" && made.UID == read.UID, "got %v and %v", made, read)
	}},
	{"errors in protobuf", func(a *api) {
		_, err := a.proto.CoreV1().ConfigMaps("default").Get(a.ctx(), "none", metav1.GetOptions{})
		a.refused(apierrors.IsNotFound, err)
	}},
	{"update with a stale version is a conflict", func(a *api) {
		m := a.configMap("a", nil)
		stale := m.DeepCopy()
		m.Data = map[string]string{"k": "1"}
		_, err := a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), m, metav1.UpdateOptions{})
		a.must(err)
		stale.Data = map[string]string{"k": "2"}
		_, err = a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), stale, metav1.UpdateOptions{})
		a.refused(apierrors.IsConflict, err)
	}},
	{"update without a version wins", func(a *api) {
		m := a.configMap("a", nil)
		m.ResourceVersion, m.Data = "", map[string]string{"k": "1"}
		_, err := a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), m, metav1.UpdateOptions{})
		a.must(err)
	}},
	{"update that changes nothing makes no version", func(a *api) {
		m := a.configMap("a", nil)
		again, err := a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), m.DeepCopy(), metav1.UpdateOptions{})
		a.must(err)
		a.true(again.ResourceVersion == m.ResourceVersion, "version went from %s to %s", m.ResourceVersion, again.ResourceVersion)
	}},
	{"update of nothing is not found", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "none"}}, metav1.UpdateOptions{})
		a.refused(apierrors.IsNotFound, err)
	}},
	{"delete", func(a *api) {
		a.configMap("a", nil)
		a.must(a.json.CoreV1().ConfigMaps("default").Delete(a.ctx(), "a", metav1.DeleteOptions{}))
		_, err := a.json.CoreV1().ConfigMaps("default").Get(a.ctx(), "a", metav1.GetOptions{})
		a.refused(apierrors.IsNotFound, err)
	}},
	{"delete minds its preconditions", func(a *api) {
		a.configMap("a", nil)
		other := types.UID("other")
		a.refused(apierrors.IsConflict, a.json.CoreV1().ConfigMaps("default").Delete(a.ctx(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}))
	}},
	{"delete a collection by label", func(a *api) {
		a.configMap("a", map[string]string{"go": "yes"})
		a.configMap("b", nil)
		a.must(a.json.CoreV1().ConfigMaps("default").DeleteCollection(a.ctx(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "go=yes"}))
		list, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{})
		a.must(err)
		a.true(len(list.Items) == 1 && list.Items[0].Name == "b", "left: %v", list.Items)
	}},
	{"finalizers hold an object", func(a *api) {
		maps := a.json.CoreV1().ConfigMaps("default")
		m, err := maps.Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "f", Finalizers: []string{"x/y"}}}, metav1.CreateOptions{})
		a.must(err)
		a.must(maps.Delete(a.ctx(), "f", metav1.DeleteOptions{}))
		m, err = maps.Get(a.ctx(), m.Name, metav1.GetOptions{})
		a.must(err)
		a.true(m.DeletionTimestamp != nil, "it is not marked")
		m.Finalizers = nil
		_, err = maps.Update(a.ctx(), m, metav1.UpdateOptions{})
		a.must(err)
		_, err = maps.Get(a.ctx(), "f", metav1.GetOptions{})
		a.refused(apierrors.IsNotFound, err)
	}},
	{"merge patch", func(a *api) { a.patch(types.MergePatchType, `{"data":{"k":"v"}}`) }},
	{"strategic merge patch", func(a *api) { a.patch(types.StrategicMergePatchType, `{"data":{"k":"v"}}`) }},
	{"JSON patch", func(a *api) { a.patch(types.JSONPatchType, `[{"op":"add","path":"/data","value":{"k":"v"}}]`) }},
	{"a broken patch is a bad request", func(a *api) {
		a.configMap("a", nil)
		_, err := a.json.CoreV1().ConfigMaps("default").Patch(a.ctx(), "a", types.JSONPatchType, []byte(`[{"op":"remove","path":"/nothing"}]`), metav1.PatchOptions{})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"an unknown patch is refused", func(a *api) {
		a.configMap("a", nil)
		_, err := a.json.CoreV1().ConfigMaps("default").Patch(a.ctx(), "a", "application/x", []byte(`{}`), metav1.PatchOptions{})
		a.refused(apierrors.IsUnsupportedMediaType, err)
	}},
	{"status update leaves the spec", func(a *api) {
		s := a.service(ofType(corev1.ServiceTypeLoadBalancer))
		s.Spec.Ports[0].Port = 999
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
		now, err := a.proto.CoreV1().Services("default").UpdateStatus(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(now.Spec.Ports[0].Port == 80 && len(now.Status.LoadBalancer.Ingress) == 1, "got %+v", now)
	}},
	{"update leaves the status", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		s.Labels = map[string]string{"a": "b"}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
		now, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(len(now.Status.LoadBalancer.Ingress) == 0 && now.Labels["a"] == "b", "got %+v", now)
	}},
	{"the address of a load balancer stays when the spec changes", func(a *api) {
		s := a.balanced()
		s.Spec.Ports[0].Port = 81
		now, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(len(now.Status.LoadBalancer.Ingress) == 1 && now.Spec.Ports[0].Port == 81, "got %+v", now)
	}},
	{"a Service that stops to be a load balancer loses its address", func(a *api) {
		s := a.balanced()
		s.Spec.Type = corev1.ServiceTypeClusterIP
		now, err := a.json.CoreV1().Services("default").Update(a.ctx(), s, metav1.UpdateOptions{})
		a.must(err)
		a.true(len(now.Status.LoadBalancer.Ingress) == 0 && now.Spec.Ports[0].NodePort == 0, "got %+v", now)
	}},
	{"only a load balancer has an address of one", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
		_, err := a.json.CoreV1().Services("default").UpdateStatus(a.ctx(), s, metav1.UpdateOptions{})
		a.refused(apierrors.IsInvalid, err)
	}},
	{"status update with a stale version is a conflict", func(a *api) {
		s := a.service(func(*corev1.Service) {})
		fresh := s.DeepCopy()
		fresh.Labels = map[string]string{"a": "b"}
		_, err := a.json.CoreV1().Services("default").Update(a.ctx(), fresh, metav1.UpdateOptions{})
		a.must(err)
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
		_, err = a.json.CoreV1().Services("default").UpdateStatus(a.ctx(), s, metav1.UpdateOptions{})
		a.refused(apierrors.IsConflict, err)
	}},
	{"label selectors", func(a *api) {
		a.configMap("a", map[string]string{"x": "1"})
		a.configMap("b", map[string]string{"x": "2"})
		a.lists(a.json, metav1.ListOptions{LabelSelector: "x in (2,3)"}, "b")
		a.lists(a.proto, metav1.ListOptions{LabelSelector: "x,x!=2"}, "a")
	}},
	{"field selectors", func(a *api) {
		a.configMap("a", nil)
		a.configMap("b", nil)
		a.lists(a.json, metav1.ListOptions{FieldSelector: "metadata.name=b"}, "b")
	}},
	{"an unknown field label is a bad request", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{FieldSelector: "spec.x=1"})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"lists come in pages", func(a *api) {
		for i := range 5 {
			a.configMap(fmt.Sprintf("m%d", i), nil)
		}
		first, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{Limit: 2})
		a.must(err)
		a.true(len(first.Items) == 2 && first.Continue != "" && *first.RemainingItemCount == 3, "got %+v", first.ListMeta)
		second, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{Limit: 3, Continue: first.Continue})
		a.must(err)
		a.true(len(second.Items) == 3 && second.Continue == "" && second.Items[0].Name == "m2", "got %+v", second)
	}},
	{"a made-up continue token is a bad request", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{Continue: "nonsense"})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"old clients' first list", func(a *api) {
		a.configMap("a", nil)
		a.lists(a.json, metav1.ListOptions{Limit: 500, ResourceVersion: "0"}, "a")
	}},
	{"empty lists have a version", func(a *api) {
		list, err := a.proto.NetworkingV1().NetworkPolicies("").List(a.ctx(), metav1.ListOptions{})
		a.must(err)
		a.true(len(list.Items) == 0 && list.ResourceVersion != "" && list.ResourceVersion != "0", "got %+v", list)
	}},
	{"namespaces divide objects", func(a *api) {
		a.configMap("a", nil)
		list, err := a.json.CoreV1().ConfigMaps("kube-system").List(a.ctx(), metav1.ListOptions{})
		a.must(err)
		a.true(len(list.Items) == 0, "got %v", list.Items)
	}},
}

// patch changes an object and checks the result.
func (a *api) patch(kind types.PatchType, body string) {
	a.configMap("a", nil)
	m, err := a.json.CoreV1().ConfigMaps("default").Patch(a.ctx(), "a", kind, []byte(body), metav1.PatchOptions{})
	a.must(err)
	a.true(m.Data["k"] == "v", "got %v", m.Data)
}

// lists checks that a list has exactly one object.
func (a *api) lists(c *kubernetes.Clientset, o metav1.ListOptions, name string) {
	a.Helper()
	list, err := c.CoreV1().ConfigMaps("default").List(a.ctx(), o)
	a.must(err)
	a.true(len(list.Items) == 1 && list.Items[0].Name == name, "want %s, got %v", name, list.Items)
}
