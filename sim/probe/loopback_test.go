package probe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proxyproof/sim/netns/server"
	"proxyproof/sim/probe"
	"proxyproof/sim/world"
)

var lastPort atomic.Uint32

// here is this machine as a place; only loopback is used.
type here struct{}

func (here) Name() string                               { return "here" }
func (here) Kind() world.Kind                           { return world.KindClient }
func (here) NodeName() string                           { return "" }
func (here) Addrs(world.Family) []netip.Addr            { return []netip.Addr{loopback} }
func (here) Source(string, world.Family) netip.Addr     { return netip.Addr{} }
func (here) Do(_ context.Context, f func() error) error { return f() }
func (here) SourcePort() uint16                         { return uint16(20000 + lastPort.Add(1)) }
func (here) Listen(ctx context.Context, network string, at netip.AddrPort) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, at.String())
}
func (here) ListenPacket(ctx context.Context, network string, at netip.AddrPort) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, network, at.String())
}

var loopback = netip.MustParseAddr("127.0.0.1")

func aimAt(port uint16) probe.Aim {
	return probe.Aim{From: here{}, To: netip.AddrPortFrom(loopback, port), Timeout: 5 * time.Second}
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// listen serves TCP connections with f.
func listen(t *testing.T, f func(*net.TCPConn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c.(*net.TCPConn))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func startServer(t *testing.T, protocol world.Protocol) uint16 {
	t.Helper()
	port := freePort(t)
	s, err := server.Start(t.Context(), here{}, "web-1", world.Port{Number: port, Protocol: protocol}, []world.Family{world.IPv4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return port
}

func TestLoopback(t *testing.T) {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0) }
	mute := make(chan struct{})
	defer close(mute) // before the listeners wait for those that they serve
	for name, c := range map[string]struct {
		ask  func(context.Context, probe.Aim) probe.Result
		port uint16
		want probe.Outcome
	}{
		"tcp":              {probe.TCP, startServer(t, world.TCP), probe.Answered},
		"udp":              {probe.UDP, startServer(t, world.UDP), probe.Answered},
		"connect":          {probe.Connect, listen(t, func(*net.TCPConn) {}), probe.Answered},
		"nobody":           {probe.TCP, freePort(t), probe.Refused},
		"nobody, udp":      {probe.UDP, freePort(t), probe.Rejected},
		"closed":           {probe.TCP, listen(t, func(*net.TCPConn) {}), probe.Closed},
		"reset":            {probe.TCP, listen(t, reset), probe.Reset},
		"somebody else":    {probe.TCP, listen(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 hello\r\n") }), probe.Unexpected},
		"endless":          {probe.TCP, listen(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, strings.Repeat("x", 100_000)) }), probe.Broken},
		"accepted, silent": {probe.TCP, listen(t, func(*net.TCPConn) { <-mute }), probe.Silent},
	} {
		aim := aimAt(c.port)
		if c.want == probe.Silent {
			aim.Timeout = 100 * time.Millisecond
		}
		r := c.ask(t.Context(), aim)
		if r.Outcome != c.want {
			t.Errorf("%s: want %s, got %v", name, c.want, r)
		}
		if (r.Err() == nil) != (c.want == probe.Answered) {
			t.Errorf("%s: %v", name, r.Err())
		}
		if r.Server != "" && (r.Server != "web-1" || r.Saw != r.Local.String()) {
			t.Errorf("%s: %+v", name, r)
		}
		var back probe.Result
		if text, err := json.Marshal(r); err != nil {
			t.Error(err)
		} else if err := json.Unmarshal(text, &back); err != nil || back.String() != r.String() {
			t.Errorf("%s became %v, %v", text, back, err)
		}
	}
}

func httpsServer(t *testing.T) (*httptest.Server, uint16, *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || r.URL.RawQuery != "verbose" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	port := s.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	return s, port, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func TestHTTPS(t *testing.T) {
	_, port, trust := httpsServer(t)
	plain := listen(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 5))
		_, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
	})
	for name, c := range map[string]struct {
		port uint16
		q    probe.Request
		want probe.Outcome
	}{
		"ok":             {port, probe.Request{TLS: trust, Path: "/readyz?verbose", Status: 200}, probe.Answered},
		"any status":     {port, probe.Request{TLS: trust, Path: "/"}, probe.Answered},
		"another status": {port, probe.Request{TLS: trust, Path: "/", Status: 200}, probe.Unexpected},
		"another name":   {port, probe.Request{TLS: &tls.Config{RootCAs: trust.RootCAs, ServerName: "elsewhere"}, Path: "/"}, probe.WrongCertificate},
		"unknown root":   {port, probe.Request{TLS: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}, Path: "/"}, probe.WrongCertificate},
		"no TLS":         {plain, probe.Request{TLS: trust, Path: "/"}, probe.TLSFailed},
		"nobody":         {freePort(t), probe.Request{TLS: trust, Path: "/"}, probe.Refused},
		"closed at once": {listen(t, func(*net.TCPConn) {}), probe.Request{TLS: trust, Path: "/"}, ""}, // closed or reset
		"not a path":     {port, probe.Request{TLS: trust, Path: "/%zz"}, probe.Broken},
	} {
		r := probe.HTTPS(t.Context(), aimAt(c.port), c.q)
		if c.want == "" && (r.Outcome == probe.Closed || r.Outcome == probe.Reset) {
			continue
		}
		if r.Outcome != c.want {
			t.Errorf("%s: want %s, got %v", name, c.want, r)
		}
		if r.Outcome == probe.Answered && r.Body != "ok" {
			t.Errorf("%s: body %q", name, r.Body)
		}
	}
}

func TestHoldOnLoopback(t *testing.T) {
	_, port, trust := httpsServer(t)
	request := probe.Request{TLS: trust, Path: "/readyz?verbose", Status: 200}
	pace := probe.Pace{Interval: 2 * time.Millisecond}
	tcp, udp := startServer(t, world.TCP), startServer(t, world.UDP)
	for name, hold := range map[string]func(context.Context) (probe.Held, error){
		"tcp":   func(ctx context.Context) (probe.Held, error) { return probe.HoldTCP(ctx, aimAt(tcp), pace) },
		"udp":   func(ctx context.Context) (probe.Held, error) { return probe.HoldUDP(ctx, aimAt(udp), pace) },
		"https": func(ctx context.Context) (probe.Held, error) { return probe.HoldHTTPS(ctx, aimAt(port), request, pace) },
	} {
		t.Run(name, func(t *testing.T) {
			h, err := hold(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			await(t, "answers", h, func(r probe.HeldResult) bool { return r.Answered > 20 })
			r := h.Stop()
			if r.Broken || r.LongestOutage != 0 || r.Why != "" || r.Sent != r.Answered || r.Protocol != name {
				t.Errorf("%+v", r)
			}
			if again := h.Stop(); again != r {
				t.Errorf("Stop twice: %+v, %+v", r, again)
			}
		})
		t.Run(name+" until the context ends", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			h, err := hold(ctx)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "answers", h, func(r probe.HeldResult) bool { return r.Answered > 2 })
			cancel()
			if r := h.Stop(); r.Broken {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestHeldConnectionIsLost(t *testing.T) {
	s, port, trust := httpsServer(t)
	hold, err := probe.HoldHTTPS(t.Context(), aimAt(port), probe.Request{TLS: trust, Path: "/readyz?verbose", Status: 200}, probe.Pace{Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "answers", hold, func(r probe.HeldResult) bool { return r.Answered > 2 })
	s.CloseClientConnections()
	await(t, "loss", hold, func(r probe.HeldResult) bool { return r.Broken && r.Why != "" && !r.Since.IsZero() })
	if r := hold.Stop(); !r.Broken {
		t.Errorf("%+v", r)
	}
	if _, err := probe.HoldTCP(t.Context(), aimAt(freePort(t)), probe.Pace{}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("held on to nothing: %v", err)
	}
	if _, err := probe.HoldHTTPS(t.Context(), aimAt(port), probe.Request{TLS: trust, Path: "/", Status: 200}, probe.Pace{}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("held on to the wrong answer: %v", err)
	}
}

// TestHeldConnectionStalls has a server that answers a while and then takes everything without a word.
func TestHeldConnectionStalls(t *testing.T) {
	silence := make(chan struct{})
	defer close(silence) // before the listener waits for those that it serves
	port := listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, `{"server":"web-1"}`+"\n")
		_, _ = io.CopyN(c, c, 20)
		<-silence
	})
	h, err := probe.HoldTCP(t.Context(), aimAt(port), probe.Pace{Interval: time.Millisecond, Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "stall", h, func(r probe.HeldResult) bool {
		return r.Broken && r.Why == "stalled" && r.LongestOutage > 50*time.Millisecond
	})
	r := h.Stop()
	if !r.Broken || r.Why != "stalled" || r.Since.Before(r.Started) {
		t.Errorf("%+v", r)
	}
	if again := h.Stop(); again != r {
		t.Errorf("Stop twice: %+v, %+v", r, again)
	}
}
