package netns_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxyproof/sim/netns"
	"proxyproof/sim/world"
)

// helperEnv makes the test binary be a process that runs on a node.
const helperEnv = "NETNS_TEST_HELPER"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperEnv); role != "" {
		os.Exit(helpers[role]())
	}
	os.Exit(m.Run())
}

var helpers = map[string]func() int{
	"report": report,
	"stray":  stray,
	"sleep":  func() int { fmt.Println("asleep"); return forever() },
	"burn":   burn,
	"breed":  breed,
	"orphan": orphan,
	"shout":  shout,
	"swap":   swap,
	"world":  ownWorld,
}

// stray makes the first file that it is told, and removes the second.
func stray() int {
	if err := errors.Join(os.MkdirAll(filepath.Dir(os.Args[1]), 0o755), os.WriteFile(os.Args[1], []byte("stray"), 0o644), os.Remove(os.Args[2])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// swap changes the names of two sets over and over, as proxies do to replace the content of a set.
func swap() int {
	restore := exec.Command("ipset", "restore")
	restore.Stdin = strings.NewReader("create a hash:ip\ncreate b hash:ip\nadd a 192.0.2.1\n" + strings.Repeat("swap a b\n", 10_000))
	if out, err := restore.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	return 0
}

func forever() int {
	time.Sleep(time.Hour)
	return 0
}

// view is what a process on a node sees.
type view struct {
	Hostname string
	Links    []string
	Env      []string
	Files    map[string]string // of those named in the arguments
	FDs      []string
	Session  bool // leader of one
}

// report prints a view and then writes to the files that a proxy might write.
func report() int {
	var v view
	v.Hostname, _ = os.Hostname()
	links, _ := net.Interfaces()
	for _, l := range links {
		v.Links = append(v.Links, l.Name)
	}
	v.Env = os.Environ()
	v.Files = map[string]string{}
	for _, path := range os.Args[1:] {
		content, err := os.ReadFile(path)
		if err != nil {
			content = []byte(err.Error())
		}
		v.Files[path] = string(content)
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode") && !strings.HasPrefix(target, "/proc/") {
			v.FDs = append(v.FDs, fd.Name())
		}
	}
	pid := os.Getpid()
	session, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	v.Session = int(session) == pid
	out, err := json.Marshal(v)
	if err != nil {
		return 2
	}
	fmt.Println(string(out))
	for _, path := range written {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			continue // this machine has none
		}
		if err := os.WriteFile(path, []byte("written by a proxy\n"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	}
	return 7
}

// written are files that report writes.
var written = []string{"/run/xtables.lock", "/tmp/scratch", "/var/lib/state", "/etc/resolv.conf", "/etc/iproute2/rt_tables"}

func burn() int {
	fmt.Println("burning")
	for start := time.Now(); time.Since(start) < time.Hour; {
	}
	return 0
}

// breed starts a child in a session of its own, which holds our standard output open, and sleeps.
func breed() int {
	child := again("sleep", os.Stdout)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return 2
	}
	fmt.Println("child", child.Process.Pid)
	return forever()
}

// orphan starts a child like breed, and ends.
func orphan() int {
	child := again("sleep", os.Stdout)
	if err := child.Start(); err != nil {
		return 2
	}
	fmt.Println("child", child.Process.Pid)
	return 0
}

func again(role string, stdout *os.File) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = []string{helperEnv + "=" + role}
	c.Stdout = stdout
	return c
}

// shout prints a long line, and then many.
func shout() int {
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(w, strings.Repeat("x", 200_000))
	for i := range shouted {
		fmt.Fprintln(w, i)
	}
	w.Flush()
	fmt.Fprint(os.Stderr, "the last word")
	return 0
}

const shouted = 20_000

// ownWorld makes a world with a process that has a child, says so, and waits to be killed.
func ownWorld() int {
	spec := smallSpec([]world.Family{world.IPv4, world.IPv6}, 1)
	w, err := netns.New(background(), spec)
	for start := time.Now(); errors.Is(err, syscall.ENOSPC) && time.Since(start) < 20*time.Second; { // the last world is still being removed
		time.Sleep(10 * time.Millisecond)
		w, err = netns.New(background(), spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	self, err := os.Executable()
	if err != nil {
		return 2
	}
	lines := make(chan string, 10)
	_, err = w.Nodes()[0].Start(background(), world.Command{Path: self, Env: []string{helperEnv + "=sleep"}, Output: func(l world.Line) { lines <- l.Text }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	<-lines
	fmt.Println("ready", strconv.Itoa(os.Getpid()))
	return forever()
}
