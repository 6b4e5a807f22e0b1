package defect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"k8s.io/utils/ptr"

	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// apiPort is where an API server listens on its node's addresses.
const apiPort = 6443

// hostPortOnAPIServer leads a port of a Service to its endpoint as CNI's portmap does a host port: on every address that is local, whoever
// listens there. Where the port is 6443, the API server is replaced by a pod. The upstream report ends with "avoid multiple processes
// using 6443 host ports".
var hostPortOnAPIServer = Defect{
	Name:     "host-port-on-api-server",
	Issue:    "kubernetes/kubernetes#72338",
	Summary:  "the port 6443 of a Service is led to its endpoint on every address of the node",
	Findings: []string{"apiserver-no-answer"},
	When:     "wherever a Service with endpoints has port 6443",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return portTaken{w, leadToEndpoint, map[plan.Family]netip.Addr{}} }},
}

// ingressOnAPIServer is the same with an ingress controller as what answers, which has a certificate of its own and, as its host port, one
// address of the node.
var ingressOnAPIServer = Defect{
	Name:     "ingress-on-api-server",
	Issue:    "kubernetes/kubernetes#66103",
	Summary:  "the port 6443 of the node's address is led to an ingress controller",
	Findings: []string{"apiserver-wrong-certificate"},
	When:     "wherever a Service with endpoints has port 6443",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return portTaken{w, leadToIngress, map[plan.Family]netip.Addr{}} }},
}

// portTaken leads port 6443 of the node elsewhere while a Service has it.
type portTaken struct {
	apply.Writer
	// lead is given the endpoint to which a connection may go instead, and the node's address.
	lead func(f plan.Family, endpoint plan.Dest, node netip.Addr) error
	// nodes are the node's addresses.
	nodes map[plan.Family]netip.Addr
}

func (w portTaken) Firewall(f plan.Family, rules plan.Rules) error {
	w.nodes[f] = rules.Source
	return w.Writer.Firewall(f, rules)
}

func (w portTaken) AddDest(s plan.Service, d plan.Dest) error {
	if err := w.Writer.AddDest(s, d); err != nil || s.Port != apiPort || s.Protocol != plan.TCP {
		return err
	}
	f := plan.FamilyOf(s.Address)
	return w.lead(f, d, w.nodes[f])
}

func leadToEndpoint(f plan.Family, d plan.Dest, _ netip.Addr) error {
	hairpin := fmt.Sprintf("-s %s -d %s -p tcp --dport %d -j MASQUERADE", d.Address, d.Address, d.Port)
	if err := iptables(f, "-t nat -A POSTROUTING "+hairpin); err != nil {
		return err
	}
	return lead(f, "-m addrtype --dst-type LOCAL", netip.AddrPortFrom(d.Address, d.Port))
}

func leadToIngress(f plan.Family, _ plan.Dest, node netip.Addr) error {
	port, err := fakeIngress()
	if err != nil {
		return err
	}
	return lead(f, "-d "+node.String(), netip.AddrPortFrom(node, port))
}

// lead rewrites where connections to the API server's port go if they meet a condition, from elsewhere and from the node.
func lead(f plan.Family, condition string, to netip.AddrPort) error {
	for _, chain := range []string{"PREROUTING", "OUTPUT"} {
		if err := iptables(f, fmt.Sprintf("-t nat -I %s -p tcp --dport %d %s -j DNAT --to-destination %s", chain, apiPort, condition, to)); err != nil {
			return err
		}
	}
	return nil
}

// fakeIngress serves HTTPS under the certificate that ingress-nginx has where nobody gave it another, and returns the port. It lives as
// long as the process.
func fakeIngress() (uint16, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, fmt.Errorf("make a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Kubernetes Ingress Controller Fake Certificate"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ingress.local"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return 0, fmt.Errorf("make a certificate: %w", err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return 0, fmt.Errorf("serve an ingress: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	go func() { _ = http.Serve(tls.NewListener(l, config), http.NotFoundHandler()) }()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}

// unreadyAPIServerUsed balances the API server's port over all endpoints of the Service kubernetes as it once found them: it does not
// follow that one is not ready. The upstream report found connections led to API servers that had just started.
var unreadyAPIServerUsed = Defect{
	Name:     "unready-api-server-used",
	Issue:    "openshift/cluster-kube-apiserver-operator#2236",
	Summary:  "connections to the API server are led to another one that is not ready",
	Findings: []string{"apiserver-error"},
	When:     "wherever the Service kubernetes has an endpoint that is not ready",
	Wrap:     unreadyUsed(),
}

func unreadyUsed() proxy.Middleware {
	standbys := map[netip.Addr]bool{}
	return proxy.Middleware{
		Object: func(o plan.Object) plan.Object {
			if o.Service != nil && o.Service.Namespace == "default" && o.Service.Name == "kubernetes" {
				maps.Copy(standbys, unreadyEndpoints(o))
			}
			return o
		},
		Writer: func(w apply.Writer) apply.Writer {
			return rulesSpoilt{w, func(f plan.Family) error {
				for _, a := range slices.SortedFunc(maps.Keys(standbys), netip.Addr.Compare) {
					if plan.FamilyOf(a) != f {
						continue
					}
					if err := iptables(f, fmt.Sprintf("-t nat -A POSTROUTING -d %s -p tcp --dport %d -j MASQUERADE", a, apiPort)); err != nil {
						return err
					}
					if err := lead(f, "-m addrtype --dst-type LOCAL", netip.AddrPortFrom(a, apiPort)); err != nil {
						return err
					}
				}
				return nil
			}}
		},
	}
}

// unreadyEndpoints are the addresses of a Service's endpoints that are not ready.
func unreadyEndpoints(o plan.Object) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, s := range o.Slices {
		for _, e := range s.Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					all[a] = true
				}
			}
		}
	}
	return all
}
