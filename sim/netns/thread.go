package netns

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

var errClosed = errors.New("the world is closed")

// onThread runs f on an operating system thread that ends with it, so that f may move the thread into any namespace. The
// returned channel is closed when f has returned.
//
// The main thread cannot end, and /proc/self shows its namespaces: there another thread is taken instead.
func onThread(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			defer close(done)
			f()
			return
		}
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread() // not the main thread, which is still locked
			close(taken)
			defer close(done)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
	return done
}

// keeper is a thread that stays in a node's namespaces as long as the node lives. Processes are forked from it: they inherit
// all of its namespaces, and their Pdeathsig is about the death of the thread that forked them.
type keeper struct {
	jobs  chan func()
	quit  chan struct{}
	once  sync.Once
	ended <-chan struct{}
}

func startKeeper() *keeper {
	k := &keeper{jobs: make(chan func()), quit: make(chan struct{})}
	k.ended = onThread(func() {
		for {
			select {
			case job := <-k.jobs:
				job()
			case <-k.quit:
				return
			}
		}
	})
	return k
}

// do runs f on the thread and waits for it.
func (k *keeper) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case k.jobs <- func() { result <- f() }:
		return <-result
	case <-k.ended:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the thread.
func (k *keeper) stop() {
	k.once.Do(func() { close(k.quit) })
	<-k.ended
}

// openNamespace opens a namespace of the calling thread: "net", "mnt" or "uts".
func openNamespace(kind string) (int, error) {
	path := "/proc/thread-self/ns/" + kind
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}
