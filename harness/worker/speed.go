package worker

import (
	"crypto/sha256"
	"runtime"
	"time"
)

// Budgets are written for a machine that hashes speedWork bytes in speedNominal. An emulated CPU needs eight to thirty times as long.
// That others use the same cores is not part of it: the best of many short computations is one that nobody interrupted, and what is lost
// to others is measured all the time (pressure.Clock).
const (
	speedWork    = 4 << 10
	speedNominal = 188 * time.Microsecond / 16
	speedTries   = 64
	speedMost    = 20.0
)

// windowMost bounds how far the window in which a system must be at rest is stretched. Work that waits for a processor is seen as
// such, however slow the machine is; a machine that was busy for a moment must not make every wait of a run long.
const windowMost = 6.0

// measureSpeed tells how many times slower this machine is than the nominal one, between 1 and speedMost. The software
// implementation of SHA-256 with its table look-ups is a fair stand-in for what an emulator makes slow.
func measureSpeed() float64 {
	data := make([]byte, speedWork)
	best := time.Hour
	for range speedTries {
		start := time.Now()
		sha256.Sum256(data)
		best = min(best, time.Since(start))
	}
	return min(max(float64(best)/float64(speedNominal), 1), speedMost)
}

func cpus() int { return runtime.NumCPU() }
