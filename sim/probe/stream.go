package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// HoldTCP keeps one connection to a server of the world open and exercises it. An error means that the connection could not be made.
// The context bounds the life of the probe, the timeout of the aim the making of the connection.
func HoldTCP(ctx context.Context, a Aim, p Pace) (Held, error) {
	making, cancel := a.bounded(ctx)
	defer cancel()
	r, s := a.connect(making, "tcp", unix.IPPROTO_TCP)
	if s == nil {
		return nil, r.Err()
	}
	lines := bufio.NewReaderSize(s, world.MaxAnswer)
	hello, err := s.line(making, lines)
	if err != nil {
		s.Close()
		return nil, r.failed(err, true).Err()
	}
	if r = r.heard(hello); r.Err() != nil {
		s.Close()
		return nil, r.Err()
	}
	return holdStream(ctx, s, p, a.held("tcp"), func(n int) error {
		line := append(strconv.AppendInt(nil, int64(n), 10), '\n')
		if _, err := s.Write(line); err != nil {
			return err
		}
		back, err := lines.ReadSlice('\n')
		if err == nil && !bytes.Equal(back, line) {
			err = fmt.Errorf("sent %q, got %.80q back", line, back)
		}
		return err
	}), nil
}

// HoldHTTPS keeps one connection to an HTTPS server open and exercises it. An error means that the connection could not be made or
// the first request was not answered. The context bounds the life of the probe, the timeout of the aim the making of the connection.
func HoldHTTPS(ctx context.Context, a Aim, q Request, p Pace) (Held, error) {
	making, cancel := a.bounded(ctx)
	defer cancel()
	r, s := a.connect(making, "https", unix.IPPROTO_TCP)
	if s == nil {
		return nil, r.Err()
	}
	making, cancel = context.WithTimeoutCause(ctx, a.Timeout+a.Patience, errTimeout)
	defer cancel()
	release := s.bind(making)
	session, err := shake(s, q)
	if err == nil {
		err = session.ask(&r)
	}
	if err != nil {
		r = r.failed(s.because(making, err), true)
	}
	if r.Err() != nil || !release() {
		s.Close()
		return nil, errors.Join(r.Err(), context.Cause(making))
	}
	return holdStream(ctx, s, p, a.held("https"), func(int) error {
		var r Result
		if err := session.ask(&r); err != nil {
			return err
		}
		if r.Outcome != Answered {
			return errors.New(r.Detail)
		}
		return nil
	}), nil
}

// heldStream implements Held.
type heldStream struct {
	socket  *socket
	pace    Pace
	stop    chan struct{}
	once    sync.Once
	running sync.WaitGroup

	lock   sync.Mutex
	result HeldResult
	asked  time.Time // zero: nothing is under way
	ended  bool
	idle   chan struct{} // told when nothing is under way
}

// holdStream exercises a connection until it is stopped or lost.
func holdStream(ctx context.Context, s *socket, p Pace, start HeldResult, exchange func(n int) error) Held {
	h := &heldStream{socket: s, pace: p.orDefault(), stop: make(chan struct{}), result: start, idle: make(chan struct{}, 1)}
	h.result.Since = start.Started
	s.patient = true
	release := context.AfterFunc(ctx, func() { s.Close() })
	h.running.Go(func() {
		defer release()
		defer s.Close()
		h.run(ctx, exchange)
	})
	return h
}

func (h *heldStream) run(ctx context.Context, exchange func(n int) error) {
	ticks := time.NewTicker(h.pace.Interval)
	defer ticks.Stop()
	for n := 1; ; n++ {
		h.begin()
		if err := exchange(n); !h.finish(ctx, err) {
			return
		}
		select {
		case <-ticks.C:
		case <-h.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *heldStream) begin() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.asked = time.Now()
	h.result.Sent++
}

// finish records the end of an exchange and tells whether there can be another.
func (h *heldStream) finish(ctx context.Context, err error) bool {
	complaint := h.socket.complaint()
	h.lock.Lock()
	defer h.lock.Unlock()
	defer func() {
		select {
		case h.idle <- struct{}{}:
		default:
		}
	}()
	now := time.Now()
	if err != nil {
		h.ended = true
		if !h.stopped() && ctx.Err() == nil {
			h.result.Broken, h.result.Why = true, lastWords(err, complaint)
			h.lengthen(now, h.result.Why)
		}
		return false
	}
	if complaint != nil {
		h.lengthen(now, reason(complaint))
	} else if h.pace.Elapsed(h.asked, now) > h.pace.Patience {
		h.lengthen(now, stalled)
	}
	h.result.Answered++
	h.result.Since, h.asked = now, time.Time{}
	return true
}

// stalled is why a connection had an outage on which there was no error.
const stalled = "stalled"

// lengthen counts the time since the present request as an outage.
func (h *heldStream) lengthen(now time.Time, why string) {
	if took := h.pace.Elapsed(h.asked, now); took > h.result.LongestOutage {
		h.result.LongestOutage, h.result.OutageAt, h.result.Why = took, h.asked, why
	}
}

func (h *heldStream) stopped() bool {
	select {
	case <-h.stop:
		return true
	default:
		return false
	}
}

// lastWords says why a connection was lost.
func lastWords(err, complaint error) string {
	what := reason(err)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		what = "closed by the other side"
	}
	if complaint != nil {
		what += " after " + reason(complaint)
	}
	return what
}

func (h *heldStream) Snapshot() HeldResult {
	h.lock.Lock()
	defer h.lock.Unlock()
	r := h.result
	if h.ended || h.asked.IsZero() {
		return r
	}
	waiting := h.pace.Elapsed(h.asked, time.Now())
	if waiting <= h.pace.Patience {
		r.Open = true
		return r
	}
	r.Broken, r.Why = true, stalled
	if complaint := h.socket.peekComplaint(); complaint != nil {
		r.Why = stalled + ": " + reason(complaint)
	}
	if waiting > r.LongestOutage {
		r.LongestOutage, r.OutageAt = waiting, h.asked
	}
	return r
}

// Stop leaves an exchange that is under way until Patience is over.
func (h *heldStream) Stop() HeldResult {
	h.once.Do(func() {
		close(h.stop)
		h.linger()
		r := h.Snapshot()
		h.socket.Close()
		h.running.Wait()
		h.lock.Lock()
		h.result, h.ended = r, true
		h.lock.Unlock()
	})
	return h.Snapshot()
}

func (h *heldStream) linger() {
	end := time.Now().Add(mostLinger * h.pace.Patience)
	for wait := h.awaits(); wait > 0 && time.Now().Before(end); wait = h.awaits() {
		timer := time.NewTimer(wait)
		select {
		case <-h.idle: // maybe of an earlier exchange
		case <-timer.C:
		}
		timer.Stop()
	}
}

// awaits is how long the answer that is under way may still take; 0 if none is, or if its time is over.
func (h *heldStream) awaits() time.Duration {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.ended || h.asked.IsZero() {
		return 0
	}
	left := h.pace.Patience - h.pace.Elapsed(h.asked, time.Now())
	if left < 0 {
		return 0
	}
	return left + time.Millisecond
}
