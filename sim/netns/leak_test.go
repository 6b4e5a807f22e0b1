package netns_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"proxyproof/sim/netns"
	"proxyproof/sim/world"
)

// limitNamespaces lets the kernel have only few network namespaces, so that those that are left behind make the next ones fail.
// It changes the machine, and does so only where the test is told that the machine is its own.
func limitNamespaces(t *testing.T, n int) (lift func()) {
	t.Helper()
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") != "1" {
		t.Log("the machine is not ours: the number of namespaces is not limited")
		return func() {}
	}
	const limit = "/proc/sys/user/max_net_namespaces"
	before, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(limit, []byte(strconv.Itoa(n)), 0); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(limit, before, 0); err != nil {
			t.Error(err)
		}
	}
}

// perWorld is the number of network namespaces of a small world.
const perWorld = 6

func TestManyWorlds(t *testing.T) {
	newWorld(t, smallSpec([]world.Family{world.IPv4}, 1)).Close() // what is made once
	before := inventory(t)
	const worlds, atOnce = 50, 3
	defer limitNamespaces(t, 2*atOnce*perWorld)()
	start := time.Now()
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range worlds {
		all.Go(func() error {
			w, err := netns.New(t.Context(), smallSpec([]world.Family{world.IPv4, world.IPv6}, uint64(i)))
			if err != nil {
				return err
			}
			return w.Close()
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d worlds made and closed, %d at once: %v each", worlds, atOnce, time.Since(start)/worlds)
	after := inventory(t)
	// Threads that are idle stay with the runtime.
	if after.fds > before.fds || after.goroutines > before.goroutines || after.mounts != before.mounts || after.cgroups != before.cgroups || after.namespaces != before.namespaces {
		t.Errorf("before: %v; after: %v", before, after)
	}
}

// TestNothingIsLeftAfterKill kills the owner of a world without a warning, time and again. There can only be one world at a time: the
// next owner can make its own when the kernel has removed that of the last one.
func TestNothingIsLeftAfterKill(t *testing.T) {
	newWorld(t, smallSpec([]world.Family{world.IPv4}, 1)).Close()
	before := inventory(t)
	lift := limitNamespaces(t, 2*perWorld-1)
	for range 5 {
		killOwner(t)
		start := time.Now()
		for inventory(t).others(before) && time.Since(start) < 20*time.Second {
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("nothing was left after %v", time.Since(start).Round(time.Millisecond))
	}
	lift()
	newWorld(t, smallSpec([]world.Family{world.IPv4}, 1)).Close() // removes the empty cgroups
	if after := inventory(t); after.others(before) || after.cgroups != before.cgroups || after.mounts != before.mounts {
		t.Errorf("before: %v; after: %v", before, after)
	}
}

// killOwner has a process make a world, and kills it.
func killOwner(t *testing.T) {
	t.Helper()
	owner := exec.Command("/proc/self/exe")
	owner.Env = []string{helperEnv + "=world"}
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the owner of a world said %q: %v", said, err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := owner.Wait(); err == nil {
		t.Fatal("killed, and yet no error")
	}
}

// stock is what could be left behind.
type stock struct {
	fds, goroutines, mounts, processes, namespaces, cgroups int
}

// others tells whether there is more of what other processes have.
func (s stock) others(before stock) bool {
	return s.processes > before.processes || s.namespaces > before.namespaces
}

func inventory(t *testing.T) stock {
	t.Helper()
	var s stock
	runtime.GC() // closes nothing of ours, but pipes of exec
	count := func(pattern string) int {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	s.fds = count("/proc/self/fd/*")
	s.goroutines = runtime.NumGoroutine()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s.mounts = strings.Count(string(mounts), "\n")
	// Threads of the kernel come and go; they have no program.
	namespaces := map[string]bool{}
	tasks, _ := filepath.Glob("/proc/[0-9]*/task/*")
	for _, task := range tasks {
		if _, err := os.Readlink(task + "/exe"); err != nil {
			continue
		}
		if filepath.Base(task) == filepath.Base(filepath.Dir(filepath.Dir(task))) {
			s.processes++
		}
		for _, kind := range []string{"net", "mnt", "uts"} {
			if name, err := os.Readlink(task + "/ns/" + kind); err == nil {
				namespaces[name] = true
			}
		}
	}
	s.namespaces = len(namespaces)
	s.cgroups = count("/sys/fs/cgroup/proxyproof*") + count("/sys/fs/cgroup/*/proxyproof*")
	return s
}

func (s stock) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d mounts, %d processes, %d namespaces, %d cgroups", s.fds, s.goroutines, s.mounts, s.processes, s.namespaces, s.cgroups)
}
