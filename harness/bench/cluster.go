package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"proxyproof/sim/apiserver"
	"proxyproof/sim/netns"
	"proxyproof/sim/world"
)

const (
	endpoints  = 5 // of each Service
	listenPort = 16443
	nodeName   = "cp"
)

// cluster is a node, and an API server with many Services.
type cluster struct {
	family  world.Family
	world   world.World
	node    world.Node
	api     *apiserver.Server
	serving sync.WaitGroup
}

func newCluster(ctx context.Context, s setting) (*cluster, error) {
	w, err := netns.New(ctx, world.Spec{Families: []world.Family{s.family}, Seed: 1, Nodes: []world.NodeSpec{{Name: nodeName, Addresses: 1}}})
	if err != nil {
		return nil, err
	}
	c := &cluster{family: s.family, world: w}
	c.node, _ = w.Node(nodeName)
	if err := c.start(ctx, s.services); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, services int) error {
	var err error
	c.api, err = apiserver.New(apiserver.Config{Families: []world.Family{c.family}, ServiceCIDRs: c.world.Ranges().Services, Seed: 1})
	if err != nil {
		return err
	}
	l, err := c.node.Listen(ctx, "tcp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), listenPort))
	if err != nil {
		return err
	}
	c.serving.Go(func() { _ = c.api.Serve(nodeName, l, nil) })
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	node.Spec.PodCIDR = c.node.PodCIDR(c.family).String()
	node.Spec.PodCIDRs = []string{node.Spec.PodCIDR}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: c.node.Addrs(c.family)[0].String()}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := c.api.Control().Put(ctx, node); err != nil {
		return err
	}
	if err := c.api.Control().SetAPIServer(c.node.Addrs(c.family)[:1], nil, listenPort); err != nil {
		return err
	}
	for i := range services {
		if err := c.addService(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// addService puts the i-th Service with its endpoints.
func (c *cluster) addService(ctx context.Context, i int) error {
	if err := c.setEndpoints(ctx, i, endpoints); err != nil {
		return err
	}
	family := corev1.IPv4Protocol
	if c.family == world.IPv6 {
		family = corev1.IPv6Protocol
	}
	ip := nth(c.world.Ranges().Services[c.family], 256+i).String()
	return c.api.Control().Put(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name(i)},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip}, IPFamilies: []corev1.IPFamily{family},
			IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicySingleStack), SessionAffinity: corev1.ServiceAffinityNone,
			InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
			Ports:                 []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	})
}

// setEndpoints gives the i-th Service so many endpoints.
func (c *cluster) setEndpoints(ctx context.Context, i, count int) error {
	kind := discoveryv1.AddressTypeIPv4
	if c.family == world.IPv6 {
		kind = discoveryv1.AddressTypeIPv6
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name(i) + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name(i)},
		},
		AddressType: kind,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(8080)), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	for j := range count {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{c.endpoint(i, j).String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
		})
	}
	return c.api.Control().Put(ctx, slice)
}

// endpoint is the j-th address of the i-th Service. None is on the node itself, which has the first pods.
func (c *cluster) endpoint(i, j int) netip.Addr {
	return nth(c.world.Ranges().Pods[c.family], 4096+i*2*endpoints+j)
}

func name(i int) string { return fmt.Sprintf("s%d", i) }

// nth is the n-th address of a range.
func nth(p netip.Prefix, n int) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for at := len(bytes) - 1; n > 0; at-- {
		n += int(bytes[at])
		bytes[at] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// kubeconfig is the way to the API from the node itself.
func (c *cluster) kubeconfig() []byte {
	return c.api.Kubeconfig(fmt.Sprintf("https://127.0.0.1:%d", listenPort))
}

func (c *cluster) close() error {
	var err error
	if c.api != nil {
		err = c.api.Close()
		c.serving.Wait()
	}
	return errors.Join(err, c.world.Close())
}
