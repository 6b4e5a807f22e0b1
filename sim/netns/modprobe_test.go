package netns

import (
	"slices"
	"testing"
)

func TestAskedModules(t *testing.T) {
	lines := "-- ip_vs\n-q -- nf-conntrack-ipv4 hashsize=5\n-r gone\nip_vs\n-a one two\n"
	if got, want := askedModules(lines), []string{"ip_vs", "nf_conntrack_ipv4", "one", "two"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}
