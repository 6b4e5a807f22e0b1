package dump

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAnInterruptedReadIsRepeated(t *testing.T) {
	reads := 0
	list, err := Whole(func() ([]int, error) {
		if reads++; reads < 3 {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	})
	if err != nil || len(list) != 2 || reads != 3 {
		t.Errorf("got %v, %v after %d reads; want both entries after 3", list, err, reads)
	}
}

func TestARepeatedReadEnds(t *testing.T) {
	if list, err := Whole(func() ([]int, error) { return []int{1}, netlink.ErrDumpInterrupted }); err == nil || list != nil {
		t.Errorf("got %v, %v; want an error and nothing that may be incomplete", list, err)
	}
}

func TestAnotherErrorIsNotRepeated(t *testing.T) {
	reads, broken := 0, errors.New("broken")
	_, err := Whole(func() ([]int, error) { reads++; return nil, broken })
	if !errors.Is(err, broken) || reads != 1 {
		t.Errorf("got %v after %d reads; want the error at once", err, reads)
	}
}
