package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"proxyproof/sim/netns/server"
	"proxyproof/sim/world"
)

// here is this machine as a place; only loopback is used.
type here struct{ world.Place }

func (here) Name() string { return "here" }
func (here) Listen(ctx context.Context, network string, at netip.AddrPort) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, at.String())
}
func (here) ListenPacket(ctx context.Context, network string, at netip.AddrPort) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, network, at.String())
}

func start(t *testing.T, protocol world.Protocol) (*server.Server, uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := l.Addr().(*net.TCPAddr).AddrPort().Port()
	l.Close()
	s, err := server.Start(t.Context(), here{}, "web-1", world.Port{Number: number, Protocol: protocol}, []world.Family{world.IPv4, world.IPv6})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, number
}

func dial(t *testing.T, network, host string, port uint16) net.Conn {
	t.Helper()
	c, err := net.Dial(network, net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Skipf("no loopback of this family: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTCP(t *testing.T) {
	_, port := start(t, world.TCP)
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		t.Run(host, func(t *testing.T) {
			c := dial(t, "tcp", host, port)
			lines := bufio.NewReader(c)
			hello, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			said, err := world.ParseAnswer(hello)
			if want := (world.Answer{Server: "web-1", Saw: c.LocalAddr().String(), To: c.RemoteAddr().String()}); err != nil || said != want {
				t.Errorf("%+v, %v; want %+v", said, err, want)
			}
			for _, line := range []string{"one\n", "\n", strings.Repeat("x", world.MaxAnswer-1) + "\n"} {
				if _, err := io.WriteString(c, line); err != nil {
					t.Fatal(err)
				}
				if back, err := lines.ReadString('\n'); err != nil || back != line {
					t.Errorf("%q came back as %q, %v", line, back, err)
				}
			}
			if _, err := io.WriteString(c, strings.Repeat("x", world.MaxAnswer+1)); err != nil {
				t.Fatal(err)
			}
			if n, err := lines.Read(make([]byte, 1)); err == nil {
				t.Errorf("%d bytes of an endless line came back", n)
			}
		})
	}
}

// TestUDP asks several addresses of one machine: each must answer for itself, or a connected socket hears nothing.
func TestUDP(t *testing.T) {
	_, port := start(t, world.UDP)
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		t.Run(host, func(t *testing.T) {
			c := dial(t, "udp", host, port)
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, world.MaxAnswer)
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			said, err := world.ParseAnswer(b[:n])
			if want := (world.Answer{Server: "web-1", Saw: c.LocalAddr().String(), To: c.RemoteAddr().String(), Echo: "hello"}); err != nil || said != want {
				t.Errorf("%+v, %v; want %+v", said, err, want)
			}
		})
	}
}

func TestCloseEndsConnections(t *testing.T) {
	s, port := start(t, world.TCP)
	c := dial(t, "tcp", "127.0.0.1", port)
	lines := bufio.NewReader(c)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still there: %v", err)
	}
	if c, err := net.Dial("tcp", c.RemoteAddr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

func TestPortTaken(t *testing.T) {
	_, port := start(t, world.TCP)
	_, err := server.Start(t.Context(), here{}, "web-2", world.Port{Number: port, Protocol: world.TCP}, []world.Family{world.IPv4})
	if err == nil || !strings.Contains(err.Error(), "listen on") {
		t.Errorf("%v", err)
	}
	_, err = server.Start(t.Context(), here{}, "web-2", world.Port{Number: port, Protocol: "DCCP"}, []world.Family{world.IPv4})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
