package netns

import "testing"

func TestSourcePorts(t *testing.T) {
	var ports sourcePorts
	seen := map[uint16]bool{}
	for range lastSourcePort - firstSourcePort + 1 {
		port := ports.next()
		if port < firstSourcePort || port > lastSourcePort || seen[port] {
			t.Fatalf("port %d after %d others", port, len(seen))
		}
		seen[port] = true
	}
	if again := ports.next(); again != firstSourcePort {
		t.Errorf("port %d after the last one", again)
	}
}
