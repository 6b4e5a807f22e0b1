package defect

import (
	"proxyproof/reference/apply"
	"proxyproof/reference/drain"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// endpointCut is how IPVS proxies were until kube-proxy v1.12 and kube-router v0.3: an endpoint went with its connections.
var endpointCut = Defect{
	Name:     "endpoint-cut-at-once",
	Issue:    "kubernetes/kubernetes#57841",
	Summary:  "an endpoint that goes is deleted at once, with its connections",
	Findings: []string{"state-mismatch"},
	When:     "wherever an endpoint that has connections is expected to be drained",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer {
		return &cutting{Writer: w, cut: map[drain.Destination]bool{}}
	}},
}

// cutting deletes what is to be drained, and remembers that for what follows.
type cutting struct {
	apply.Writer
	cut map[drain.Destination]bool
}

func (w *cutting) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	at := drain.Destination{Service: s, Dest: d}
	if weight == 0 {
		w.cut[at] = true
		return w.Writer.DeleteDest(s, d)
	}
	delete(w.cut, at)
	return w.AddDest(s, d)
}

func (w *cutting) DeleteDest(s plan.Service, d plan.Dest) error {
	if at := (drain.Destination{Service: s, Dest: d}); w.cut[at] {
		delete(w.cut, at)
		return nil
	}
	return w.Writer.DeleteDest(s, d)
}

// weightZeroForGood is kube-proxy's: what was draining when it restarted stayed at weight 0, though it was ready again.
var weightZeroForGood = Defect{
	Name:     "weight-zero-for-good",
	Issue:    "kubernetes/kubernetes#108319",
	Summary:  "an endpoint that was being drained and is ready again keeps weight 0",
	Findings: []string{"ipvs-dest-wrong", "state-mismatch", "backend-unused"},
	When:     "wherever an endpoint that has connections goes and comes back",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return neverWeighed{w} }},
}

type neverWeighed struct{ apply.Writer }

func (w neverWeighed) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	if weight > 0 {
		return nil
	}
	return w.Writer.WeighDest(s, d, weight)
}

// drainedNeverDeleted is kube-proxy's: what had connections was not deleted, and some clients kept it busy for ever.
var drainedNeverDeleted = Defect{
	Name:     "drained-never-deleted",
	Issue:    "kubernetes/kubernetes#81591",
	Summary:  "an endpoint that had connections when it went keeps weight 0 and is never deleted",
	Findings: []string{"state-mismatch"},
	When:     "wherever an endpoint goes and its end is expected",
	Wrap: proxy.Middleware{Writer: func(w apply.Writer) apply.Writer {
		return &drainedKept{Writer: w, draining: map[drain.Destination]bool{}}
	}},
}

type drainedKept struct {
	apply.Writer
	draining map[drain.Destination]bool
}

func (w *drainedKept) WeighDest(s plan.Service, d plan.Dest, weight int) error {
	w.draining[drain.Destination{Service: s, Dest: d}] = weight == 0
	return w.Writer.WeighDest(s, d, weight)
}

func (w *drainedKept) DeleteDest(s plan.Service, d plan.Dest) error {
	if w.draining[drain.Destination{Service: s, Dest: d}] {
		return nil
	}
	return w.Writer.DeleteDest(s, d)
}
