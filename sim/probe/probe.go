// Package probe asks whether something can be reached from a place of a world, and classifies what came back: an answer, a
// refusal, an ICMP error, a reset, silence. A probe is made once (Connect, TCP, UDP, Ping, HTTPS) or held through a whole scenario
// (HoldTCP, HoldHTTPS, HoldUDP, HoldPing).
//
// A negative result is proven where the kernel lets us: sockets ask for the ICMP errors that concern them (IP_RECVERR, IPV6_RECVERR),
// so that a rejection by a firewall is told apart from a closed port, also for TCP.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"proxyproof/sim/world"
)

// Aim is where a probe goes.
type Aim struct {
	From world.Place
	// Via is the node through which the traffic is to enter the cluster: it decides the local address. "" lets the kernel choose.
	Via string
	// Local is the address to bind; it goes before Via.
	Local netip.Addr
	// LocalPort is the port to bind; 0 is one that no probe used before.
	LocalPort uint16
	// To is a literal address; the port is 0 for pings.
	To netip.AddrPort
	// Timeout after which a probe is called silent. TCP sends a lost SYN again after 1 s, then after 2 s more: less than 3 s on a
	// nominal machine takes slowness for silence.
	Timeout time.Duration
	// Patience is how much longer an HTTP or HTTPS server may take for its answer once it is connected: a handshake costs both sides much
	// more work than a connection, which the kernels make.
	Patience time.Duration
}

func (a Aim) family() world.Family { return world.FamilyOf(a.To.Addr()) }

// local is the address to bind, or the zero Addr.
func (a Aim) local() netip.Addr {
	if a.Local.IsValid() {
		return a.Local
	}
	return a.From.Source(a.Via, a.family())
}

// Outcome is how a probe ended.
type Outcome string

// The outcomes.
const (
	// Answered: what was asked for came back.
	Answered Outcome = "answered"
	// Refused: the other side sent a TCP reset when asked for a connection: nobody listens.
	Refused Outcome = "refused"
	// Rejected: an ICMP error came back; Result.ICMP tells which, and who sent it.
	Rejected Outcome = "rejected"
	// Unreachable: the place itself could not send: no route, no source address, no answer to neighbour discovery.
	Unreachable Outcome = "unreachable"
	// Silent: nothing came back in time.
	Silent Outcome = "silent"
	// Reset: the connection was made and then reset.
	Reset Outcome = "reset"
	// Closed: the connection was made and then closed without the answer.
	Closed Outcome = "closed"
	// TLSFailed: the connection was made, but not the TLS session on it: what answers does not speak TLS, or not with this client.
	TLSFailed Outcome = "tls-failed"
	// WrongCertificate: a TLS server answered, and its certificate is not one that the request trusts for the name that it asks for.
	WrongCertificate Outcome = "wrong-certificate"
	// Unexpected: an answer came, but not the one that was asked for. Result.Status is 0 if it was no HTTP answer at all.
	Unexpected Outcome = "unexpected"
	// Broken: the probe could not be made. It says nothing about the world.
	Broken Outcome = "broken"
)

// Result is what a probe found out.
type Result struct {
	Outcome  Outcome        `json:"outcome"`
	Protocol string         `json:"protocol"` // "connect", "tcp", "udp", "ping", "https"
	From     string         `json:"from"`
	Via      string         `json:"via,omitempty"`
	Local    netip.AddrPort `json:"local,omitzero"` // as bound by the kernel; port 0 for pings
	To       netip.AddrPort `json:"to"`
	// Connected: a TCP or SCTP connection was made, whatever happened on it.
	Connected bool `json:"connected,omitempty"`
	// Server and Saw are what a server of the world answered.
	Server string `json:"server,omitempty"`
	Saw    string `json:"saw,omitempty"`
	// Status and Body (its beginning) are what an HTTPS server answered.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Took is the time from the first packet to the outcome.
	Took time.Duration `json:"took"`
	ICMP *ICMP         `json:"icmp,omitempty"`
	// Detail is the error's text, "" if there is nothing to add to the outcome.
	Detail string `json:"detail,omitempty"`
}

// String is a sentence such as "refused: connection refused after 2ms" or "rejected: port unreachable from 192.0.2.17 after 1ms".
func (r Result) String() string {
	var b strings.Builder
	b.WriteString(string(r.Outcome))
	if r.Connected && r.Outcome != Answered && r.Status == 0 {
		b.WriteString(" once connected")
	}
	if r.Server != "" {
		fmt.Fprintf(&b, " by %s, which saw %s", r.Server, r.Saw)
	}
	if r.Status != 0 {
		fmt.Fprintf(&b, " with status %d", r.Status)
	}
	switch {
	case r.ICMP != nil:
		fmt.Fprintf(&b, ": %s", r.ICMP)
	case r.Detail != "":
		fmt.Fprintf(&b, ": %s", r.Detail)
	}
	fmt.Fprintf(&b, " after %s", brief(r.Took))
	return b.String()
}

// Err is nil if the probe was answered, and the result as an error if not.
func (r Result) Err() error {
	if r.Outcome == Answered {
		return nil
	}
	return fmt.Errorf("%s from %s to %s: %s", r.Protocol, r.From, r.To, r)
}

// brief is a duration as a person reads it.
func brief(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}

// begin is the result so far.
func (a Aim) begin(protocol string) Result {
	return Result{Protocol: protocol, From: a.From.Name(), Via: a.Via, To: a.To}
}

// bounded is the context of a probe.
func (a Aim) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, a.Timeout, errTimeout)
}

var errTimeout = errors.New("no answer")
