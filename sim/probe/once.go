package probe

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// Connect makes a TCP connection and closes it. It is answered by whoever listens.
func Connect(ctx context.Context, a Aim) Result {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	r, s := a.connect(ctx, "connect", unix.IPPROTO_TCP)
	if s != nil {
		s.Close()
		r.Outcome = Answered
	}
	return r
}

// TCP connects to a server of the world, which answers at once.
func TCP(ctx context.Context, a Aim) Result { return a.greeted(ctx, "tcp", unix.IPPROTO_TCP) }

// SCTP does the same over SCTP, with a socket that behaves like one of TCP.
func SCTP(ctx context.Context, a Aim) Result { return a.greeted(ctx, "sctp", unix.IPPROTO_SCTP) }

// greeted connects and waits for the server's first line.
func (a Aim) greeted(ctx context.Context, name string, protocol int) Result {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	start := time.Now()
	r, s := a.connect(ctx, name, protocol)
	if s == nil {
		return r
	}
	defer s.Close()
	line, err := s.line(ctx, bufio.NewReaderSize(s, world.MaxAnswer))
	r.Took = time.Since(start)
	if err != nil {
		return r.failed(err, true)
	}
	return r.heard(line)
}

// UDP sends a datagram to a server of the world, which answers it.
func UDP(ctx context.Context, a Aim) Result {
	token := newToken()
	return a.exchange(ctx, "udp", unix.SOCK_DGRAM, unix.IPPROTO_UDP, []byte(token), func(r Result, b []byte) (Result, bool) {
		answer, err := world.ParseAnswer(b)
		if err == nil && answer.Echo != token {
			return r, false
		}
		return r.heard(b), true
	})
}

// Ping sends an ICMP echo request.
func Ping(ctx context.Context, a Aim) Result {
	token := newToken()
	e := echoOf(a.family())
	return a.exchange(ctx, "ping", unix.SOCK_DGRAM, e.protocol, e.request(1, []byte(token)), func(r Result, b []byte) (Result, bool) {
		_, payload, ok := e.reply(b)
		r.Outcome = Answered
		return r, ok && string(payload) == token
	})
}

// exchange sends one datagram and waits for what judge takes for the answer to it.
func (a Aim) exchange(ctx context.Context, name string, kind, protocol int, request []byte, judge func(Result, []byte) (Result, bool)) Result {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	r := a.begin(name)
	start := time.Now()
	s, err := a.open(ctx, kind, protocol)
	if err != nil {
		r.Took = time.Since(start)
		return r.failed(err, false)
	}
	defer s.Close()
	defer s.bind(ctx)()
	r.Local = sane(s.local())
	b := make([]byte, world.MaxAnswer)
	for sent := false; ; sent = true {
		n := 0
		if !sent {
			_, err = s.Write(request)
		}
		if err == nil {
			n, err = s.Read(b)
		}
		r.Took = time.Since(start)
		if err != nil {
			return r.failed(s.because(ctx, err), false)
		}
		if answered, done := judge(r, b[:n]); done {
			return answered
		}
	}
}

// connect makes a connection; if it cannot, the socket is nil and the result says why.
func (a Aim) connect(ctx context.Context, name string, protocol int) (Result, *socket) {
	r := a.begin(name)
	start := time.Now()
	s, err := a.open(ctx, unix.SOCK_STREAM, protocol)
	if err == nil {
		r.Local = sane(s.local())
		err = s.connected(ctx)
	}
	r.Took = time.Since(start)
	if err != nil {
		if s != nil {
			s.Close()
		}
		return r.failed(err, false), nil
	}
	r.Connected = true
	return r, s
}

// line reads one line.
func (s *socket) line(ctx context.Context, from *bufio.Reader) ([]byte, error) {
	defer s.bind(ctx)()
	line, err := from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("a line of more than %d bytes", world.MaxAnswer)
	}
	return line, s.because(ctx, err)
}

// heard is the result of an answer.
func (r Result) heard(answer []byte) Result {
	said, err := world.ParseAnswer(answer)
	if err != nil {
		r.Outcome, r.Detail = Unexpected, err.Error()
		return r
	}
	r.Outcome, r.Server, r.Saw = Answered, said.Server, said.Saw
	return r
}

// newToken tells one request from another.
func newToken() string {
	var b [8]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(b[:])
}
