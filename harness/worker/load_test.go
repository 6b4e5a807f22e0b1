package worker

import (
	"os"
	"testing"
)

func TestLoad(t *testing.T) {
	got, err := parseLoad("cpu  10 1 20 300 7 2 3 4 9 9\ncpu0 1 2 3 4 5 6 7 8 9 9\n")
	if want := (load{idle: 307, all: 347}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "cpu", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 x 5 6 7 8"} {
		if got, err := parseLoad(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	if got := parseFree("MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable:   1000 kB\nBuffers: 1 kB\n"); got != 1000<<10 {
		t.Errorf("free: got %d", got)
	}
	if got := parseFree("MemTotal: 2000 kB\n"); got != 0 {
		t.Errorf("free of nothing: got %d", got)
	}
}

// TestLoadOfThisMachine: two looks with work in between give a share of time.
func TestLoadOfThisMachine(t *testing.T) {
	if _, err := os.Stat("/proc/stat"); err != nil {
		t.Skip("no /proc here")
	}
	var l load
	l.look()
	measureSpeed()
	if beat := l.look(); beat.Idle < 0 || beat.Idle > 1 || beat.Free <= 0 {
		t.Errorf("got %+v", beat)
	}
}
