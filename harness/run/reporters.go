package run

import (
	"errors"
	"sync"

	"proxyproof/harness/event"
	"proxyproof/harness/report"
)

// reporters passes everything on to several reporters, one call at a time.
type reporters struct {
	lock *sync.Mutex
	all  []report.Reporter
}

func newReporters(all []report.Reporter) reporters { return reporters{&sync.Mutex{}, all} }

func (r reporters) each(f func(report.Reporter)) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, reporter := range r.all {
		f(reporter)
	}
}

func (r reporters) start(cases []report.Case) { r.each(func(x report.Reporter) { x.Start(cases) }) }
func (r reporters) notice(text string)        { r.each(func(x report.Reporter) { x.Notice(text) }) }
func (r reporters) event(e event.Event)       { r.each(func(x report.Reporter) { x.Event(e) }) }
func (r reporters) ended(o report.Outcome)    { r.each(func(x report.Reporter) { x.Ended(o) }) }

func (r reporters) finish(s report.Summary) error {
	var errs []error
	r.each(func(x report.Reporter) { errs = append(errs, x.Finish(s)) })
	return errors.Join(errs...)
}
