package probe

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// HoldPing sends echo requests with sequence numbers. The context bounds the life of the probe.
func HoldPing(ctx context.Context, a Aim, p Pace) (Held, error) {
	e := echoOf(a.family())
	return a.hold(ctx, "ping", e.protocol, p, codec{
		request: func(n int) []byte { return e.request(uint16(n), []byte(strconv.Itoa(n))) },
		answer: func(b []byte) (int, bool) {
			_, payload, ok := e.reply(b)
			return number(payload, ok)
		},
		quoted: func(b []byte) (int, bool) {
			_, payload, ok := e.quoted(b)
			return number(payload, ok)
		},
	})
}

// HoldUDP sends datagrams with sequence numbers to a server of the world. The context bounds the life of the probe.
func HoldUDP(ctx context.Context, a Aim, p Pace) (Held, error) {
	return a.hold(ctx, "udp", unix.IPPROTO_UDP, p, codec{
		request: func(n int) []byte { return []byte(strconv.Itoa(n)) },
		answer: func(b []byte) (int, bool) {
			said, err := world.ParseAnswer(b)
			return number([]byte(said.Echo), err == nil)
		},
		quoted: func(b []byte) (int, bool) { return number(b, true) },
	})
}

// codec puts the number of a request into a datagram and finds it in an answer, or in what an ICMP error quotes.
type codec struct {
	request        func(n int) []byte
	answer, quoted func(b []byte) (n int, ok bool)
}

func number(b []byte, ok bool) (int, bool) {
	n, err := strconv.Atoi(string(b))
	return n, ok && err == nil
}

// heldDatagrams implements Held.
type heldDatagrams struct {
	socket *socket
	codec  codec
	pace   Pace
	start  HeldResult
	stop   chan struct{}
	once   sync.Once
	// sender and receiver are the two goroutines.
	sender, receiver sync.WaitGroup

	lock   sync.Mutex
	series series
	// heard is told of every answer.
	heard chan struct{}
}

func (a Aim) hold(ctx context.Context, name string, protocol int, p Pace, c codec) (Held, error) {
	s, err := a.open(ctx, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return nil, a.begin(name).failed(err, false).Err()
	}
	p = p.orDefault()
	h := &heldDatagrams{
		socket: s, codec: c, pace: p, start: a.held(name),
		stop: make(chan struct{}), heard: make(chan struct{}, 1),
		series: series{patience: p.Patience, elapsed: p.Elapsed},
	}
	h.receiver.Go(h.receive)
	h.sender.Go(func() { h.send(ctx) })
	return h, nil
}

func (a Aim) held(protocol string) HeldResult {
	to := a.To.String()
	if a.To.Port() == 0 {
		to = a.To.Addr().String()
	}
	return HeldResult{Protocol: protocol, From: a.From.Name(), To: to, Started: time.Now()}
}

// send owns the socket: it closes it when the probe ends.
func (h *heldDatagrams) send(ctx context.Context) {
	defer func() {
		h.socket.Close()
		h.receiver.Wait()
	}()
	ticks := time.NewTicker(h.pace.Interval)
	defer ticks.Stop()
	for {
		h.sendOne()
		select {
		case <-ticks.C:
		case <-h.stop:
			h.linger(ctx)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *heldDatagrams) sendOne() {
	h.lock.Lock()
	now := time.Now()
	n := h.series.send(now)
	h.lock.Unlock()
	_, err := h.socket.Write(h.codec.request(n))
	if err != nil && fromNetwork(err) { // the error of an earlier one: this one was not sent
		_, err = h.socket.Write(h.codec.request(n))
	}
	if err != nil {
		h.decide(n, lost, reason(err))
	}
}

// linger waits for the answers that are under way.
func (h *heldDatagrams) linger(ctx context.Context) {
	end := time.NewTimer(mostLinger * h.pace.Patience)
	defer end.Stop()
	look := time.NewTicker(h.pace.Interval)
	defer look.Stop()
	for h.pending() > 0 {
		select {
		case <-h.heard:
		case <-look.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *heldDatagrams) pending() int {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.series.settle(time.Now())
	return h.series.pending()
}

func (h *heldDatagrams) receive() {
	b := make([]byte, world.MaxAnswer)
	for {
		n, err := h.socket.File.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			h.complaints()
		default:
			if n, ok := h.codec.answer(b[:n]); ok {
				h.decide(n, answered, "")
			}
		}
	}
}

// complaints takes all ICMP errors, each of which names the request that it is about.
func (h *heldDatagrams) complaints() {
	_ = h.socket.raw.Control(func(fd uintptr) {
		for {
			e, quote, ok := queued(int(fd))
			if !ok {
				return
			}
			if n, ok := h.codec.quoted(quote); ok {
				h.decide(n, lost, e.String())
			}
		}
	})
}

func (h *heldDatagrams) decide(n int, f fate, reason string) {
	h.lock.Lock()
	h.series.decide(n, f, reason, time.Now())
	h.lock.Unlock()
	select {
	case h.heard <- struct{}{}:
	default:
	}
}

func (h *heldDatagrams) Snapshot() HeldResult {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.series.report(h.start, h.pace.Interval, time.Now())
}

func (h *heldDatagrams) Stop() HeldResult {
	h.once.Do(func() { close(h.stop) })
	h.sender.Wait()
	return h.Snapshot()
}
