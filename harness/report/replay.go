package report

import "errors"

// Replay tells reporters of a run that has ended, as they would have heard of it.
func Replay(s Summary, notices []string, reporters ...Reporter) error {
	cases := make([]Case, len(s.Outcomes))
	for i, o := range s.Outcomes {
		cases[i] = o.Case
	}
	var errs []error
	for _, r := range reporters {
		r.Start(cases)
		for _, text := range notices {
			r.Notice(text)
		}
		for _, o := range s.Outcomes {
			for _, e := range o.Events {
				r.Event(e)
			}
			r.Ended(o)
		}
		errs = append(errs, r.Finish(s))
	}
	return errors.Join(errs...)
}
