//lint:file-ignore SA1019 Old proxies read the legacy Endpoints, and a real API server still keeps them.

// Package apiserver is a Kubernetes API good enough for unmodified clients, old and new: HTTPS, JSON and protobuf, list and watch
// with everything that informers rely on, status updates, leases; with the defaulting, allocation, validation and endpoint
// controller of a real cluster. It keeps everything in memory, writes in one order, and decides by a seed.
//
// Its faults (outage, slowness, errors) are in fault.go.
package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"proxyproof/sim/admission"
	"proxyproof/sim/world"
)

// Config says what kind of cluster this is the API of.
type Config struct {
	Families     []world.Family // first is primary
	ServiceCIDRs map[world.Family]netip.Prefix
	NodePorts    [2]uint16 // inclusive; zero means 30000–32767
	// Seed decides every allocation.
	Seed uint64
	// Record receives every request when it ends; a watch when it begins and when it ends. May be nil.
	Record func(Request)
}

// Request is a request that was served.
type Request struct {
	Time        time.Time
	Listener    string // name given to Serve
	Verb        string // HTTP method
	Path        string
	Query       string
	UserAgent   string
	ContentType string // of the request's body
	Accept      string
	Status      int
	Bytes       int64         // of the response's body
	Took        time.Duration // 0 when a watch begins
	// Lack is what was asked for and is not served; nil if it is, or if the request failed otherwise.
	Lack *Lack
}

// Server is the API of one cluster.
type Server struct {
	config    Config
	store     *store
	admission *admission.Admission // the store's lock guards it
	authority *authority
	cert      certificate
	handler   http.Handler

	lock    sync.Mutex
	servers []*http.Server
	doors   []*door
	conns   map[*trackedConn]bool
	broken  breakage
	closed  bool
	serving sync.WaitGroup
	ctx     context.Context // ends watches
	cancel  context.CancelFunc
}

// namespaces exist in every cluster.
var namespaces = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

// New makes a cluster's API with its namespaces and the kubernetes Service. It listens nowhere yet.
func New(c Config) (*Server, error) {
	if len(c.Families) == 0 {
		return nil, errors.New("make an API server: no IP family")
	}
	for _, f := range c.Families {
		if !c.ServiceCIDRs[f].IsValid() {
			return nil, fmt.Errorf("make an API server: no range of cluster addresses for %s", f)
		}
	}
	if c.Record == nil {
		c.Record = func(Request) {}
	}
	authority, err := sharedAuthority()
	if err != nil {
		return nil, err
	}
	rules := admission.New(admission.Config{Families: c.Families, ServiceCIDRs: c.ServiceCIDRs, NodePorts: c.NodePorts, Seed: c.Seed})
	s := &Server{config: c, store: newStore(), admission: rules, authority: authority, conns: map[*trackedConn]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.cert.authority = authority
	s.AddNames(netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	s.handler = s.recorded(s.authenticated(s.hindered(http.HandlerFunc(s.serve))))
	return s, s.bootstrap()
}

// bootstrap makes the objects that a new cluster has.
func (s *Server) bootstrap() error {
	for _, name := range namespaces {
		o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
		if _, err := s.create(byPath("", "v1", "namespaces"), o); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	if _, err := s.create(cidrResource(), s.serviceCIDR()); err != nil {
		return fmt.Errorf("make the ServiceCIDR: %w", err)
	}
	primary := s.config.Families[0]
	kubernetes := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: s.config.ServiceCIDRs[primary].Masked().Addr().Next().String(),
			Ports:     []corev1.ServicePort{{Name: "https", Port: 443}},
		},
	}
	if _, err := s.create(serviceResource(), kubernetes); err != nil {
		return fmt.Errorf("make the kubernetes Service: %w", err)
	}
	return nil
}

// setAPIServer publishes the API server's own addresses as the endpoints of the kubernetes Service, and those of others that are not ready.
func (s *Server) setAPIServer(addresses, unready []netip.Addr, port uint16) {
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressType(s.config.Families[0].String()),
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(port)), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "https", Port: int32(port), Protocol: corev1.ProtocolTCP}}}
	for _, a := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.String()}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}})
		subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: a.String()})
	}
	for _, a := range unready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.String()}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}})
		subset.NotReadyAddresses = append(subset.NotReadyAddresses, corev1.EndpointAddress{IP: a.String()})
	}
	s.set(byPath("discovery.k8s.io", "v1", "endpointslices"), slice)
	s.set(byPath("", "v1", "endpoints"), &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Subsets: []corev1.EndpointSubset{subset},
	})
}

// AddNames makes the server's certificate valid for addresses.
func (s *Server) AddNames(ips ...netip.Addr) { s.cert.add(ips) }

// CAPool is what clients must trust.
func (s *Server) CAPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.authority.certificate)
	return pool
}

// Serve answers on a listener until Close, and then returns nil. name is that of the listener in recorded requests. An outage needs
// open, which makes such a listener again; without it the server stays away.
func (s *Server) Serve(name string, l net.Listener, open func() (net.Listener, error)) error {
	return s.serveWith(s.handler, name, l, open)
}

// ServeUnready is Serve for another API server of the same cluster, which is not ready: it starts, shuts down, or has lost its store.
func (s *Server) ServeUnready(name string, l net.Listener, open func() (net.Listener, error)) error {
	return s.serveWith(s.recorded(http.HandlerFunc(unready)), name, l, open)
}

// unready is how a kube-apiserver answers /readyz then.
func unready(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, "[-]etcd failed: reason withheld\nreadyz check failed\n")
}

func (s *Server) serveWith(handler http.Handler, name string, l net.Listener, open func() (net.Listener, error)) error {
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{GetCertificate: s.cert.get, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // probes that only connect are no errors
		ConnContext:       withConn,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(s.ctx, listenerKey{}, name) },
	}
	s.lock.Lock()
	if s.closed {
		s.lock.Unlock()
		return l.Close()
	}
	d := &door{server: s, open: open, listener: l}
	s.servers, s.doors = append(s.servers, server), append(s.doors, d)
	s.serving.Add(1)
	s.lock.Unlock()
	defer s.serving.Done()
	err := server.ServeTLS(d, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
}

type listenerKey struct{}

// Close ends all connections and waits for everything that serves.
func (s *Server) Close() error {
	s.lock.Lock()
	s.closed = true
	servers := s.servers
	s.lock.Unlock()
	s.cancel() // and with it whoever waits for a fault to be over
	s.abandon()
	var errs []error
	for _, server := range servers {
		errs = append(errs, server.Close())
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// token is what clients authenticate with. The certificate authority is the process's own, so this only has to be present.
const token = "proxyproof"

// authenticated lets anybody ask whether the server is there, as a real one does, and nobody else in without the token.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isHealth(r.URL.Path) && r.Header.Get("Authorization") != "Bearer "+token {
			writeStatus(w, r, unauthorized())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isHealth tells whether a path is one of those by which a server says that it is there.
func isHealth(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/livez" || path == "/version"
}

// recorded reports every request.
func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := r.Context().Value(listenerKey{}).(string)
		request := Request{
			Time: time.Now(), Listener: name, Verb: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			UserAgent: r.UserAgent(), ContentType: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept"),
		}
		if isWatch(r) {
			request.Status = http.StatusOK
			s.config.Record(request)
		}
		counter := &countingWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(counter, r)
		request.Status, request.Bytes, request.Took = counter.status, counter.bytes, time.Since(request.Time)
		request.Lack = lackOf(request.Verb, request.Path, request.Status)
		s.config.Record(request)
	})
}

// countingWriter remembers status and size.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *countingWriter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *countingWriter) Write(data []byte) (int, error) {
	n, err := c.ResponseWriter.Write(data)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the flusher.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
