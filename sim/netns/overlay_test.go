package netns_test

import (
	"os"
	"slices"
	"testing"

	"proxyproof/sim/world"
)

// What a process writes where nothing belongs to its node is told, and only this node sees it.
func TestWrittenOutside(t *testing.T) {
	w := newWorld(t, smallSpec([]world.Family{world.IPv4}, 21))
	made, removed := "/usr/local/proxyproof-test/stray", "/proxyproof-test-removed"
	if err := os.WriteFile(removed, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(removed)
	nodes := w.Nodes()
	for _, n := range nodes {
		if written, err := n.Written(); err != nil || len(written) > 0 {
			t.Errorf("%s, before: %q, %v", n.Name(), written, err)
		}
	}
	p, out := start(t, nodes[0], "stray", world.Command{Args: []string{made, removed}})
	wait(t, p)
	if p.Exit() != 0 {
		t.Fatalf("exit %d: %q", p.Exit(), out.text(true))
	}
	if written, err := nodes[0].Written(); err != nil || !slices.Equal(written, []string{removed, made}) {
		t.Errorf("written: %q, %v", written, err)
	}
	if written, err := nodes[1].Written(); err != nil || len(written) > 0 {
		t.Errorf("written on another node: %q, %v", written, err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the machine has the file that was made")
	}
	if _, err := os.Stat(removed); err != nil {
		t.Error("the machine lacks the file that was removed")
	}
}
