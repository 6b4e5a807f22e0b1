package worker

import (
	"slices"
	"sync"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/finding"
)

// record is the stream of one case: it numbers and stamps events, and keeps each finding once.
type record struct {
	id   string
	send func(event.Event)

	lock     sync.Mutex
	seq      int
	step     int
	entered  []time.Time // when each step began, by its index
	findings []finding.Finding
	known    map[string]bool
}

func newRecord(id string, send func(event.Event)) *record {
	return &record{id: id, send: send, known: map[string]bool{}}
}

// add stamps and sends an event.
func (r *record) add(e event.Event) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.addLocked(e)
}

func (r *record) addLocked(e event.Event) {
	r.seq++
	e.Case, e.Seq, e.Step = r.id, r.seq, r.step
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.send(e)
}

// enter begins a step.
func (r *record) enter(step int, phase event.Phase) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for len(r.entered) <= step {
		r.entered = append(r.entered, time.Now())
	}
	r.step = step
	r.addLocked(event.Event{Phase: &phase})
}

// find records the findings that are new, as first seen now, in the present step, unless they say since when they are there.
func (r *record) find(findings ...finding.Finding) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, f := range findings {
		if r.known[f.Key()] {
			continue
		}
		r.known[f.Key()] = true
		if f.Time.IsZero() {
			f.Time = time.Now()
		}
		f.Step = r.stepAt(f.Time)
		r.findings = append(r.findings, f)
		r.addLocked(event.Event{Finding: &f})
	}
}

// stepAt is the step during which a moment was.
func (r *record) stepAt(t time.Time) int {
	step := 0
	for i, entered := range r.entered {
		if !t.Before(entered) {
			step = i
		}
	}
	return min(step, r.step)
}

// fresh are those of the findings that were not recorded yet: only they are worth waiting for.
func (r *record) fresh(findings []finding.Finding) []finding.Finding {
	r.lock.Lock()
	defer r.lock.Unlock()
	var fresh []finding.Finding
	for _, f := range findings {
		if !r.known[f.Key()] {
			fresh = append(fresh, f)
		}
	}
	return fresh
}

// has tells whether one of these was found.
func (r *record) has(ids ...finding.ID) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return slices.ContainsFunc(r.findings, func(f finding.Finding) bool { return slices.Contains(ids, f.ID) })
}

// failed tells whether anything was found.
func (r *record) failed() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.findings) > 0
}
