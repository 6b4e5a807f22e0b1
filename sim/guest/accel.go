package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Accel is how QEMU runs the guest's instructions.
type Accel string

// The accelerators.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg" // emulation
)

func (a Accel) argument() string {
	if a == TCG {
		// QEMU's default for translated code is a gigabyte; the working set of a run is far smaller.
		return "tcg,thread=multi,tb-size=256"
	}
	return string(a)
}

// emulatedCPU is x86-64-v2 on a model that Linux handles in the way that costs an emulator least. With QEMU's "max" it distrusts the
// time-stamp counter, so that each look at the clock leaves the guest for the HPET; it clears and copies pages with string instructions,
// which are emulated byte by byte; and page tables have a fifth level. Boots took 6 s there and take 4 s here, cases a fifth longer.
const emulatedCPU = "kvm64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf_lm"

// cpu is the model: with KVM what the host has, since more cannot be had.
func (a Accel) cpu() string {
	switch {
	case a == KVM:
		return "host"
	case runtime.GOARCH == "amd64":
		return emulatedCPU
	}
	return "max"
}

// String is for people.
func (a Accel) String() string {
	if a == TCG {
		return "emulation"
	}
	return "KVM"
}

// AccelVariable forces an accelerator: "kvm" or "tcg".
const AccelVariable = "PROXYPROOF_ACCEL"

// probeLimit is the deadline of the trial: with a working KVM the kernel comes to its panic within two seconds.
const probeLimit = 8 * time.Second

// ChooseAccel decides between KVM and emulation. A KVM that is present may still hang guests, so it is tried once, with a
// deadline, and the answer is remembered until the host, its kernel or its QEMU changes.
func ChooseAccel(ctx context.Context, cache, kernel string, log func(string)) Accel {
	switch forced := Accel(os.Getenv(AccelVariable)); forced {
	case KVM, TCG:
		return forced
	}
	file := filepath.Join(cache, "accel-"+hostKey())
	if known, err := os.ReadFile(file); err == nil {
		return Accel(strings.TrimSpace(string(known)))
	}
	accel, why := decide(func() error { return tryKVM(ctx, kernel) })
	if ctx.Err() != nil {
		return accel
	}
	log(fmt.Sprintf("the VM runs with %s: %s (decided once; %s overrides)", accel, why, AccelVariable))
	if err := os.WriteFile(file, []byte(accel), 0o644); err != nil {
		log(fmt.Sprintf("cannot remember that: %v", err))
	}
	return accel
}

// decide turns the outcome of a trial into a choice.
func decide(try func() error) (Accel, string) {
	start := time.Now()
	if err := try(); err != nil {
		return TCG, fmt.Sprintf("KVM is of no use here: %v", err)
	}
	return KVM, fmt.Sprintf("a trial boot took %.1f s", time.Since(start).Seconds())
}

// tryKVM boots the kernel without a file system: it must come to its own panic, which ends QEMU.
func tryKVM(ctx context.Context, kernel string) error {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	device.Close()
	q, err := startQEMU(machineSpec{accel: KVM, kernel: kernel, memory: 256, cpus: 1})
	if err != nil {
		return err
	}
	defer q.stop()
	deadline := time.NewTimer(probeLimit)
	defer deadline.Stop()
	select {
	case <-q.ended:
	case <-deadline.C:
		return fmt.Errorf("a trial boot hung for %v", probeLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if said := q.console.String(); !strings.Contains(said, "Kernel panic") {
		return fmt.Errorf("a trial boot ended early (%s): %s", q.state(), lastLine(said))
	}
	return nil
}

func lastLine(text string) string {
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// hostKey identifies what the decision depends on: this boot of this host, and its QEMU.
func hostKey() string {
	var parts []string
	for _, file := range []string{"/proc/sys/kernel/random/boot_id", "/proc/version"} {
		data, _ := os.ReadFile(file)
		parts = append(parts, string(data))
	}
	if path, err := exec.LookPath(qemuName()); err == nil {
		if info, err := os.Stat(path); err == nil {
			parts = append(parts, path, info.ModTime().String())
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:6])
}
