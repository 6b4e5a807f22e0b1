package scenario

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"proxyproof/sim/world"
)

// twoEach are two addresses of any target in each family.
func twoEach(_ string, f world.Family) ([]netip.Addr, error) {
	if f == world.IPv4 {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}, nil
}

func TestFill(t *testing.T) {
	for name, test := range map[string]struct {
		families []world.Family
		manifest string
		want     []string // in the filled objects, in order
	}{
		"a list": {[]world.Family{world.IPv6, world.IPv4}, "externalIPs: [192.0.2.9, node(cp), x]", []string{
			"externalIPs:\n- 192.0.2.9\n- 2001:db8::1\n- 2001:db8::2\n- 192.0.2.1\n- 192.0.2.2\n- x\n"}},
		"a field":               {[]world.Family{world.IPv6, world.IPv4}, "loadBalancerIP: node(cp)", []string{"loadBalancerIP: 2001:db8::1\n"}},
		"source ranges":         {[]world.Family{world.IPv4}, "loadBalancerSourceRanges: [node(cp), 192.0.2.0/24]", []string{"- 192.0.2.1/32\n- 192.0.2.2/32\n- 192.0.2.0/24\n"}},
		"source ranges of IPv6": {[]world.Family{world.IPv6}, "loadBalancerSourceRanges: [node(cp)]", []string{"- 2001:db8::1/128\n- 2001:db8::2/128\n"}},
		"a peer": {[]world.Family{world.IPv4, world.IPv6}, "from: [{ipBlock: {cidr: node(cp)}}, {podSelector: {}}]", []string{
			"- ipBlock:\n    cidr: 192.0.2.1/32\n- ipBlock:\n    cidr: 192.0.2.2/32\n- ipBlock:\n    cidr: 2001:db8::1/128\n- ipBlock:\n    cidr: 2001:db8::2/128\n- podSelector: {}\n"}},
		"a slice for each family": {[]world.Family{world.IPv6, world.IPv4}, "kind: EndpointSlice\nmetadata: {name: a}\nendpoints: [{addresses: [node(cp)]}]", []string{
			"addressType: IPv6\nendpoints:\n- addresses:\n  - 2001:db8::1\n  - 2001:db8::2\nkind: EndpointSlice\nmetadata:\n  name: a-ipv6\n",
			"addressType: IPv4\nendpoints:\n- addresses:\n  - 192.0.2.1\n  - 192.0.2.2\nkind: EndpointSlice\nmetadata:\n  name: a-ipv4\n"}},
		"a slice of a family":  {[]world.Family{world.IPv6, world.IPv4}, "kind: EndpointSlice\naddressType: IPv4\nendpoints: [{addresses: [node(cp)]}]", []string{"  - 192.0.2.1\n  - 192.0.2.2\nkind"}},
		"two documents":        {[]world.Family{world.IPv4}, "a: node(cp)\n---\n# nothing\n---\nb: 1", []string{"a: 192.0.2.1\n", "b: 1\n"}},
		"a target with a port": {[]world.Family{world.IPv4}, "a: node(cp):80", []string{"a: node(cp):80\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Fill(test.manifest, test.families, twoEach)
			if err != nil || len(got) != len(test.want) {
				t.Fatalf("got %d objects, %v", len(got), err)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i].Text, want) {
					t.Errorf("got\n%swant\n%s", got[i].Text, want)
				}
			}
		})
	}
}

// TestFillFails: a target without an address is an error, not an empty list.
func TestFillFails(t *testing.T) {
	broken := errors.New("broken")
	for _, manifest := range []string{"a: node(cp)", "a: [node(cp)]", "from: [{ipBlock: {cidr: node(cp)}}]"} {
		if _, err := Fill(manifest, []world.Family{world.IPv4}, func(string, world.Family) ([]netip.Addr, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", manifest, err)
		}
		if _, err := Fill(manifest, []world.Family{world.IPv4}, func(string, world.Family) ([]netip.Addr, error) { return nil, nil }); err == nil || !strings.Contains(err.Error(), "has no address in the families [IPv4]") {
			t.Errorf("%s: got %v", manifest, err)
		}
	}
}
