package allocate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

var pools = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/30"), netip.MustParsePrefix("2001:db8:113::/126")}

// balanced is a LoadBalancer Service of both families; age 0 is the oldest.
func balanced(name string, age int, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(age), 0))}}
	s.Spec.Type, s.Spec.IPFamilies = corev1.ServiceTypeLoadBalancer, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	for _, c := range change {
		c(s)
	}
	return s
}

func has(ips ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, ip := range ips {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

func asks(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
}

func TestChoose(t *testing.T) {
	first, second := "203.0.113.1 2001:db8:113::1", "203.0.113.2 2001:db8:113::2"
	cases := map[string]struct {
		services []*corev1.Service
		want     map[string]string
		lacks    string
	}{
		"the oldest first": {
			services: []*corev1.Service{balanced("b", 1), balanced("a", 2)},
			want:     map[string]string{"b": first, "a": second},
		},
		"what is given stays, what is missing is added": {
			services: []*corev1.Service{balanced("a", 1), balanced("b", 2, has("203.0.113.1"))},
			want:     map[string]string{"a": "203.0.113.2 2001:db8:113::1", "b": "203.0.113.1 2001:db8:113::2"},
		},
		"the pool is exhausted": {
			services: []*corev1.Service{balanced("a", 1, has("203.0.113.1")), balanced("b", 2, has("203.0.113.2")), balanced("c", 3)},
			want:     map[string]string{"a": "203.0.113.1 2001:db8:113::1", "b": "203.0.113.2 2001:db8:113::2", "c": "2001:db8:113::3"},
			lacks:    "no IPv4 address for Service default/c: none is free",
		},
		"what a Service asks for, and any of its other family": {
			services: []*corev1.Service{balanced("a", 1, asks("2001:db8:113::3"))},
			want:     map[string]string{"a": "203.0.113.1 2001:db8:113::3"},
		},
		"what another one has": {
			services: []*corev1.Service{balanced("a", 1, has("203.0.113.1", "2001:db8:113::1")), balanced("b", 2, asks("203.0.113.1"))},
			want:     map[string]string{"b": "2001:db8:113::2"},
			lacks:    "no IPv4 address for Service default/b: another Service has 203.0.113.1",
		},
		"what two ask for": {
			services: []*corev1.Service{balanced("b", 2, asks("203.0.113.2")), balanced("a", 1, asks("203.0.113.2"))},
			want:     map[string]string{"a": "203.0.113.2 2001:db8:113::1", "b": "2001:db8:113::2"},
			lacks:    "another Service has 203.0.113.2",
		},
		"what is not in the pool": {
			services: []*corev1.Service{balanced("a", 1, asks("192.0.2.10"))},
			want:     map[string]string{"a": "2001:db8:113::1"},
			lacks:    "it asks for 192.0.2.10, which is not in",
		},
		"another class, whose addresses are taken all the same": {
			services: []*corev1.Service{
				balanced("a", 1, has("203.0.113.1"), func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.org/other") }), balanced("b", 2),
			},
			want: map[string]string{"b": "203.0.113.2 2001:db8:113::1"},
		},
		"no longer of the type": {
			services: []*corev1.Service{balanced("a", 1, has("203.0.113.1"), func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort })},
			want:     map[string]string{"a": ""},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			changes, err := Choose(c.services, pools)
			got := map[string]string{}
			for _, change := range changes {
				var list []string
				for _, i := range change.Ingress {
					list = append(list, i.IP)
				}
				got[change.Service.Name] = strings.Join(list, " ")
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if text := fmt.Sprint(err); (err != nil) != (c.lacks != "") || !strings.Contains(text, c.lacks) {
				t.Errorf("it says %v; want %q", err, c.lacks)
			}
		})
	}
}

// TestChooseGivesNoAddressTwice, whatever Services ask for, in whatever order they are listed.
func TestChooseGivesNoAddressTwice(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var services []*corev1.Service
		for i := range 6 {
			s := balanced(fmt.Sprint("s", i), r.IntN(3))
			if r.IntN(2) == 0 {
				asks(fmt.Sprintf("203.0.113.%d", r.IntN(5)))(s)
			}
			services = append(services, s)
		}
		owner := map[string]string{}
		changes, _ := Choose(services, pools)
		for _, c := range changes {
			for _, i := range c.Ingress {
				if other := owner[i.IP]; other != "" {
					t.Fatalf("seed %d: %s and %s were given %s", seed, other, c.Service.Name, i.IP)
				}
				owner[i.IP] = c.Service.Name
			}
		}
	}
}

// TestNewest: what was written and not heard of yet counts as known.
func TestNewest(t *testing.T) {
	at := func(version string, change ...func(*corev1.Service)) *corev1.Service {
		s := balanced("a", 1, change...)
		s.UID, s.ResourceVersion = "a", version
		return s
	}
	after := at("2", has("203.0.113.1"))
	a := &Allocator{written: map[types.UID]written{"a": {"1", after}}}
	if got := a.newest([]*corev1.Service{at("1")}); got[0] != after {
		t.Error("the allocator has forgotten what it wrote")
	}
	heard := at("3")
	if got := a.newest([]*corev1.Service{heard}); got[0] != heard || len(a.written) > 0 {
		t.Error("the allocator holds on to what it wrote")
	}
}
