// Package guest is a throwaway VM: the distribution's own kernel, its tools, and this very program as init and as worker. It
// makes a kernel with IPVS available anywhere, to anyone: no root, nothing installed, no network card, nothing left behind.
//
// Everything is handed to QEMU as inherited descriptors (the first file system, the pipe to the worker, the console), so there
// is no file to clean up, and QEMU is ended by the kernel when this process ends, however it does. See docs/guest.md.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"proxyproof/sim/guest/image"
	"proxyproof/sim/pressure"
)

// Config says which machine to boot.
type Config struct {
	// Binary is the program that becomes init and worker; this program if empty. It must be static.
	Binary string
	// Memory in MiB; 1024 if 0.
	Memory int
	// CPUs; 2 if 0.
	CPUs int
	// Kernel is the one to boot; the distribution's newest if nothing is said.
	Kernel image.Kernel
	// Log receives single lines for a person: what takes long, what was decided, what was tried again.
	Log func(string)
}

// Machine is a running VM.
type Machine struct {
	// Pipe is the worker's standard input and output.
	Pipe     *os.File
	Kernel   string // its version
	Accel    Accel
	BootTime time.Duration // from the start of QEMU to the first line of init
	Retries  int
	qemu     *qemu
}

// bootLimit is the watchdog on the first line of init, in time for which QEMU had the processors that it wanted. An emulated boot takes
// three to five seconds, and three times as long where the processors are shared.
const bootLimit = 40 * time.Second

// bootAttempts is one more than the number of retries: emulated boots hang now and then.
const bootAttempts = 2

// Boot starts a machine and waits until its init has spoken.
func Boot(ctx context.Context, c Config) (*Machine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := Available(); err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	base, err := image.Ensure(ctx, cache, c.Kernel, c.Log)
	if err != nil {
		return nil, err
	}
	accel := ChooseAccel(ctx, cache, base.Kernel, c.Log)
	var errs []error
	for attempt := range bootAttempts {
		m, err := c.boot(ctx, base, accel)
		if err == nil {
			m.Retries = attempt
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
		c.Log(fmt.Sprintf("the VM did not come up (attempt %d of %d): %v", attempt+1, bootAttempts, err))
	}
	return nil, fmt.Errorf("boot the VM: %w", errors.Join(errs...))
}

func (c Config) withDefaults() (Config, error) {
	if c.Memory == 0 {
		c.Memory = 1024
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
	if c.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("find this program's own file: %w", err)
		}
		c.Binary = self
	}
	return c, nil
}

// boot makes one attempt.
func (c Config) boot(ctx context.Context, base image.Image, accel Accel) (*Machine, error) {
	initrd, err := assemble(base.Base, c.Binary)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	start := time.Now()
	q, err := startQEMU(machineSpec{accel: accel, kernel: base.Kernel, memory: c.Memory, cpus: c.CPUs, initrd: initrd, pipe: true})
	if err != nil {
		return nil, err
	}
	if err := q.awaitInit(ctx); err != nil {
		q.stop()
		return nil, fmt.Errorf("%w; its console:\n%s", err, q.console.String())
	}
	return &Machine{Pipe: q.pipe, Kernel: base.Version, Accel: accel, BootTime: time.Since(start), qemu: q}, nil
}

// awaitInit waits for the first line of init.
func (q *qemu) awaitInit(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var clock pressure.Clock
	limit := clock.Allow(bootLimit)
	go pressure.Watch(ctx, q.cmd.Process.Pid, pressure.Interval, func(now time.Time, scheduled float64) {
		clock.Add(now, pressure.Figures{Shared: 1, Scheduled: scheduled})
	})
	look := time.NewTicker(pressure.Interval)
	defer look.Stop()
	for {
		select {
		case <-q.console.spoken:
			return nil
		case <-q.ended:
			return fmt.Errorf("it ended before init spoke (%v)", q.state())
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-look.C:
			switch limit.State(now) {
			case pressure.Spent:
				return fmt.Errorf("init did not speak within %v", bootLimit)
			case pressure.Starved:
				return limit.Err("that init did not speak")
			}
		}
	}
}

// assemble appends the program as /init to the base archive, in anonymous memory.
func assemble(base, binary string) (*os.File, error) {
	initrd, err := memfd("initrd")
	if err != nil {
		return nil, err
	}
	if err := fill(initrd, base, binary); err != nil {
		initrd.Close()
		return nil, fmt.Errorf("assemble the VM's first file system: %w", err)
	}
	return initrd, nil
}

func fill(initrd *os.File, base, binary string) error {
	from, err := os.Open(base)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := io.Copy(initrd, from); err != nil {
		return err
	}
	program, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Stat()
	if err != nil {
		return err
	}
	return image.WriteCPIO(initrd, []image.File{{Path: "init", Mode: 0o755, Size: info.Size(), Data: program}})
}

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.qemu.ended }

// Console is the end of what the kernel, init and the worker's standard error said.
func (m *Machine) Console() string { return m.qemu.console.String() }

// Pid is that of QEMU.
func (m *Machine) Pid() int { return m.qemu.cmd.Process.Pid }

// PeakMemory is the most memory that QEMU had resident, in bytes; valid after Close.
func (m *Machine) PeakMemory() int64 { return m.qemu.peak() }

// closeGrace is how long the machine may take to power off by itself after its pipe was closed.
const closeGrace = 3 * time.Second

// Close hangs up the pipe, on which the machine powers off, and makes sure that it does.
func (m *Machine) Close() error {
	m.Pipe.Close()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-m.qemu.ended:
	case <-grace.C:
	}
	m.qemu.stop()
	return nil
}

// CacheDir is where images and decisions are kept: PROXYPROOF_CACHE, or a folder in the user's cache.
func CacheDir() (string, error) {
	if dir := os.Getenv("PROXYPROOF_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder (set PROXYPROOF_CACHE): %w", err)
	}
	return filepath.Join(dir, "proxyproof"), nil
}

// qemuName is the emulator's program for this architecture.
func qemuName() string {
	if runtime.GOARCH == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// Missing is a program that the guest needs and this host lacks.
type Missing struct {
	Program string
	Why     string
	// Mend is the command that brings it, or what else to do.
	Mend string
}

func (m Missing) Error() string { return m.Reason() + ": " + m.Mend }

// Reason is the error without what mends it.
func (m Missing) Reason() string { return fmt.Sprintf("there is no %s here (%s)", m.Program, m.Why) }

// Available tells which program the guest needs that this host lacks, and how to get it. The error is Missing.
func Available() error {
	emulator := "qemu-system-x86"
	if runtime.GOARCH == "arm64" {
		emulator = "qemu-system-arm"
	}
	const elsewhere = "run proxyproof on Debian or Ubuntu, or as root on a kernel with IPVS"
	for _, m := range []Missing{
		{"apt-get", "it fetches the VM's kernel and tools", elsewhere},
		{"dpkg-deb", "it reads the packages of the VM's kernel and tools", elsewhere},
		{qemuName(), "it runs the VM", "apt-get install --no-install-recommends " + emulator}, // the last: it is of use only with apt
	} {
		if _, err := exec.LookPath(m.Program); err != nil {
			return m
		}
	}
	return nil
}

// qemu is a running emulator.
type qemu struct {
	cmd     *exec.Cmd
	console console
	pipe    *os.File // nil without one
	ended   chan struct{}
	once    sync.Once
}

func (q *qemu) stop() {
	q.once.Do(func() { _ = q.cmd.Process.Kill() })
	<-q.ended
	if q.pipe != nil {
		q.pipe.Close()
	}
}

func (q *qemu) state() string {
	if q.cmd.ProcessState == nil {
		return "running"
	}
	return q.cmd.ProcessState.String()
}

func (q *qemu) peak() int64 {
	if q.cmd.ProcessState == nil {
		return 0
	}
	usage, ok := q.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}
