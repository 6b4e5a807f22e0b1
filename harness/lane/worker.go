// Package lane is where workers live, seen from the orchestrator: a child process on this host, or a throwaway VM. Whichever it
// is, the other end of the pipe is the same worker.
package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/wire"
	"proxyproof/sim/pressure"
)

// File is a file to be pushed to workers.
type File struct {
	Path string
	Hash string // SHA-256, hex
	Size int64
}

// Worker is a running worker. Its methods are safe for concurrent use.
type Worker struct {
	Hello wire.Hello
	host  machine
	conn  *wire.Conn

	// heard is the time of the last message, in nanoseconds.
	heard  atomic.Int64
	silent atomic.Bool
	room   atomic.Pointer[Room]

	pushing sync.Mutex
	pushed  map[string]bool

	lock   sync.Mutex
	tasks  map[string]*task
	stored chan wire.Stored
	gone   chan struct{} // closed when the stream has ended
	why    error         // valid after gone
	words  string        // valid after gone
}

// Room is what a worker's machine had to spare in the last second before At.
type Room struct {
	wire.Beat
	At time.Time
}

// Room is what the worker said last; the zero value if it did not yet.
func (w *Worker) Room() Room {
	if room := w.room.Load(); room != nil {
		return *room
	}
	return Room{}
}

// machine is what a worker runs on.
type machine interface {
	// Stream is the pipe to the worker.
	Stream() io.ReadWriter
	// Close ends the machine and everything on it.
	Close() error
	// Obituary explains the end of a worker that ended by itself: its last words.
	Obituary() string
	// Pid is of the process that runs the worker's CPUs if they are virtual; else 0.
	Pid() int
	// Figures are boot time, retries and memory, for the report; the kernel is the worker's to tell.
	Figures() event.Machine
}

// task is a case or command that a worker executes.
type task struct {
	event  func(event.Event)
	output func([]byte)
	done   chan wire.Done
}

// helloLimit bounds the wait for the first message of a worker whose machine is up.
const helloLimit = 60 * time.Second

// newWorker greets the worker on a machine, which it owns from then on.
func newWorker(ctx context.Context, m machine) (*Worker, error) {
	w := &Worker{
		host: m, conn: wire.New(m.Stream()),
		pushed: map[string]bool{}, tasks: map[string]*task{},
		stored: make(chan wire.Stored, 1), gone: make(chan struct{}),
	}
	greeted := make(chan error, 1)
	w.heard.Store(time.Now().UnixNano())
	go w.receive(greeted)
	go w.watch()
	go w.reportPressure(m.Pid())
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	select {
	case err := <-greeted:
		if err != nil {
			m.Close()
			return nil, err
		}
		return w, nil
	case <-ctx.Done():
		m.Close()
		<-w.gone
		return nil, fmt.Errorf("wait for the worker's first message: %w", context.Cause(ctx))
	}
}

// receive reads messages until the stream ends, and then fails every task.
func (w *Worker) receive(greeted chan<- error) {
	err := w.greet()
	greeted <- err
	for err == nil {
		err = w.dispatch()
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.why = err
	close(w.gone)
}

// silenceLimit is how long a worker may say nothing. It says something every second; its machine may be starved by others.
const silenceLimit = 45 * time.Second

// watch ends a worker that fell silent: its kernel hangs, and will not end by itself.
func (w *Worker) watch() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-w.gone:
			return
		case <-ticker.C:
			if time.Since(time.Unix(0, w.heard.Load())) > silenceLimit {
				w.silent.Store(true)
				w.host.Close()
				return
			}
		}
	}
}

// reportPressure reports to the worker how the host schedules its CPUs, until the worker is gone.
func (w *Worker) reportPressure(pid int) {
	if pid == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pressure.Watch(ctx, pid, wire.BeatInterval, func(_ time.Time, scheduled float64) {
		if w.conn.Send(wire.TypeHost, wire.Host{Scheduled: scheduled}) != nil || !w.Alive() {
			cancel()
		}
	})
}

// greet reads the first message.
func (w *Worker) greet() error {
	t, payload, err := w.conn.Receive()
	if err != nil {
		return w.ended(err)
	}
	if t != wire.TypeHello {
		return fmt.Errorf("the worker's first message is %q instead of its name", t)
	}
	if w.Hello, err = wire.Decode[wire.Hello](payload); err != nil {
		return err
	}
	if w.Hello.Version != wire.Version {
		return fmt.Errorf("the worker speaks version %d of the protocol, this program %d", w.Hello.Version, wire.Version)
	}
	return nil
}

// ErrGone is the end of a worker that nobody asked to end. It says nothing about the case that it was busy with.
var ErrGone = errors.New("the worker is gone")

// ended describes the end of the stream.
func (w *Worker) ended(err error) error {
	if w.silent.Load() {
		err = fmt.Errorf("it had been silent for %v", silenceLimit)
	}
	w.words = w.host.Obituary()
	lines := strings.Split(w.words, "\n")
	lines = lines[max(0, len(lines)-lastLines):]
	return fmt.Errorf("%w (%v); its last words:\n%s", ErrGone, err, strings.Join(lines, "\n"))
}

// lastLines is how much of the last words an error repeats.
const lastLines = 12

// LastWords is all that is left of what a worker said that is not alive any more: of a VM, the console.
func (w *Worker) LastWords() string {
	<-w.gone
	return w.words
}

// dispatch handles one message.
func (w *Worker) dispatch() error {
	t, payload, err := w.conn.Receive()
	if err != nil {
		return w.ended(err)
	}
	w.heard.Store(time.Now().UnixNano())
	switch t {
	case wire.TypeBeat:
		beat, err := wire.Decode[wire.Beat](payload)
		if err != nil {
			return err
		}
		w.room.Store(&Room{beat, time.Now()})
	case wire.TypeStored:
		stored, err := wire.Decode[wire.Stored](payload)
		if err != nil {
			return err
		}
		w.stored <- stored
	case wire.TypeEvent:
		e, err := wire.Decode[event.Event](payload)
		if err != nil {
			return err
		}
		if task := w.task(e.Case); task != nil {
			task.event(e)
		}
	case wire.TypeOutput:
		output, err := wire.Decode[wire.Output](payload)
		if err != nil {
			return err
		}
		if task := w.task(output.ID); task != nil {
			task.output(output.Data)
		}
	case wire.TypeDone:
		done, err := wire.Decode[wire.Done](payload)
		if err != nil {
			return err
		}
		if task := w.task(done.ID); task != nil {
			task.done <- done
		}
	default:
		return fmt.Errorf("the worker sent a message of unknown type %q", t)
	}
	return nil
}

func (w *Worker) task(id string) *task {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.tasks[id]
}

// Push makes sure that the worker has a file.
func (w *Worker) Push(ctx context.Context, f File) error {
	w.pushing.Lock()
	defer w.pushing.Unlock()
	if w.pushed[f.Hash] {
		return nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return fmt.Errorf("push %s to the worker: %w", f.Path, err)
	}
	defer file.Close()
	if err := w.conn.SendFile(f.Hash, f.Size, file); err != nil {
		return fmt.Errorf("push %s to the worker: %w", f.Path, w.reason(err))
	}
	select {
	case stored := <-w.stored:
		if stored.Error != "" {
			return fmt.Errorf("push %s to the worker: %s", f.Path, stored.Error)
		}
	case <-w.gone:
		return fmt.Errorf("push %s to the worker: %w", f.Path, w.why)
	case <-ctx.Done():
		return fmt.Errorf("push %s to the worker: %w", f.Path, context.Cause(ctx))
	}
	w.pushed[f.Hash] = true
	return nil
}

// Drop makes the worker forget a file that was pushed, since it keeps them in memory.
func (w *Worker) Drop(hash string) error {
	w.pushing.Lock()
	defer w.pushing.Unlock()
	if !w.pushed[hash] {
		return nil
	}
	delete(w.pushed, hash)
	return w.conn.Send(wire.TypeDrop, wire.Drop{Hash: hash})
}

// Run executes a case. Events arrive at sink, in order, from one goroutine. An error is trouble of the worker's own: the case
// has no verdict.
func (w *Worker) Run(ctx context.Context, job wire.Job, sink func(event.Event)) error {
	done, err := w.perform(ctx, job.ID, wire.TypeRun, job, &task{event: sink, output: func([]byte) {}})
	if err != nil {
		return err
	}
	if done.Error != "" {
		return errors.New(done.Error)
	}
	return nil
}

// Exec runs a pushed file as a command in the worker's machine and returns its exit code.
func (w *Worker) Exec(ctx context.Context, command wire.Exec, output func([]byte)) (int, error) {
	done, err := w.perform(ctx, command.ID, wire.TypeExec, command, &task{event: func(event.Event) {}, output: output})
	if err != nil {
		return -1, err
	}
	if done.Error != "" {
		return done.Exit, errors.New(done.Error)
	}
	return done.Exit, nil
}

// cancelGrace is how long a cancelled task may take to clean up before its worker is given up.
const cancelGrace = 20 * time.Second

// perform sends a task and waits for its end. A cancelled context cancels the task, whose end is still awaited.
func (w *Worker) perform(ctx context.Context, id string, t wire.Type, message any, task *task) (wire.Done, error) {
	task.done = make(chan wire.Done, 1)
	w.lock.Lock()
	w.tasks[id] = task
	w.lock.Unlock()
	defer func() {
		w.lock.Lock()
		delete(w.tasks, id)
		w.lock.Unlock()
	}()
	if err := w.conn.Send(t, message); err != nil {
		return wire.Done{}, w.reason(err)
	}
	select {
	case done := <-task.done:
		return done, nil
	case <-w.gone:
		return wire.Done{}, w.why
	case <-ctx.Done():
	}
	_ = w.conn.Send(wire.TypeCancel, wire.Cancel{ID: id})
	grace := time.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case <-task.done:
	case <-w.gone:
	case <-grace.C:
		w.host.Close()
	}
	return wire.Done{}, context.Cause(ctx)
}

// reason prefers the worker's own end over a write error that it caused.
func (w *Worker) reason(err error) error {
	select {
	case <-w.gone:
		return w.why
	case <-time.After(time.Second):
		return err
	}
}

// Alive tells whether the worker still serves.
func (w *Worker) Alive() bool {
	select {
	case <-w.gone:
		return false
	default:
		return true
	}
}

// Figures are what it runs on, and what that cost.
func (w *Worker) Figures() event.Machine {
	m := w.host.Figures()
	m.Kernel = w.Hello.Kernel
	return m
}

// Close ends the worker and waits for that.
func (w *Worker) Close() error {
	err := w.host.Close()
	<-w.gone
	return err
}
