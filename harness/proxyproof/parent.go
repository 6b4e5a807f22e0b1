package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// dieWithParent makes the kernel end this process when its parent dies: killing make must end what make started. The signal
// follows the death of the thread that forked us; make has only one.
func dieWithParent() error {
	parent := os.Getppid()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("ask to die with the parent: %w", err)
	}
	if os.Getppid() != parent {
		return fmt.Errorf("the parent process is gone already")
	}
	return nil
}
