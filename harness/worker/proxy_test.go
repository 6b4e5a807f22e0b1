package worker

import (
	"slices"
	"strings"
	"testing"

	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/world"
)

// silent is a profile that takes no line for an error but a crash.
type silent struct{ subject.Profile }

func (silent) IsError(line string) bool { return subject.Crashed(line) }
func (silent) Ready() subject.Ready     { return subject.Ready{} }
func (silent) Heartbeat(string, scenario.Options) (subject.Heartbeat, bool) {
	return subject.Heartbeat{}, false
}

// TestACrashTellsWhere: the first places of the stack trace that are the program's own.
func TestACrashTellsWhere(t *testing.T) {
	p := &proxy{}
	for line := range strings.SplitSeq(strings.TrimSpace(`
I0101 fine
	/src/proxy/fine.go:1 +0x1
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1cf9664]

goroutine 129 [running]:
panic({0x1, 0x2})
	/usr/lib/go/src/runtime/panic.go:783 +0x132
example.org/v2/pkg/proxy.(*Controller).add(0x20fd119501c0)
	example.org/v2/pkg/proxy/graceful.go:85 +0x604
example.org/v2/pkg/proxy.(*Controller).remove(...)
	example.org/v2/pkg/proxy/graceful.go:45
main.a()
	/src/a/a.go:1 +0x1
main.b()
	/src/a/b.go:2 +0x1
main.c()
	/src/a/c.go:3 +0x1`), "\n") {
		p.note(world.Line{Text: line}, silent{}, scenario.Options{}, true)
	}
	want := []string{"panic: runtime error: invalid memory address or nil pointer dereference at proxy/graceful.go:85 at proxy/graceful.go:45 at a/a.go:1 at a/b.go:2"}
	if got := p.logged(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
