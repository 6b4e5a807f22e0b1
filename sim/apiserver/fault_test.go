package apiserver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// answered makes a request and tells how it ended, within a limit.
func (a *api) answered(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(a.Context(), limit)
	defer cancel()
	_, err := a.json.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	return err
}

// begin begins a fault.
func (a *api) begin(f Fault) {
	a.Helper()
	a.must(a.server.Control().Break(f))
}

// TestFaults: each fault is what its name says, and over when it is healed.
func TestFaults(t *testing.T) {
	for fault, is := range map[Fault]func(error) bool{
		FaultOutage:    func(err error) bool { return err != nil && strings.Contains(err.Error(), "connection re") }, // reset or refused
		FaultBlackHole: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		FaultErrors:    apierrors.IsInternalError,
	} {
		t.Run(string(fault), func(t *testing.T) {
			a := newAPI(t, dual...)
			control := a.server.Control()
			a.must(a.answered(limit))
			a.begin(fault)
			if err := a.answered(time.Second); !is(err) {
				t.Errorf("while there is the fault: %v", err)
			}
			a.must(control.Heal())
			a.must(a.answered(limit))
		})
	}
}

// TestSlow: an answer is late, and comes.
func TestSlow(t *testing.T) {
	a := newAPI(t, dual...)
	a.must(a.server.Control().Break(FaultSlow))
	start := time.Now()
	a.must(a.answered(limit))
	if took := time.Since(start); took < slowness {
		t.Errorf("answered after %v", took)
	}
}

// TestBlackHoleKeepsWatches: a watch that nothing was sent on lives on, and is told afterwards.
func TestBlackHoleKeepsWatches(t *testing.T) {
	a := newAPI(t, dual...)
	w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version()})
	a.begin(FaultBlackHole)
	_, err := a.server.Control().Apply(t.Context(), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"))
	a.must(err)
	select {
	case e := <-w.ResultChan():
		t.Fatalf("a black hole let %v through", e)
	case <-time.After(100 * time.Millisecond):
	}
	if n, err := a.server.Outstanding(); n != 0 || err != nil {
		t.Errorf("%d outstanding, %v", n, err)
	}
	a.must(a.server.Control().Heal())
	a.expect(w, watch.Added, "a")
}

// TestMissing: a watch that was ended is missed until it is there again, or until its client is forgotten.
func TestMissing(t *testing.T) {
	a := newAPI(t, dual...)
	control := a.server.Control()
	open := func() {
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version()})
		a.configMap(a.version(), nil)
		a.next(w)
	}
	open()
	control.DropWatches()
	if n := a.server.Missing(); n != 1 {
		t.Fatalf("%d watches are missing", n)
	}
	open()
	if n := a.server.Missing(); n != 0 {
		t.Errorf("%d watches are missing", n)
	}
	version := a.version()
	control.Expire()
	control.Forget()
	if n := a.server.Missing(); n != 0 {
		t.Errorf("%d watches are missing", n)
	}
	e := a.next(a.watch(a.json, metav1.ListOptions{ResourceVersion: version}))
	a.true(e.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(e.Object)), "got %v", e)
}
