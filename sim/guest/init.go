package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"proxyproof/sim/guest/image"
)

// initMark is on the kernel's command line, and thereby in the environment of init.
const initMark = "PROXYPROOF_GUEST"

// IsInit tells whether this process is the init of a guest that Boot started.
func IsInit() bool { return os.Getpid() == 1 && os.Getenv(initMark) != "" }

// Init is the life of a guest: it makes the machine usable, runs this program as the worker, and powers off when the worker
// ends, which it does when the pipe hangs up. It never returns.
func Init() {
	fmt.Println(firstLine)
	if err := live(); err != nil {
		fmt.Printf("proxyproof: init: %v\n", err)
	}
	// Nothing is worth syncing: all file systems are memory.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func live() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := raiseLoopback(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	pid, err := startWorker(port)
	if err != nil {
		return err
	}
	return reap(pid)
}

// mountAll mounts what programs expect of a machine.
func mountAll() error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", ""},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tracefs", "/sys/kernel/tracing", ""},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.at, err)
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	for _, dir := range []string{"/var/lib", "/var/log", "/root", "/mnt", "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	return nil
}

// loadModules loads what the image lists, in its order, which has dependencies first.
func loadModules() error {
	list, err := os.Open("/" + image.ModuleList)
	if err != nil {
		return fmt.Errorf("read the list of modules: %w", err)
	}
	defer list.Close()
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		if err := loadModule(lines.Text()); err != nil {
			fmt.Printf("proxyproof: init: %v\n", err) // whoever needs it finds out by using it
		}
	}
	return lines.Err()
}

func loadModule(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load a module: %w", err)
	}
	defer file.Close()
	err = unix.FinitModule(int(file.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", filepath.Base(path), err)
	}
	return nil
}

// raiseLoopback gives programs outside of any world what every machine has.
func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback link: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up the loopback link: %w", err)
	}
	return nil
}

// portLimit bounds the wait for the virtio port, which appears some time after its driver was loaded.
const portLimit = 10 * time.Second

// openPort opens the virtio port that leads to the host.
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(portLimit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, file := range names {
			name, err := os.ReadFile(file)
			if err != nil || strings.TrimSpace(string(name)) != portName {
				continue
			}
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(file))), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %q appeared within %v", portName, portLimit)
}

// startWorker runs this program as the worker with the port as its pipe and the console as its standard error.
func startWorker(port *os.File) (pid int, err error) {
	process, err := os.StartProcess("/init", []string{"proxyproof", "worker"}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp", "GOTRACEBACK=all"},
		Files: []*os.File{port, port, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start the worker: %w", err)
	}
	port.Close()
	return process.Pid, nil
}

// reap waits for every process that loses its parent, until the worker has ended.
func reap(worker int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the worker: %w", err)
		case pid == worker && status.ExitStatus() != 0:
			return fmt.Errorf("the worker ended with %s", describe(status))
		case pid == worker:
			return nil
		}
	}
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}
