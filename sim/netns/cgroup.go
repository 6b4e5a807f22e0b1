package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a directory of the unified hierarchy. It knows its processes whatever they do to hide: what they start is born
// into it, and one write kills all.
type cgroup struct{ dir string }

// cgroupPrefix begins the name of each world's group; the process id of its owner follows.
const cgroupPrefix = "proxyproof."

// newCgroup makes a group below that of this process; nil if the host does not let us. A process that was killed could not
// remove its groups, which are empty since then: this is done here.
func newCgroup(serial uint64) *cgroup {
	parent, err := ownCgroup()
	if err != nil {
		return nil
	}
	removeStale(parent)
	g := &cgroup{filepath.Join(parent, fmt.Sprintf("%s%d.%d", cgroupPrefix, os.Getpid(), serial))}
	if os.Mkdir(g.dir, 0o755) != nil {
		return nil
	}
	if _, err := os.Stat(g.file("cgroup.kill")); err != nil { // Linux 5.14
		_ = g.remove()
		return nil
	}
	return g
}

// ownCgroup is the directory of this process's group.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	membership, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		// 25 30 0:22 ROOT MOUNTPOINT OPTIONS [optional fields] - TYPE SOURCE OPTIONS
		before, after, _ := strings.Cut(line, " - ")
		where := strings.Fields(before)
		if !strings.HasPrefix(after, "cgroup2 ") || len(where) < 5 {
			continue
		}
		for member := range strings.Lines(string(membership)) {
			path, unified := strings.CutPrefix(strings.TrimSpace(member), "0::")
			if !unified {
				continue
			}
			below, err := filepath.Rel(where[3], path)
			if err != nil || strings.HasPrefix(below, "..") {
				return "", fmt.Errorf("cgroup %s is not below %s: %w", path, where[3], errors.ErrUnsupported)
			}
			return filepath.Join(where[4], below), nil
		}
	}
	return "", fmt.Errorf("no unified cgroup hierarchy: %w", errors.ErrUnsupported)
}

func removeStale(parent string) {
	groups, _ := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*"))
	for _, dir := range groups {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), cgroupPrefix), ".")
		pid, err := strconv.Atoi(owner)
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = (&cgroup{dir}).remove()
		}
	}
}

func (g *cgroup) file(name string) string { return filepath.Join(g.dir, name) }

// child makes a group in the group.
func (g *cgroup) child(name string) (*cgroup, error) {
	c := &cgroup{g.file(name)}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	return c, nil
}

// open returns a descriptor by which processes are born into the group.
func (g *cgroup) open() (int, error) {
	fd, err := unix.Open(g.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: g.dir, Err: err}
	}
	return fd, nil
}

func (g *cgroup) kill() error { return writeFile(g.file("cgroup.kill"), "1") }

// freezer makes a group stand still as long as somebody wants it.
type freezer struct {
	lock   sync.Mutex
	want   int
	frozen bool
}

// freezeLimit bounds the wait for processes to stand still. One that is in the kernel for longer does not delay a look at it.
const freezeLimit = time.Second

func (z *freezer) stop(g *cgroup) error {
	z.lock.Lock()
	defer z.lock.Unlock()
	if z.want++; z.want > 1 {
		return nil
	}
	if populated, err := g.event("populated"); err != nil || !populated {
		return err
	}
	if err := writeFile(g.file("cgroup.freeze"), "1"); err != nil {
		return err
	}
	z.frozen = true
	for deadline := time.Now().Add(freezeLimit); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		if frozen, err := g.event("frozen"); err != nil || frozen {
			return err
		}
	}
	return nil
}

func (z *freezer) start(g *cgroup) error {
	z.lock.Lock()
	defer z.lock.Unlock()
	if z.want--; z.want > 0 || !z.frozen {
		return nil
	}
	z.frozen = false
	return writeFile(g.file("cgroup.freeze"), "0")
}

// event reads a flag of the group.
func (g *cgroup) event(name string) (bool, error) {
	events, err := readFile(g.file("cgroup.events"))
	return bytes.Contains(events, []byte(name+" 1")), err
}

// empty tells whether no process is left, those of groups below included. One that is on its way out is not listed any more, and
// still keeps the group from being removed.
func (g *cgroup) empty() (bool, error) {
	populated, err := g.event("populated")
	return err == nil && !populated, err
}

// cpu is the time that all its processes have used, the dead ones included.
func (g *cgroup) cpu() (time.Duration, error) {
	stat, err := readFile(g.file("cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(stat) {
		if value, found := bytes.CutPrefix(line, []byte("usage_usec ")); found {
			usec, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return time.Duration(usec) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s has no usage_usec", g.file("cpu.stat"))
}

func (g *cgroup) processes() ([]int, error) {
	list, err := readFile(g.file("cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, field := range bytes.Fields(list) {
		pid, err := strconv.Atoi(string(field))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.file("cgroup.procs"), err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// remove removes an empty group with its empty groups.
func (g *cgroup) remove() error {
	children, _ := os.ReadDir(g.dir)
	for _, c := range children {
		if c.IsDir() {
			_ = (&cgroup{g.file(c.Name())}).remove()
		}
	}
	if err := unix.Rmdir(g.dir); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "rmdir", Path: g.dir, Err: err}
	}
	return nil
}
