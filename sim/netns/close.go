package netns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

// Close ends all processes and servers and lets the namespaces go. It returns when the kernel has removed their links.
// Sockets that somebody else opened in the world and still holds are an error: they keep their namespace alive.
func (w *World) Close() error {
	w.closing.Do(func() { w.closed = w.close() })
	return w.closed
}

func (w *World) close() error {
	var errs []error
	for _, n := range w.nodes {
		errs = append(errs, n.stop())
	}
	for _, s := range w.servers {
		errs = append(errs, s.Close())
	}
	errs = append(errs, w.bury())
	if w.group != nil {
		errs = append(errs, w.group.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the world: %w", err)
	}
	return nil
}

// graves bounds how many worlds of this process die at once. The kernel removes namespaces one batch after the other for the
// whole machine, and holds its lock of all links meanwhile.
var graves = semaphore.NewWeighted(2)

// burialGrace bounds the wait for the kernel to remove a world's links.
const burialGrace = 20 * time.Second

func (w *World) bury() error {
	if err := graves.Acquire(context.Background(), 1); err != nil {
		return err
	}
	defer graves.Release(1)
	var errs []error
	for _, s := range w.spaces() {
		errs = append(errs, s.abortOrphans(), s.drain())
	}
	for _, n := range w.nodes {
		errs = append(errs, n.close())
	}
	for _, p := range append(w.pods, w.clients...) {
		p.space.close()
	}
	if w.bridge != nil {
		errs = append(errs, w.bridge.awaitNoPorts(), w.bridge.drain())
		w.bridge.close()
	}
	return errors.Join(errs...)
}

func (w *World) spaces() []*space {
	var all []*space
	for _, n := range w.nodes {
		all = append(all, n.space)
	}
	for _, p := range append(w.pods, w.clients...) {
		all = append(all, p.space)
	}
	return all
}

// awaitNoPorts waits until the switch has no links left: the kernel removed their other ends with their namespaces.
func (s *space) awaitNoPorts() error {
	deadline := time.Now().Add(burialGrace)
	for pause := time.Millisecond; ; pause = min(2*pause, 10*time.Millisecond) {
		ports, err := s.ports()
		if err != nil || len(ports) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sockets are still open in the namespaces behind %v", ports)
		}
		time.Sleep(pause)
	}
}
