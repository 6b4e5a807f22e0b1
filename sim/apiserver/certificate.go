package apiserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"
)

// authority signs server certificates. One serves all servers of a process: making a key takes long in an emulated guest.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	pem         []byte
}

var sharedAuthority = sync.OnceValues(newAuthority)

// validity of certificates. Emulated clocks may be off.
const validity = 24 * time.Hour

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxyproof"},
		NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return &authority{key, certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// certificate is that of a server, made anew when its names have changed.
type certificate struct {
	authority *authority
	lock      sync.Mutex
	names     []net.IP
	made      *tls.Certificate
}

func (c *certificate) add(ips []netip.Addr) {
	c.lock.Lock()
	defer c.lock.Unlock()
	for _, ip := range ips {
		c.names = append(c.names, net.IP(ip.AsSlice()))
	}
	c.made = nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.made != nil {
		return c.made, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: c.names, DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.authority.certificate, &c.authority.key.PublicKey, c.authority.key)
	if err != nil {
		return nil, fmt.Errorf("make the API server's certificate: %w", err)
	}
	c.made = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.authority.key}
	return c.made, nil
}

// Kubeconfig lets a client in that reaches the server under a URL.
func (s *Server) Kubeconfig(serverURL string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `apiVersion: v1
kind: Config
clusters:
- name: proxyproof
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: subject
  user: {token: %s}
contexts:
- name: proxyproof
  context: {cluster: proxyproof, user: subject}
current-context: proxyproof
`, serverURL, base64.StdEncoding.EncodeToString(s.authority.pem), token)
	return b.Bytes()
}
