package netns

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"proxyproof/sim/netstate"
	"proxyproof/sim/world"
)

// requireKernel skips a test where namespaces cannot be made, unless PROXYPROOF_REQUIRE_KERNEL=1 says that they must be.
func requireKernel(t *testing.T) {
	t.Helper()
	var err error
	<-onThread(func() { err = unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS) })
	if err == nil {
		return
	}
	if os.Getenv("PROXYPROOF_REQUIRE_KERNEL") == "1" {
		t.Fatalf("namespaces are required here: %v", err)
	}
	t.Skipf("needs root: %v", err)
}

var familySets = map[string][]world.Family{
	"ipv4":    {world.IPv4},
	"ipv6":    {world.IPv6},
	"dual-v4": {world.IPv4, world.IPv6},
	"dual-v6": {world.IPv6, world.IPv4},
}

// smallSpec is two nodes, of which the second has two addresses, with a pod each, and a client.
func smallSpec(families []world.Family, seed uint64) world.Spec {
	ports := []world.Port{{Number: 8080, Protocol: world.TCP}, {Number: 8080, Protocol: world.UDP}}
	return world.Spec{
		Families: families,
		Seed:     seed,
		Backend:  netstate.Legacy,
		Nodes:    []world.NodeSpec{{Name: "cp", Addresses: 1}, {Name: "worker", Addresses: 2}},
		Pods:     []world.PodSpec{{Name: "web-1", Node: "cp", Listen: ports}, {Name: "web-2", Node: "worker", Listen: ports}},
		Clients:  []world.ClientSpec{{Name: "laptop"}},
	}
}

func newWorld(t *testing.T, spec world.Spec) *World {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	start := time.Now()
	w, err := New(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("world up in %v: %v", time.Since(start).Round(time.Millisecond), w.Phases())
	t.Cleanup(func() {
		start := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("world closed in %v", time.Since(start).Round(time.Millisecond))
	})
	return w
}

func TestWorldUp(t *testing.T) {
	requireKernel(t)
	for name, families := range familySets {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				newWorld(t, smallSpec(families, seed))
			}
		})
	}
}
