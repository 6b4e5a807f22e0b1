// Package dump reads whole tables from the kernel.
package dump

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// attempts bounds how often a read is repeated that a writer interrupted.
const attempts = 16

// Whole repeats a read until nobody has written to the table meanwhile: the kernel says so with NLM_F_DUMP_INTR, and then entries
// may be missing that were there all the time.
func Whole[T any](read func() ([]T, error)) ([]T, error) {
	for range attempts {
		list, err := read()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return nil, fmt.Errorf("the kernel's table changed while it was read, %d times in a row", attempts)
}
