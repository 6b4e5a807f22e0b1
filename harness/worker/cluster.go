package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proxyproof/harness/event"
	"proxyproof/harness/invariant"
	"proxyproof/harness/scenario"
	"proxyproof/harness/wire"
	"proxyproof/sim/apiserver"
	"proxyproof/sim/netns"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

// controlPort is where the API server listens on the loopback of nodes with a subject: a path that no proxy guards.
const controlPort uint16 = 16443

// readyzPath is what probes ask the API server for.
const readyzPath = "/readyz"

// cluster is the simulated cluster of one case: a world, and an API server in it.
type cluster struct {
	world   world.World
	api     *apiserver.Server
	control *apiserver.Control
	apiNode world.Node
	// pods are as the scenario has left them, by name.
	pods    map[string]scenario.Life
	lacks   lackList
	serving sync.WaitGroup
	// sessions are those of TLS with the API server, by its address.
	sessions tls.ClientSessionCache
}

// sessionsMost bounds the sessions that are kept: more than an API server has addresses.
const sessionsMost = 16

// newCluster brings up the world and the API server, with the objects that the scenario's world implies.
func newCluster(ctx context.Context, job wire.Job, r *record) (*cluster, error) {
	w, err := netns.New(ctx, worldSpec(job))
	if err != nil {
		return nil, err
	}
	c := &cluster{world: w, pods: map[string]scenario.Life{}, sessions: tls.NewLRUClientSessionCache(sessionsMost)}
	r.enter(0, event.Phase{Name: "api"})
	if err := c.startAPI(ctx, job, r); err != nil {
		return nil, errors.Join(fmt.Errorf("start the API server: %w", err), c.close())
	}
	if err := c.populate(ctx, job); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the API server: %w", err), c.close())
	}
	return c, nil
}

// worldSpec is the world of a scenario in a family set.
func worldSpec(job wire.Job) world.Spec {
	spec := world.Spec{Families: job.Family.Families(), Seed: job.Seed, Backend: job.Backend}
	for _, n := range job.Scenario.World.Nodes {
		spec.Nodes = append(spec.Nodes, world.NodeSpec{Name: n.Name, Addresses: max(n.Addresses, 1)})
	}
	for _, p := range job.Scenario.World.Pods {
		pod := world.PodSpec{Name: p.Name, Node: p.Node}
		for _, port := range p.Listen {
			pod.Listen = append(pod.Listen, port.Port)
		}
		spec.Pods = append(spec.Pods, pod)
	}
	for _, c := range job.Scenario.World.Clients {
		spec.Clients = append(spec.Clients, world.ClientSpec{Name: c.Name})
	}
	return spec
}

// startAPI makes the API server listen on its node, and on the loopback of every node with a subject.
func (c *cluster) startAPI(ctx context.Context, job wire.Job, r *record) error {
	var err error
	c.api, err = apiserver.New(apiserver.Config{
		Families: job.Family.Families(), ServiceCIDRs: c.world.Ranges().Services, Seed: job.Seed,
		Record: func(q apiserver.Request) {
			if q.Path == readyzPath {
				return // a probe of ours, which is an event of its own
			}
			c.lacks.add(q.Lack)
			r.add(event.Event{Time: q.Time, Request: &event.Request{
				Verb: q.Verb, Path: q.Path, UserAgent: q.UserAgent, Status: q.Status, Took: q.Took,
			}})
		},
	})
	if err != nil {
		return err
	}
	c.control = c.api.Control()
	for _, n := range job.Scenario.World.Nodes {
		node, _ := c.world.Node(n.Name)
		if n.APIServer {
			c.apiNode = node
			for _, a := range allAddrs(node, job.Family) {
				c.api.AddNames(a)
			}
		}
	}
	c.api.AddNames(c.kubernetesVIPs()...)
	if err := c.listen(ctx, c.apiNode, netip.IPv6Unspecified(), apiserverPort, c.api.Serve); err != nil {
		return err
	}
	for _, n := range job.Scenario.World.Nodes {
		node, _ := c.world.Node(n.Name)
		if n.Proxy {
			if err := c.listen(ctx, node, netip.AddrFrom4([4]byte{127, 0, 0, 1}), controlPort, c.api.Serve); err != nil {
				return err
			}
		}
		if n.Standby {
			if err := c.listen(ctx, node, netip.IPv6Unspecified(), apiserverPort, c.api.ServeUnready); err != nil {
				return err
			}
		}
	}
	return nil
}

// listen serves the API, or what is in its place, on an address of a node.
func (c *cluster) listen(ctx context.Context, node world.Node, address netip.Addr, port uint16,
	serve func(string, net.Listener, func() (net.Listener, error)) error,
) error {
	network := "tcp"
	if address.Is4() {
		network = "tcp4"
	}
	open := func() (net.Listener, error) {
		return node.Listen(context.WithoutCancel(ctx), network, netip.AddrPortFrom(address, port))
	}
	l, err := open()
	if err != nil {
		return err
	}
	c.serving.Go(func() { _ = serve(node.Name(), l, open) })
	return nil
}

// populate makes the objects that a real cluster has: Nodes, Pods, and the endpoints of the API server.
func (c *cluster) populate(ctx context.Context, job wire.Job) error {
	for _, n := range c.world.Nodes() {
		if err := c.control.Put(ctx, nodeObject(n, job.Family)); err != nil {
			return err
		}
	}
	for _, p := range job.Scenario.World.Pods {
		if err := c.putPod(ctx, scenario.LifeOf(p), job.Family); err != nil {
			return err
		}
	}
	primary := job.Family.Families()[0]
	var unready []netip.Addr
	for _, n := range job.Scenario.World.Nodes {
		if node, _ := c.world.Node(n.Name); n.Standby {
			unready = append(unready, node.Addrs(primary)[0])
		}
	}
	return c.control.SetAPIServer(c.apiNode.Addrs(primary)[:1], unready, apiserverPort)
}

// nodeObject is what a kubelet would register: the primary address of each family.
func nodeObject(n world.Node, set scenario.FamilySet) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.Name(), Labels: map[string]string{corev1.LabelHostname: n.Name()},
	}}
	for _, f := range set.Families() {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, n.PodCIDR(f).String())
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: n.Addrs(f)[0].String()})
	}
	node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: n.Name()})
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return node
}

// putPod makes the object of a pod be as it lives.
func (c *cluster) putPod(ctx context.Context, l scenario.Life, set scenario.FamilySet) error {
	c.pods[l.Name] = l
	place, _ := c.world.Place(l.Name)
	return c.control.Put(ctx, podObject(l, place, set))
}

// podObject is a pod that runs, and perhaps is going.
func podObject(p scenario.Life, place world.Place, set scenario.FamilySet) *corev1.Pod {
	ready := corev1.ConditionTrue
	if p.Unready {
		ready = corev1.ConditionFalse
	}
	container := corev1.Container{Name: "server", Image: "proxyproof.invalid/server"}
	for _, port := range p.Listen {
		container.Ports = append(container.Ports, corev1.ContainerPort{
			Name:          fmt.Sprintf("%s-%d", strings.ToLower(string(port.Protocol)), port.Number),
			ContainerPort: int32(port.Number), Protocol: corev1.Protocol(port.Protocol),
		})
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: p.Name, Labels: p.Labels},
		Spec:       corev1.PodSpec{NodeName: p.Node, Containers: []corev1.Container{container}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
		},
	}
	if p.Terminating {
		now, grace := metav1.Now().Rfc3339Copy(), int64(corev1.DefaultTerminationGracePeriodSeconds)
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
	}
	for _, f := range set.Families() {
		for _, a := range place.Addrs(f) {
			pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: a.String()})
		}
	}
	pod.Status.PodIP = pod.Status.PodIPs[0].IP
	return pod
}

// kubernetesVIPs are the cluster addresses of the API server's own Service.
func (c *cluster) kubernetesVIPs() []netip.Addr {
	service, _ := c.service("default", "kubernetes")
	if service == nil {
		return nil
	}
	var vips []netip.Addr
	for _, text := range service.Spec.ClusterIPs {
		vips = append(vips, addressOf(text))
	}
	return vips
}

// service finds a Service; nil if there is none.
func (c *cluster) service(namespace, name string) (*corev1.Service, error) {
	if namespace == "" {
		namespace = "default"
	}
	services := c.control.Services()
	i := slices.IndexFunc(services, func(s *corev1.Service) bool { return s.Namespace == namespace && s.Name == name })
	if i < 0 {
		return nil, nil
	}
	return services[i], nil
}

// objects are the API's, as the invariants see them.
func (c *cluster) objects() invariant.Objects {
	s := c.control.Snapshot()
	return invariant.Objects{Services: s.Services, Slices: s.Slices, Nodes: s.Nodes, Events: s.Events}
}

// readyz asks the API server on an address whether it is there, and checks that it is the one. A handshake with a certificate
// costs an emulated machine much more than the rest of a probe, so that a session is resumed where there is one: only the server that
// showed the certificate has the key of the ticket, and any other has to show its own.
func (c *cluster) readyz(a netip.Addr) probe.Request {
	return probe.Request{Path: readyzPath, Status: http.StatusOK, TLS: &tls.Config{
		RootCAs: c.api.CAPool(), ServerName: a.String(), ClientSessionCache: c.sessions, CurvePreferences: []tls.CurveID{tls.X25519}, // not the costlier hybrid
	}}
}

// close ends the API server and the world.
func (c *cluster) close() error {
	var errs []error
	if c.api != nil {
		errs = append(errs, c.api.Close())
		c.serving.Wait()
	}
	return errors.Join(append(errs, c.world.Close())...)
}
