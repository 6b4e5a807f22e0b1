package guest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// machineSpec is what QEMU is told.
type machineSpec struct {
	accel  Accel
	kernel string
	memory int
	cpus   int
	initrd *os.File // nil: the kernel will find no root, which is enough to see whether it boots
	pipe   bool     // give it a virtio port
}

// Descriptors as QEMU sees them: exec.Cmd numbers extra files from 3.
const (
	consoleFD = 3
	pipeFD    = 4
	initrdFD  = 5
)

// bootParameters are the kernel's. no_timer_check: one emulated boot in twelve panicked without it on one CPU under load.
// panic=-1 with -no-reboot: a panic ends QEMU, and a CPU that hangs in the kernel is one. The rest saves about a second.
const bootParameters = "quiet loglevel=4 no_timer_check panic=-1 softlockup_panic=1 mitigations=off cryptomgr.notests nokaslr random.trust_cpu=on " + initMark + "=1"

// portName is that of the virtio port that leads to the worker.
const portName = "proxyproof"

// arguments are QEMU's. -M microvm would boot faster, but hung two boots in five.
func (s machineSpec) arguments() []string {
	machine, serial := "q35", "ttyS0"
	if runtime.GOARCH == "arm64" {
		machine, serial = "virt,gic-version=max", "ttyAMA0"
	}
	args := []string{
		"-M", machine, "-accel", s.accel.argument(), "-cpu", s.accel.cpu(),
		"-smp", strconv.Itoa(s.cpus), "-m", strconv.Itoa(s.memory),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", s.kernel, "-append", "console=" + serial + " " + bootParameters,
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", consoleFD), "-serial", "chardev:console",
	}
	if s.initrd != nil {
		args = append(args, "-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD))
	}
	if s.pipe {
		args = append(args,
			"-device", "virtio-serial-pci",
			"-chardev", fmt.Sprintf("socket,id=pipe,fd=%d", pipeFD),
			"-device", "virtserialport,chardev=pipe,name="+portName)
	}
	return args
}

// startQEMU starts the emulator. It dies with the thread that starts it, which therefore waits for it.
func startQEMU(s machineSpec) (*qemu, error) {
	q := &qemu{cmd: exec.Command(qemuName(), s.arguments()...), ended: make(chan struct{})}
	q.console.spoken = make(chan struct{})
	q.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	q.cmd.Stdout, q.cmd.Stderr = &q.console, &q.console
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	console, theirs, err := socketpair("console")
	if err != nil {
		return nil, err
	}
	pipe, theirPipe, err := socketpair("pipe")
	if err != nil {
		return nil, err
	}
	q.cmd.ExtraFiles = []*os.File{theirs, theirPipe}
	if s.initrd != nil {
		q.cmd.ExtraFiles = append(q.cmd.ExtraFiles, s.initrd)
	}
	q.pipe = pipe
	started := make(chan error, 1)
	go q.own(started)
	err = <-started
	theirs.Close()
	theirPipe.Close()
	if err != nil {
		console.Close()
		pipe.Close()
		return nil, fmt.Errorf("start %s: %w", qemuName(), err)
	}
	go func() {
		defer console.Close()
		q.console.follow(console)
	}()
	return q, nil
}

// own starts the process and waits for it on one thread, since Pdeathsig is about the death of the parent's thread.
func (q *qemu) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(q.ended)
	err := q.cmd.Start()
	started <- err
	if err == nil {
		_ = q.cmd.Wait() // how it ended is in its state and on its console
	}
}

// socketpair makes two connected sockets: QEMU needs sockets for what it reads and writes.
func socketpair(name string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the VM's %s: %w", name, err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("make the VM's %s: %w", name, err)
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// memfd is a file in anonymous memory.
func memfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory for the VM's %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), strings.Clone(name)), nil
}
