package plan

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestPlannerIsAlwaysWhatPlanWouldMake: whatever became of Services, in whatever order, the plan is that of what there is now, and
// what an update names covers all that it changed. Ages, addresses and ports collide often.
func TestPlannerIsAlwaysWhatPlanWouldMake(t *testing.T) {
	conflicts := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		present := map[types.NamespacedName]Object{}
		planner := NewPlanner(Picture{Node: testNode}, testFacts)
		for range 6 {
			objects := randomObjects(r, present)
			before := copyOf(planner.State())
			change := planner.Update(objects...)
			for _, o := range objects {
				present[o.Name] = o
			}
			got, want := planner.State(), Plan(pictureOf(r, present), testFacts)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: the planner has\n%+v\nand a new plan is\n%+v", seed, got, want)
			}
			if unnamed := differs(before, got, change); len(unnamed) > 0 {
				t.Fatalf("seed %d: changed and not named: %v", seed, unnamed)
			}
			planner.Update(objects...)
			if again := planner.State(); !reflect.DeepEqual(again, want) {
				t.Fatalf("seed %d: the same update once more gives another plan", seed)
			}
			for _, claims := range planner.claims {
				conflicts += len(claims) - 1
			}
		}
	}
	if conflicts == 0 {
		t.Error("no two Services ever claimed the same address and port: this test shows less than it says")
	}
}

// randomObjects are new versions of some Services; some of them are gone.
func randomObjects(r *rand.Rand, present map[types.NamespacedName]Object) []Object {
	p := randomPicture(r)
	for _, s := range p.Services {
		s.CreationTimestamp = metav1.NewTime(time.Unix(int64(r.IntN(3)), 0))
	}
	objects := p.objects()
	for name := range present {
		if r.IntN(4) == 0 {
			objects = append(objects, Object{Name: name})
		}
	}
	return objects
}

// pictureOf is a picture of the same objects in a random order.
func pictureOf(r *rand.Rand, present map[types.NamespacedName]Object) Picture {
	p := Picture{Node: testNode}
	for _, o := range present {
		if o.Service != nil {
			p.Services = append(p.Services, o.Service)
		}
		p.Slices = append(p.Slices, o.Slices...)
	}
	r.Shuffle(len(p.Services), func(i, j int) { p.Services[i], p.Services[j] = p.Services[j], p.Services[i] })
	return p
}

func copyOf(s State) State {
	c := State{Services: map[Service]Virtual{}, VIPs: map[netip.Addr]netip.Addr{}}
	for key, v := range s.Services {
		c.Services[key] = v
	}
	for vip, source := range s.VIPs {
		c.VIPs[vip] = source
	}
	return c
}

// differs are the entries that differ between two states and that a change does not name.
func differs(a, b State, named Change) []any {
	var unnamed []any
	for _, s := range []State{a, b} {
		for key := range s.Services {
			if !named.Services[key] && !reflect.DeepEqual(a.Services[key], b.Services[key]) {
				unnamed = append(unnamed, key)
			}
		}
		for vip := range s.VIPs {
			if !named.VIPs[vip] && a.VIPs[vip] != b.VIPs[vip] {
				unnamed = append(unnamed, vip)
			}
		}
	}
	return unnamed
}
