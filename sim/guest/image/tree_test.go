package image

import (
	"slices"
	"testing"
)

func TestDepLine(t *testing.T) {
	needs := map[string][]string{
		"nf_tables": {"nfnetlink", "built_in"}, "nfnetlink": nil, "nft_fib": {"nf_tables"}, "nft_fib_ipv4": {"nft_fib", "nf_tables"},
		"nft_fib_inet": {"nft_fib_ipv4", "nft_fib", "nf_tables"},
	}
	for name, want := range map[string]string{
		"nfnetlink":    "kernel/nfnetlink.ko:\n",
		"nft_fib":      "kernel/nft_fib.ko: kernel/nf_tables.ko kernel/nfnetlink.ko\n",
		"nft_fib_inet": "kernel/nft_fib_inet.ko: kernel/nft_fib_ipv4.ko kernel/nft_fib.ko kernel/nf_tables.ko kernel/nfnetlink.ko\n",
	} {
		if got := depLine(name, needs); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
}

func TestParseModinfo(t *testing.T) {
	needs, aliases := parseModinfo([]byte("license=GPL\x00alias=nft-expr-2-fib\x00depends=nft-fib,nf_tables\x00alias=xt*\x00name=x\x00"))
	if !slices.Equal(needs, []string{"nft_fib", "nf_tables"}) || !slices.Equal(aliases, []string{"nft-expr-2-fib", "xt*"}) {
		t.Errorf("got %q, %q", needs, aliases)
	}
	if needs, aliases := parseModinfo([]byte("depends=\x00")); needs != nil || aliases != nil {
		t.Errorf("got %q, %q", needs, aliases)
	}
}

func TestOnDemand(t *testing.T) {
	m := newKernelModules([]entry{
		{path: "lib/modules/1/kernel/net/netfilter/nft_numgen.ko"}, {path: "lib/modules/1/kernel/net/ipv6/netfilter/nft-fib-ipv6.ko.xz"},
		{path: "lib/modules/1/kernel/drivers/net/dummy.ko"}, {path: "lib/modules/1/kernel/net/bridge/netfilter/ebtables.ko"},
	})
	if got, want := m.onDemand(), []string{"nft_fib_ipv6", "nft_numgen"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}
