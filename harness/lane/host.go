package lane

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"proxyproof/harness/event"
)

// hostMachine is a worker as a child process on this host: root on a kernel with IPVS.
type hostMachine struct {
	cmd     *exec.Cmd
	in, out *os.File // our ends of the worker's standard streams
	words   tail
	ended   chan struct{}
	boot    time.Duration
	once    sync.Once
}

// openHost starts the worker. It has a mount namespace of its own, so that nothing it mounts is seen elsewhere, and it dies
// with us, whatever ends us.
func openHost(binary string) (*hostMachine, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the worker's input: %w", err)
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("make the worker's output: %w", err)
	}
	defer theirOut.Close()

	m := &hostMachine{cmd: exec.Command(binary, "worker"), in: in, out: out, ended: make(chan struct{})}
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = theirIn, theirOut, &m.words
	m.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TMPDIR=/tmp"}
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:    syscall.SIGKILL,
		Setpgid:      true,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	started := time.Now()
	start := make(chan error, 1)
	go m.own(start)
	if err := <-start; err != nil {
		in.Close()
		out.Close()
		return nil, fmt.Errorf("start a worker on this host: %w", err)
	}
	m.boot = time.Since(started)
	return m, nil
}

// own starts the process and waits for it on one thread, since Pdeathsig is about the death of the parent's thread.
func (m *hostMachine) own(start chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(m.ended)
	err := m.cmd.Start()
	start <- err
	if err == nil {
		_ = m.cmd.Wait() // how it ended is in its state and its last words
	}
}

type duplex struct {
	io.Reader
	io.Writer
}

func (m *hostMachine) Stream() io.ReadWriter { return duplex{m.out, m.in} }

// Pid is none: the worker's machine is this one.
func (m *hostMachine) Pid() int { return 0 }

// closeGrace is how long a worker may take to end its cases when its pipe is closed.
const closeGrace = 10 * time.Second

func (m *hostMachine) Close() error {
	m.once.Do(func() {
		m.in.Close()
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-m.ended:
		case <-grace.C:
			_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
			<-m.ended
		}
		m.out.Close()
	})
	return nil
}

func (m *hostMachine) Obituary() string {
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-m.ended:
		return strings.TrimSpace(m.words.String() + "\n" + m.cmd.ProcessState.String())
	case <-grace.C:
		return m.words.String()
	}
}

func (m *hostMachine) Figures() event.Machine {
	f := event.Machine{Lane: "host", Where: "a child process on this host", Boot: m.boot}
	if m.cmd.ProcessState != nil {
		if usage, ok := m.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			f.PeakMemory = usage.Maxrss << 10
		}
	}
	return f
}

// tail keeps the last bytes written to it.
type tail struct {
	lock sync.Mutex
	data []byte
}

const tailMost = 8 << 10

func (t *tail) Write(data []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.data = append(t.data, data...)
	if over := len(t.data) - tailMost; over > 0 {
		t.data = bytes.Clone(t.data[over:])
	}
	return len(data), nil
}

func (t *tail) String() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return strings.TrimSpace(string(t.data))
}
