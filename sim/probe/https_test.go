package probe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proxyproof/sim/probe"
)

// selfSigned is a certificate for 127.0.0.1 that nobody else has signed.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// speak serves each connection over TLS with f, and returns the port.
func speak(t *testing.T, certificate tls.Certificate, f func(*tls.Conn)) uint16 {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	return listen(t, func(c *net.TCPConn) {
		conn := tls.Server(c, config)
		if conn.Handshake() == nil {
			f(conn)
		}
	})
}

// respond reads a request and answers it.
func respond(answer string) func(*tls.Conn) {
	return func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, answer)
	}
}

// What answers in the place of a server is told apart by how far it goes.
func TestHTTPSOutcomes(t *testing.T) {
	own, other := selfSigned(t, "own"), selfSigned(t, "other")
	roots := x509.NewCertPool()
	roots.AddCert(own.Leaf)
	q := probe.Request{TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, Path: "/readyz", Status: http.StatusOK}
	mute := make(chan struct{})
	defer close(mute)
	for name, c := range map[string]struct {
		port      uint16
		want      probe.Outcome
		connected bool
		status    int
		says      string
	}{
		"well":              {speak(t, own, respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")), probe.Answered, true, 200, ""},
		"an error":          {speak(t, own, respond("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")), probe.Unexpected, true, 500, "status 500"},
		"no HTTP":           {speak(t, own, respond("220 hello\r\n")), probe.Unexpected, true, 0, "once connected"},
		"TLS, then nothing": {speak(t, own, func(*tls.Conn) { <-mute }), probe.Silent, true, 0, "once connected"},
		"closed in TLS":     {speak(t, own, func(*tls.Conn) {}), probe.Closed, true, 0, ""},
		"another":           {speak(t, other, respond("")), probe.WrongCertificate, true, 0, `the certificate of "other"`},
		"a greeting":        {listen(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "web-1 saw you\n"); <-mute }), probe.TLSFailed, true, 0, "TLS"},
		"TCP, then nothing": {listen(t, func(*net.TCPConn) { <-mute }), probe.Silent, true, 0, "once connected"},
		"an alert":          {listen(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }), probe.TLSFailed, true, 0, "handshake failure"},
		"nobody":            {freePort(t), probe.Refused, false, 0, ""},
	} {
		aim := aimAt(c.port)
		if c.want == probe.Silent {
			aim.Timeout, aim.Patience = 100*time.Millisecond, 100*time.Millisecond
		}
		r := probe.HTTPS(t.Context(), aim, q)
		if r.Outcome != c.want && !(c.want == probe.Closed && r.Outcome == probe.Reset) || r.Connected != c.connected || r.Status != c.status || !strings.Contains(r.String(), c.says) {
			t.Errorf("%s: want %s, connected %t, status %d, %q, got %v (%+v)", name, c.want, c.connected, c.status, c.says, r, r)
		}
	}
}

// A slow server has more time once it is connected, and no more than that.
func TestHTTPSPatience(t *testing.T) {
	own := selfSigned(t, "own")
	roots := x509.NewCertPool()
	roots.AddCert(own.Leaf)
	const late = 300 * time.Millisecond
	port := speak(t, own, func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		time.Sleep(late) // the server's own slowness
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for patience, want := range map[time.Duration]probe.Outcome{0: probe.Silent, 20 * late: probe.Answered} {
		aim := aimAt(port)
		aim.Timeout, aim.Patience = late/2, patience
		q := probe.Request{TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, Path: "/readyz", Status: http.StatusOK}
		if r := probe.HTTPS(t.Context(), aim, q); r.Outcome != want || !r.Connected {
			t.Errorf("with %v more: want %s, got %v", patience, want, r)
		}
	}
}

// A session that is resumed proves that the server is the one whose certificate was verified. Another one at the same address cannot
// resume it, and has to show its own certificate.
func TestResumptionSeesAnImpostor(t *testing.T) {
	own := selfSigned(t, "own")
	resumed := make(chan bool, 2)
	serve := func(certificate tls.Certificate) func(*net.TCPConn) {
		config := &tls.Config{Certificates: []tls.Certificate{certificate}}
		return func(c *net.TCPConn) {
			conn := tls.Server(c, config)
			if conn.Handshake() != nil {
				return
			}
			resumed <- conn.ConnectionState().DidResume
			respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(conn)
		}
	}
	genuine, impostor := serve(own), serve(selfSigned(t, "impostor"))
	var replaced atomic.Bool
	port := listen(t, func(c *net.TCPConn) {
		if replaced.Load() {
			impostor(c)
		} else {
			genuine(c)
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(own.Leaf)
	q := probe.Request{
		TLS:  &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(1)},
		Path: "/readyz", Status: http.StatusOK,
	}
	for range 2 {
		if r := probe.HTTPS(t.Context(), aimAt(port), q); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	replaced.Store(true)
	if r := probe.HTTPS(t.Context(), aimAt(port), q); r.Outcome != probe.WrongCertificate {
		t.Errorf("the impostor was not noticed: %v", r)
	}
	if first, second := <-resumed, <-resumed; first || !second {
		t.Errorf("the first connection was resumed: %t; the second: %t", first, second)
	}
}
