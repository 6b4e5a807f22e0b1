package netstate

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread that lives in a network namespace until it is stopped. Files below /proc/thread-self/net
// and /proc/sys/net, and sockets, are those of the namespace of the thread that opens them.
type thread struct {
	jobs chan func()
	done sync.WaitGroup
}

var errClosed = errors.New("reader is closed")

func startThread(ns int) (*thread, error) {
	t := &thread{jobs: make(chan func())}
	ready := make(chan error)
	t.done.Go(func() { t.start(ns, ready) })
	if err := <-ready; err != nil {
		t.done.Wait()
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	return t, nil
}

// start never unlocks the thread that it moved, so that the thread ends with it. The main thread cannot end and /proc/self
// shows its namespace: there, another thread is taken instead.
func (t *thread) start(ns int, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		moved := make(chan struct{})
		t.done.Go(func() {
			runtime.LockOSThread()
			close(moved)
			t.serve(ns, ready)
		})
		<-moved
		runtime.UnlockOSThread()
		return
	}
	t.serve(ns, ready)
}

func (t *thread) serve(ns int, ready chan<- error) {
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		ready <- os.NewSyscallError("setns", err)
		return
	}
	ready <- nil
	for job := range t.jobs {
		job()
	}
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func() error) error {
	result := make(chan error)
	t.jobs <- func() { result <- f() }
	return <-result
}

// stop ends the thread. do must not be called any more.
func (t *thread) stop() {
	close(t.jobs)
	t.done.Wait()
}

// readFile is os.ReadFile for small files of /proc, without the detour through the runtime's poller.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var content []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return content, nil
		default:
			content = append(content, buf[:n]...)
		}
	}
}
