// Package worker executes cases: it brings up a world, an API server and the subject, takes the scenario's steps, judges after
// each, and streams everything that happens. A worker runs where the kernel has IPVS and it is root: on the host or inside a
// throwaway VM. It knows nothing of selection or reports.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/harness/wire"
	"proxyproof/sim/pressure"
)

// Worker serves one orchestrator.
type Worker struct {
	conn  *wire.Conn
	store *store
	speed float64
	// meter counts the time that is of use, as long as the worker lives.
	meter *pressure.Meter

	lock    sync.Mutex
	cancels map[string]context.CancelFunc
	helps   helps
	running sync.WaitGroup
}

// Serve runs cases until the stream ends, then ends whatever still runs.
func Serve(ctx context.Context, stream io.ReadWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &Worker{conn: wire.New(stream), store: newStore(), speed: measureSpeed(), meter: &pressure.Meter{}, cancels: map[string]context.CancelFunc{}}
	if err := w.conn.Send(wire.TypeHello, w.hello(ctx)); err != nil {
		return err
	}
	w.running.Go(func() { w.beat(ctx) })
	w.running.Go(func() { w.meter.Run(ctx) })
	err := w.receive(ctx)
	cancel()
	w.running.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// beat gives signs of life, without which a hanging kernel could not be told from a long wait, and tells how busy the machine is.
func (w *Worker) beat(ctx context.Context) {
	ticker := time.NewTicker(wire.BeatInterval)
	defer ticker.Stop()
	var load load
	load.look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if w.conn.Send(wire.TypeBeat, load.look()) != nil {
				return
			}
		}
	}
}

// hello describes this worker.
func (w *Worker) hello(ctx context.Context) wire.Hello {
	var uts unix.Utsname
	kernel := "unknown"
	if unix.Uname(&uts) == nil {
		kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return wire.Hello{
		Version: wire.Version,
		Kernel:  kernel,
		CPUs:    cpus(),
		Speed:   w.speed,
		Lacks:   lacks(ctx),
	}
}

// receive handles messages until the stream ends.
func (w *Worker) receive(ctx context.Context) error {
	for {
		t, payload, err := w.conn.Receive()
		if err != nil {
			return err
		}
		if err := w.handle(ctx, t, payload); err != nil {
			return fmt.Errorf("handle %c message: %w", t, err)
		}
	}
}

// handle acts on one message. An error means that the stream cannot be trusted any more.
func (w *Worker) handle(ctx context.Context, t wire.Type, payload []byte) error {
	switch t {
	case wire.TypePut:
		put, err := wire.Decode[wire.Put](payload)
		if err != nil {
			return err
		}
		return w.acknowledge(w.store.begin(put))
	case wire.TypeChunk:
		return w.acknowledge(w.store.write(payload))
	case wire.TypeDrop:
		drop, err := wire.Decode[wire.Drop](payload)
		if err != nil {
			return err
		}
		w.store.drop(drop.Hash)
	case wire.TypeRun:
		job, err := wire.Decode[wire.Job](payload)
		if err != nil {
			return err
		}
		w.start(ctx, job.ID, func(ctx context.Context) wire.Done { return w.runCase(ctx, job) })
	case wire.TypeExec:
		command, err := wire.Decode[wire.Exec](payload)
		if err != nil {
			return err
		}
		w.start(ctx, command.ID, func(ctx context.Context) wire.Done { return w.exec(ctx, command) })
	case wire.TypeHost:
		host, err := wire.Decode[wire.Host](payload)
		if err != nil {
			return err
		}
		w.meter.HostReports(host.Scheduled)
	case wire.TypeCancel:
		cancel, err := wire.Decode[wire.Cancel](payload)
		if err != nil {
			return err
		}
		w.cancel(cancel.ID)
	default:
		return fmt.Errorf("unknown type %q", t)
	}
	return nil
}

// acknowledge tells the orchestrator that a file is complete, once it is.
func (w *Worker) acknowledge(stored *wire.Stored) error {
	if stored == nil {
		return nil
	}
	return w.conn.Send(wire.TypeStored, *stored)
}

// start runs f in a goroutine that Serve waits for, and reports its end.
func (w *Worker) start(ctx context.Context, id string, f func(context.Context) wire.Done) {
	ctx, cancel := context.WithCancel(ctx)
	w.lock.Lock()
	w.cancels[id] = cancel
	w.lock.Unlock()
	w.running.Go(func() {
		done := f(ctx)
		cancel()
		w.lock.Lock()
		delete(w.cancels, id)
		w.lock.Unlock()
		done.ID = id
		if err := w.conn.Send(wire.TypeDone, done); err != nil {
			fmt.Fprintf(os.Stderr, "worker: report the end of %s: %v\n", id, err)
		}
	})
}

func (w *Worker) cancel(id string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if cancel, ok := w.cancels[id]; ok {
		cancel()
	}
}
