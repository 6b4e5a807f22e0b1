package probe

import (
	"fmt"
	"time"
)

// Held is a probe that goes on until Stop. Both methods may be called at any time, from any goroutine.
type Held interface {
	// Snapshot tells how it went so far.
	Snapshot() HeldResult
	// Stop ends the probe, waits for what is under way, for Patience at most, and tells how it went.
	Stop() HeldResult
}

// Pace is how a probe is held.
type Pace struct {
	// Interval between requests; 50 ms if 0.
	Interval time.Duration
	// Patience is how long an answer may take before its request counts as lost (datagrams), or the connection as stalled; 1 s if 0.
	Patience time.Duration
	// Elapsed is how much of the time between two moments counts, for Patience and for the length of outages; all of it if nil.
	Elapsed func(from, to time.Time) time.Duration
}

// mostLinger bounds how many times Patience Stop waits by the clock where not all time counts.
const mostLinger = 6

func (p Pace) orDefault() Pace {
	if p.Interval <= 0 {
		p.Interval = 50 * time.Millisecond
	}
	if p.Patience <= 0 {
		p.Patience = time.Second
	}
	if p.Elapsed == nil {
		p.Elapsed = func(from, to time.Time) time.Duration { return to.Sub(from) }
	}
	return p
}

// HeldResult is how a held probe went.
type HeldResult struct {
	Protocol string    `json:"protocol"` // "tcp", "https", "udp", "ping"
	From     string    `json:"from"`
	To       string    `json:"to"`
	Started  time.Time `json:"started"`
	Sent     int       `json:"sent"`
	Answered int       `json:"answered"`
	// LongestOutage is, for datagrams, the time from the sending of the first lost request to the sending of the next one that was
	// answered: 0 if none was lost, and a multiple of the interval if some were. For connections, it is the longest time that an answer
	// took, if it was beyond Patience or if an ICMP error came first. An outage that lasts counts up to now.
	LongestOutage time.Duration `json:"longestOutage"`
	OutageAt      time.Time     `json:"outageAt,omitzero"`
	// Broken: the connection is lost, or what was asked last has had no answer for longer than Patience.
	Broken bool `json:"broken"`
	// Open: an answer was awaited and still had time. After Stop, too little of the time counted for a conclusion.
	Open bool `json:"open,omitempty"`
	// Why it is broken or had its longest outage, such as "reset" or "stalled: ICMP port unreachable from 192.0.2.17".
	Why string `json:"why,omitempty"`
	// Since is the time of the last good exchange.
	Since time.Time `json:"since,omitzero"`
}

// String is a sentence.
func (r HeldResult) String() string {
	s := fmt.Sprintf("%s from %s to %s: %d of %d answered", r.Protocol, r.From, r.To, r.Answered, r.Sent)
	if r.LongestOutage > 0 {
		s += fmt.Sprintf(", longest outage %s", brief(r.LongestOutage))
	}
	if r.Broken {
		s += fmt.Sprintf(", broken since %s", r.Since.Format("15:04:05.000"))
	}
	if r.Why != "" {
		s += ": " + r.Why
	}
	return s
}
