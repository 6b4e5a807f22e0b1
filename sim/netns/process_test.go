package netns_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"proxyproof/sim/netns"
	"proxyproof/sim/world"
)

func background() context.Context { return context.Background() }

// lines collects what a process prints.
type lines struct {
	lock sync.Mutex
	all  []world.Line
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) add(line world.Line) {
	l.lock.Lock()
	l.all = append(l.all, line)
	l.lock.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *lines) text(stderr bool) []string {
	l.lock.Lock()
	defer l.lock.Unlock()
	var text []string
	for _, line := range l.all {
		if line.Stderr == stderr {
			text = append(text, line.Text)
		}
	}
	return text
}

// await waits for n lines of standard output.
func (l *lines) await(t *testing.T, n int) []string {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		if text := l.text(false); len(text) >= n {
			return text
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("%d lines awaited, got %q and %q", n, l.text(false), l.text(true))
		}
	}
}

// start runs the test binary in a role on a node.
func start(t *testing.T, n world.Node, role string, c world.Command) (world.Process, *lines) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := newLines()
	c.Path, c.Env, c.Output = self, append(c.Env, helperEnv+"="+role), out.add
	p, err := n.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p, out
}

func wait(t *testing.T, p world.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the process does not end")
	}
}

func TestProcessSeesItsNode(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4, world.IPv6}, 3))
	before := hostFiles()
	inherited, err := syscall.Dup(0) // is passed on to children, unlike what Go opens
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	for _, n := range w.Nodes() {
		given := "/etc/proxy/given.yaml"
		p, out := start(t, n, "report", world.Command{
			Args:  append([]string{given}, written...),
			Env:   []string{"A=b", "PATH=/nowhere"},
			Files: map[string][]byte{given: []byte("given")},
		})
		wait(t, p)
		if p.Exit() != 7 {
			t.Fatalf("exit %d: %q", p.Exit(), out.text(true))
		}
		var v view
		if err := json.Unmarshal([]byte(out.text(false)[0]), &v); err != nil {
			t.Fatal(err)
		}
		if v.Hostname != n.Name() {
			t.Errorf("host name %q", v.Hostname)
		}
		if !slices.Contains(v.Links, "eth0") || !slices.ContainsFunc(v.Links, func(l string) bool { return strings.HasPrefix(l, "pod-") }) {
			t.Errorf("links %q", v.Links)
		}
		if want := []string{"A=b", helperEnv + "=report", "PATH=/run/proxyproof/bin:/nowhere"}; !slices.Equal(v.Env, want) {
			t.Errorf("environment %q, want %q", v.Env, want)
		}
		if len(v.FDs) != 3 {
			t.Errorf("descriptors %q", v.FDs)
		}
		if !v.Session {
			t.Error("no session of its own")
		}
		if v.Files[given] != "given" {
			t.Errorf("%s: %q", given, v.Files[given])
		}
		for _, path := range written {
			if strings.Contains(v.Files[path], "proxy") {
				t.Errorf("%s was written on another node: %q", path, v.Files[path])
			}
		}
		if !strings.Contains(v.Files["/etc/iproute2/rt_tables"], "main") {
			t.Errorf("rt_tables: %q", v.Files["/etc/iproute2/rt_tables"])
		}
	}
	if after := hostFiles(); !slices.Equal(before, after) {
		t.Errorf("files of the host changed:\n%q\n%q", before, after)
	}
}

// hostFiles is what the host has at the paths that processes write.
func hostFiles() []string {
	var all []string
	for _, path := range append([]string{"/etc/proxy/given.yaml"}, written...) {
		content, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s: %q %v", path, content, err))
	}
	return all
}

func TestFilesStayOnTheNode(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
	for _, path := range []string{"/usr/shared", "/run/../usr/shared", "relative"} {
		_, err := w.Nodes()[0].Start(t.Context(), world.Command{Path: "/proc/self/exe", Files: map[string][]byte{path: nil}})
		if err == nil || !strings.Contains(err.Error(), "own files") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Stat("/usr/shared"); err == nil {
			t.Error("the host's /usr was written")
		}
	}
}

func TestHiddenBinary(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	hidden := t.TempDir() + "/a/subject" // below /tmp, where a node sees its own
	if err := os.MkdirAll(hidden[:len(hidden)-len("/subject")], 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is another file at the same path
		if err := os.WriteFile(hidden+".new", content, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(hidden+".new", hidden); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			out := newLines()
			p, err := w.Nodes()[0].Start(t.Context(), world.Command{Path: hidden, Env: []string{helperEnv + "=report"}, Output: out.add})
			if err != nil {
				t.Fatal(err)
			}
			wait(t, p)
			if p.Exit() != 7 {
				t.Errorf("exit %d: %q", p.Exit(), out.text(true))
			}
		}
	}
}

func TestSignals(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
	p, out := start(t, w.Nodes()[0], "sleep", world.Command{})
	out.await(t, 1)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if p.Exit() != 128+15 {
		t.Errorf("exit %d", p.Exit())
	}
	if err := p.Signal(syscall.SIGTERM); err == nil {
		t.Error("a dead process took a signal")
	}
}

func TestOutput(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
	p, out := start(t, w.Nodes()[0], "shout", world.Command{})
	wait(t, p)
	got := out.text(false)
	if len(got) != shouted+2 {
		t.Fatalf("%d lines", len(got))
	}
	if len(got[0]) != 64<<10 || got[1] != fmt.Sprintf("[%d bytes of this line dropped]", 200_000-64<<10) {
		t.Errorf("a long line came as %d bytes and %q", len(got[0]), got[1])
	}
	for i, line := range got[2:] {
		if line != strconv.Itoa(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if e := out.text(true); len(e) != 1 || e[0] != "the last word" {
		t.Errorf("standard error %q", e)
	}
}

// TestWhoWaitsForItsReaderIsBusy: a full pipe puts a process to sleep, and it is not at rest.
func TestWhoWaitsForItsReaderIsBusy(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
	open := make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	defer release()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Nodes()[0].Start(t.Context(), world.Command{Path: self, Env: []string{helperEnv + "=shout"}, Output: func(world.Line) { <-open }})
	if err != nil {
		t.Fatal(err)
	}
	look := func() world.Activity {
		a, err := p.Activity()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	asleep := false
	for begun, before := time.Now(), look(); !asleep && time.Since(begun) < 20*time.Second; {
		time.Sleep(50 * time.Millisecond)
		now := look()
		if asleep = now.CPU > 0 && now.CPU == before.CPU; asleep && !now.Busy {
			t.Errorf("it waits for its reader, and is not busy: %+v", now)
		}
		before = now
	}
	if !asleep {
		t.Error("it never waits for its reader")
	}
	threads, err := p.Threads()
	if err != nil || !slices.ContainsFunc(threads, func(th world.Thread) bool {
		return th.Pid == p.Pid() && th.Process == filepath.Base(self) && th.CPU > 0
	}) {
		t.Errorf("its threads are %+v, %v; want one of process %d that used CPU time", threads, err, p.Pid())
	}
	release()
	wait(t, p)
}

// withAndWithoutCgroups runs a test on a world in both ways of keeping track of processes.
func withAndWithoutCgroups(t *testing.T, f func(t *testing.T, w *netns.World)) {
	t.Run("cgroups", func(t *testing.T) {
		w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
		if had := w.WithoutCgroups(); !had {
			need(t, "no unified cgroup hierarchy that we may write")
		}
		f(t, newWorld(t, smallSpec([]world.Family{world.IPv4}, 3)))
	})
	t.Run("sessions", func(t *testing.T) {
		w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 3))
		w.WithoutCgroups()
		f(t, w)
	})
}

func TestKillTakesTheFamily(t *testing.T) {
	withAndWithoutCgroups(t, func(t *testing.T, w *netns.World) {
		p, out := start(t, w.Nodes()[0], "breed", world.Command{})
		text := out.await(t, 2)
		slices.Sort(text)
		child, err := strconv.Atoi(strings.TrimPrefix(text[1], "child "))
		if err != nil {
			t.Fatal(err)
		}
		if !alive(child) {
			t.Fatal("the child is not there")
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if alive(child) || alive(p.Pid()) {
			t.Error("somebody survived")
		}
		if p.Exit() != 128+9 {
			t.Errorf("exit %d", p.Exit())
		}
		if err := p.Kill(); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestOrphanDoesNotDelayDone(t *testing.T) {
	withAndWithoutCgroups(t, func(t *testing.T, w *netns.World) {
		p, out := start(t, w.Nodes()[0], "orphan", world.Command{})
		text := out.await(t, 1)
		wait(t, p)
		child, err := strconv.Atoi(strings.TrimPrefix(text[0], "child "))
		if err != nil {
			t.Fatal(err)
		}
		if !alive(child) {
			t.Fatal("the orphan is not there")
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if alive(child) {
			t.Error("the orphan survived")
		}
	})
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestActivity(t *testing.T) {
	withAndWithoutCgroups(t, func(t *testing.T, w *netns.World) {
		idle, out := start(t, w.Nodes()[0], "sleep", world.Command{})
		out.await(t, 1)
		busy, out := start(t, w.Nodes()[1], "burn", world.Command{})
		out.await(t, 1)
		look := func(p world.Process) world.Activity {
			a, err := p.Activity()
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first, start := look(busy), time.Now()
		for look(busy).CPU-first.CPU < 100*time.Millisecond {
			if time.Since(start) > 20*time.Second {
				t.Fatal("a busy process uses no time")
			}
		}
		if a := look(busy); !a.Busy || a.RSS < 1<<20 {
			t.Errorf("busy: %+v", a)
		}
		quiet := false
		for start := time.Now(); !quiet && time.Since(start) < 20*time.Second; {
			before := look(idle)
			for pause := time.Now(); time.Since(pause) < 50*time.Millisecond; {
				time.Sleep(10 * time.Millisecond)
			}
			after := look(idle)
			quiet = !after.Busy && after.CPU == before.CPU
		}
		if !quiet {
			t.Errorf("idle: %+v", look(idle))
		}
		began := time.Now()
		const looks = 50
		for range looks {
			look(idle)
		}
		t.Logf("one look takes %v", time.Since(began)/looks)
		used := look(busy).CPU
		if err := busy.Kill(); err != nil {
			t.Fatal(err)
		}
		if a := look(busy); a.CPU < used || a.Busy || a.RSS != 0 {
			t.Errorf("dead: %+v after %v", a, used)
		}
	})
}
