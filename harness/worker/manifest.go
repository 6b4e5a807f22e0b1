package worker

import (
	"net/netip"
	"strings"

	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// filled is a manifest with the addresses of this world in place of targets.
func (c *caseRun) filled(manifest string) (string, error) {
	objects, err := scenario.Fill(manifest, c.job.Family.Families(), func(target string, f world.Family) ([]netip.Addr, error) {
		return c.addressesOf([]string{target}, f)
	})
	var texts []string
	for _, o := range objects {
		texts = append(texts, o.Text)
	}
	return strings.Join(texts, "---\n"), err
}
