package netstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests need root and a kernel with IPVS, ipset and both back ends of iptables, and the tools that read and write them.

// space is a network namespace made for a test.
type space struct {
	t  testing.TB
	fd int
}

// need skips a test where it cannot run, unless PROXYPROOF_REQUIRE_KERNEL=1 says that it must.
func need(t testing.TB, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{t: t, fd: -1}
	err := onThread(-1, func() (err error) {
		s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	need(t, err == nil, fmt.Sprintf("make a network namespace: %v", err))
	t.Cleanup(func() { unix.Close(s.fd) })
	var family uint16
	err = onThread(s.fd, func() error {
		c, err := openSocket(unix.NETLINK_GENERIC)
		if err != nil {
			return err
		}
		defer c.close()
		if family, err = ipvsFamily(c); family == 0 || err != nil {
			return err
		}
		_, err = readIPVS(c, family)
		return err
	})
	need(t, family != 0 && err == nil, fmt.Sprintf("the kernel has no IPVS for this process: %v", err))
	for _, tool := range []string{"ip", "ipset", "ipvsadm", "iptables-legacy-save", "iptables-nft-save"} {
		_, err := exec.LookPath(tool)
		need(t, err == nil, "the tests need "+tool)
	}
	return s
}

// onThread runs f on a thread in a namespace, or in a new one if ns is negative. The thread ends with f.
func onThread(ns int, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread cannot end
			go func() { result <- onThread(ns, f) }()
			select {} //nolint // keeps the main thread, and nothing else, busy
		}
		if ns < 0 {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				result <- err
				return
			}
		} else if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// exec is an Exec.
func (s *space) exec(ctx context.Context, name string, args ...string) ([]byte, error) {
	return s.input(ctx, "", name, args...)
}

func (s *space) input(ctx context.Context, input, name string, args ...string) (out []byte, err error) {
	err = onThread(s.fd, func() error {
		cmd := exec.CommandContext(ctx, name, args...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("run %v: %w: %s", cmd.Args, err, stderr.String())
		}
		return nil
	})
	return out, err
}

// run runs commands, one a line; an empty line and what follows a "#" are nothing. Those of ip and ipvsadm that only write share a
// process with those beside them: starting one costs more than what it does.
func (s *space) run(script string) string {
	s.t.Helper()
	var all, batch strings.Builder
	var batcher []string
	flush := func() {
		s.t.Helper()
		if batch.Len() > 0 {
			s.feed(batch.String(), batcher[0], batcher[1:]...)
		}
		batch.Reset()
	}
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		command, rest := batchOf(words)
		if !slices.Equal(command, batcher) {
			flush()
		}
		batcher = command
		if command != nil {
			batch.WriteString(strings.Join(rest, " ") + "\n")
			continue
		}
		out, err := s.exec(s.t.Context(), tool(words[0]), words[1:]...)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(out)
	}
	flush()
	return all.String()
}

// batchOf returns the command that reads commands like this one from its standard input, and this one's line there; none if there is
// no such command.
func batchOf(words []string) (command, line []string) {
	shows := slices.ContainsFunc(words, func(w string) bool { return w == "show" || w == "-L" || w == "-S" || w == "-Sn" })
	switch {
	case shows || len(words) < 4:
		return nil, nil
	case words[0] == "ip" && words[1] == "-6":
		return []string{tool("ip"), "-6", "-batch", "-"}, words[2:]
	case words[0] == "ip" && !strings.HasPrefix(words[1], "-"):
		return []string{tool("ip"), "-batch", "-"}, words[1:]
	case words[0] == "ipvsadm":
		return []string{"ipvsadm", "-R"}, words[1:]
	}
	return nil, nil
}

// tool prefers iproute2 to a busybox that comes first in the path.
func tool(name string) string {
	if name == "ip" {
		for _, path := range []string{"/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"} {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	return name
}

// feed runs a command with an input.
func (s *space) feed(input, name string, args ...string) {
	s.t.Helper()
	if _, err := s.input(s.t.Context(), input, name, args...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *space) reader(b Backend, run Exec) *Reader {
	s.t.Helper()
	r, err := NewReader(Config{NS: s.fd, Backend: b, Exec: run})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Close)
	return r
}

// noExec refuses to run anything, for what has to be read in process.
func noExec(_ context.Context, name string, _ ...string) ([]byte, error) {
	return nil, errors.New("the test does not let " + name + " run")
}

// eachBackend runs a test for both back ends.
func eachBackend(t *testing.T, f func(t *testing.T, b Backend)) {
	for _, b := range []Backend{Legacy, NFT} {
		t.Run(string(b), func(t *testing.T) { f(t, b) })
	}
}
