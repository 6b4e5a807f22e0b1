package apiserver

import "testing"

func TestLackOf(t *testing.T) {
	for _, c := range []struct {
		verb, path string
		status     int
		want       Lack // zero: none
	}{
		{"GET", "/api/v1/services", 200, Lack{}},
		{"GET", "/api/v1/namespaces/default/configmaps/none", 404, Lack{}},
		{"GET", "/api/v1/services", 500, Lack{}},
		{"GET", "/apis/networking.k8s.io/v1/ingresses", 404, Lack{"ingresses of networking.k8s.io/v1", true}},
		{"GET", "/api/v1/persistentvolumes", 404, Lack{"persistentvolumes of v1", true}},
		{"GET", "/apis/apps/v1/namespaces/default/deployments", 404, Lack{"deployments of apps/v1", true}},
		{"POST", "/api/v1/namespaces/default/pods/web/eviction", 404, Lack{"eviction of pods of v1", true}},
		{"POST", "/apis/networking.k8s.io/v1/ipaddresses", 405, Lack{"POST of ipaddresses of networking.k8s.io/v1", true}},
		{"GET", "/apis/gateway.networking.k8s.io/v1/gateways", 404, Lack{"gateways of gateway.networking.k8s.io/v1", false}},
		{"GET", "/apis/networking.k8s.io/v1/unicorns", 404, Lack{"unicorns of networking.k8s.io/v1", false}},
		{"GET", "/apis/batch/v1", 404, Lack{"/apis/batch/v1", true}},
		{"GET", "/apis/example.com", 404, Lack{"/apis/example.com", false}},
		{"GET", "/openapi/v3", 404, Lack{"/openapi/v3", true}},
		{"GET", "/none", 404, Lack{"/none", false}},
	} {
		got := lackOf(c.verb, c.path, c.status)
		if got == nil {
			got = &Lack{}
		}
		if *got != c.want {
			t.Errorf("%s %s, %d: want %+v, got %+v", c.verb, c.path, c.status, c.want, *got)
		}
	}
}
