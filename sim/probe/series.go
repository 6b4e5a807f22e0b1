package probe

import (
	"time"
)

// series is a sequence of requests by datagram, each of which is answered, lost or open. It is pure: time is told.
//
// Whether a request is lost is known when its patience is over, or when an ICMP error names it. Answers that come out of order, as
// they do on a machine that is short of processors, are no loss.
type series struct {
	patience time.Duration
	elapsed  func(from, to time.Time) time.Duration // as in Pace
	// first is the number of the first request that is open or that comes after one that is; requests are those from it on.
	first    int
	requests []request

	sent, answered int
	lastGood       time.Time // sending of the newest request that is settled and was answered
	outage         outage    // the present one
	longest        outage
}

type request struct {
	sent   time.Time
	fate   fate
	reason string
}

type fate uint8

const (
	open fate = iota
	answered
	lost
)

// outage is a run of lost requests.
type outage struct {
	from, to time.Time // of sending: first lost, and first answered after it
	reason   string
}

// send registers the next request and returns its number.
func (s *series) send(now time.Time) int {
	s.settle(now)
	s.requests = append(s.requests, request{sent: now})
	s.sent++
	return s.first + len(s.requests) - 1
}

// decide settles the fate of a request.
func (s *series) decide(n int, f fate, reason string, now time.Time) {
	s.settle(now) // its patience may be over
	i := n - s.first
	if i < 0 || i >= len(s.requests) || s.requests[i].fate != open {
		return // a duplicate, or too late
	}
	s.requests[i].fate, s.requests[i].reason = f, reason
	s.settle(now)
}

// settle takes what is decided off the front.
func (s *series) settle(now time.Time) {
	for len(s.requests) > 0 {
		r := &s.requests[0]
		if r.fate == open && s.elapsed(r.sent, now) > s.patience {
			r.fate, r.reason = lost, errTimeout.Error()
		}
		switch r.fate {
		case open:
			return
		case answered:
			s.recover(r.sent)
		case lost:
			if s.outage.from.IsZero() {
				s.outage.from = r.sent
			}
			s.outage.to, s.outage.reason = r.sent, r.reason
		}
		s.requests = s.requests[1:]
		s.first++
	}
}

// recover ends the present outage.
func (s *series) recover(at time.Time) {
	s.answered++
	s.lastGood = at
	if s.outage.from.IsZero() {
		return
	}
	s.outage.to = at
	if s.length(s.outage) > s.length(s.longest) {
		s.longest = s.outage
	}
	s.outage = outage{}
}

func (s *series) length(o outage) time.Duration { return s.elapsed(o.from, o.to) }

// pending is the number of open requests.
func (s *series) pending() int {
	n := 0
	for _, r := range s.requests {
		if r.fate == open {
			n++
		}
	}
	return n
}

// report completes a result. The outage that lasts has lasted for at least one interval more than its newest lost request.
func (s *series) report(r HeldResult, interval time.Duration, now time.Time) HeldResult {
	s.settle(now)
	r.Sent, r.Answered, r.Since = s.sent, s.answered, s.lastGood
	worst := s.longest
	r.Open = s.pending() > 0
	if !s.outage.from.IsZero() {
		present := s.outage
		present.to = present.to.Add(interval)
		r.Broken = true
		if s.length(present) > s.length(worst) {
			worst = present
		}
		worst.reason = present.reason
	}
	if !worst.from.IsZero() {
		r.LongestOutage, r.OutageAt, r.Why = s.length(worst), worst.from, worst.reason
	}
	return r
}
