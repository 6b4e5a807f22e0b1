package apiserver

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"proxyproof/sim/world"
)

// api is a server with clients of both representations.
type api struct {
	*testing.T
	server      *Server
	json, proto *kubernetes.Clientset
	config      *rest.Config // of the JSON client
}

var dual = []world.Family{world.IPv4, world.IPv6}

// listen as worlds do: MPTCP, which Go prefers, has no socket filters.
func listen(address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), "tcp4", address)
}

// newAPI starts a server on the loopback.
func newAPI(t *testing.T, families ...world.Family) *api {
	t.Helper()
	s, err := New(Config{Families: families, ServiceCIDRs: world.DefaultRanges().Services, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve("test", l, func() (net.Listener, error) { return listen(l.Addr().String()) })
	}()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	a := &api{T: t, server: s}
	a.config, err = clientcmd.RESTConfigFromKubeConfig(s.Kubeconfig("https://" + l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	a.config.QPS = -1
	proto := rest.CopyConfig(a.config)
	proto.ContentType, proto.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	a.json, a.proto = kubernetes.NewForConfigOrDie(a.config), kubernetes.NewForConfigOrDie(proto)
	return a
}

// check is one line of the list.
type check struct {
	name string
	do   func(*api)
}

// TestConformance is what unmodified clients rely on.
func TestConformance(t *testing.T) {
	groups := map[string][]check{
		"objects": objectChecks, "watch": watchChecks, "services": serviceChecks, "endpoints": endpointChecks, "cidrs": cidrChecks, "clients": clientChecks,
	}
	var passed atomic.Int32
	total := 0
	for group, checks := range groups {
		total += len(checks)
		t.Run(group, func(t *testing.T) {
			for _, c := range checks {
				t.Run(c.name, func(t *testing.T) {
					c.do(newAPI(t, dual...))
					if !t.Failed() {
						passed.Add(1)
					}
				})
			}
		})
	}
	t.Logf("conformance: %d of %d", passed.Load(), total)
}

const limit = 20 * time.Second

// must fails the check on an error.
func (a *api) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// refused fails the check unless an error is of a kind.
func (a *api) refused(is func(error) bool, err error) {
	a.Helper()
	if err == nil || !is(err) {
		a.Fatalf("want a refusal of another kind, got %v", err)
	}
}

func (a *api) true(ok bool, format string, args ...any) {
	a.Helper()
	if !ok {
		a.Fatalf(format, args...)
	}
}

func (a *api) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	a.Cleanup(cancel)
	return ctx
}

// configMap creates an object that nothing reacts to.
func (a *api) configMap(name string, labels map[string]string) *corev1.ConfigMap {
	a.Helper()
	made, err := a.json.CoreV1().ConfigMaps("default").Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	a.must(err)
	return made
}

// watch opens a watch of ConfigMaps.
func (a *api) watch(c *kubernetes.Clientset, o metav1.ListOptions) watch.Interface {
	a.Helper()
	w, err := c.CoreV1().ConfigMaps("default").Watch(a.ctx(), o)
	a.must(err)
	a.Cleanup(w.Stop)
	return w
}

// next is the next event of a watch.
func (a *api) next(w watch.Interface) watch.Event {
	a.Helper()
	select {
	case e, open := <-w.ResultChan():
		a.true(open, "the watch ended")
		return e
	case <-time.After(limit):
		a.Fatal("no event")
	}
	panic("unreachable")
}

// expect fails unless the next event is of a kind about an object.
func (a *api) expect(w watch.Interface, kind watch.EventType, name string) {
	a.Helper()
	e := a.next(w)
	m, ok := e.Object.(metav1.Object)
	a.true(e.Type == kind && ok && m.GetName() == name, "want %s %s, got %s %v", kind, name, e.Type, e.Object)
}

// version is the store's present version.
func (a *api) version() string {
	a.Helper()
	list, err := a.json.CoreV1().ConfigMaps("default").List(a.ctx(), metav1.ListOptions{})
	a.must(err)
	return list.ResourceVersion
}
