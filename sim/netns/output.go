package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/world"
)

// maxLine is the longest line that is passed on, in bytes. The rest of a longer one is counted and dropped.
const maxLine = 64 << 10

// output delivers what a process prints, line by line. It holds nothing back: a receiver that is slow slows the process, once
// the pipe (64 KiB) is full. Lines of one stream are in order; of two streams, in the order in which they were read.
type output struct {
	lock    sync.Mutex
	receive func(world.Line)
	readers sync.WaitGroup
	pipes   []*os.File
}

func (o *output) pass(line world.Line) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.receive != nil {
		o.receive(line)
	}
}

// pipe returns the end that the process writes to. The caller closes it after the process was started.
func (o *output) pipe(stderr bool) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for output: %w", err)
	}
	o.pipes = append(o.pipes, r)
	o.readers.Go(func() {
		o.read(r, stderr)
		r.Close()
	})
	return w, nil
}

// finish waits until everything is delivered that was printed before. A descendant that lives on and holds the pipe open does
// not delay it.
func (o *output) finish() {
	for _, p := range o.pipes {
		_ = p.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which then takes what is left
	}
	o.readers.Wait()
}

// unread tells whether something that the process has printed waits to be read. It may wait for room in the pipe, and looks asleep then.
func (o *output) unread() bool {
	return slices.ContainsFunc(o.pipes, func(pipe *os.File) bool {
		conn, err := pipe.SyscallConn()
		if err != nil {
			return false
		}
		n := 0
		err = conn.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		return err == nil && n > 0 // an error: its end was read
	})
}

// read delivers lines until the end of the stream or finish.
func (o *output) read(r *os.File, stderr bool) {
	lines := bufio.NewReaderSize(&leftovers{file: r}, maxLine)
	dropped := 0
	for {
		part, prefix, err := lines.ReadLine()
		if err != nil {
			return
		}
		if dropped > 0 { // a continuation of what was passed already
			dropped += len(part)
			if !prefix {
				o.pass(world.Line{Time: time.Now(), Stderr: stderr, Text: fmt.Sprintf("[%d bytes of this line dropped]", dropped-1)})
				dropped = 0
			}
			continue
		}
		o.pass(world.Line{Time: time.Now(), Stderr: stderr, Text: string(part)})
		if prefix {
			dropped = 1
		}
	}
}

// leftovers reads a pipe until its end or its deadline; after that, what is in it at that moment.
type leftovers struct {
	file *os.File
	late bool
}

func (l *leftovers) Read(b []byte) (int, error) {
	if !l.late {
		n, err := l.file.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		l.late = true
		if err := l.file.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	conn, err := l.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	err = conn.Read(func(fd uintptr) bool {
		n = readNow(int(fd), b)
		return true
	})
	if err == nil && n <= 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// readNow reads what is there, from a descriptor that does not block.
func readNow(fd int, b []byte) int {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n
		}
	}
}
