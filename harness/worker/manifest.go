package worker

import (
	"fmt"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"proxyproof/harness/scenario"
	"proxyproof/sim/world"
)

// filled is a manifest in which addresses stand where the scenario names targets, since it is written once for all families. In a
// list a target becomes all its addresses, else the first. An EndpointSlice of targets becomes one for each family.
func (c *caseRun) filled(manifest string) (string, error) {
	var documents []string
	for _, text := range strings.Split("\n"+manifest, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			return "", fmt.Errorf("read a manifest: %w", err)
		}
		if object == nil {
			continue
		}
		versions := []map[string]any{object}
		if object["kind"] == "EndpointSlice" && object["addressType"] == nil {
			versions = c.perFamilySlice(object)
		}
		for _, version := range versions {
			document, err := c.fillObject(version)
			if err != nil {
				return "", err
			}
			documents = append(documents, document)
		}
	}
	return strings.Join(documents, "---\n"), nil
}

// perFamilySlice are copies of an EndpointSlice without addressType, one for each family of the cluster, with the family in its name.
func (c *caseRun) perFamilySlice(object map[string]any) []map[string]any {
	var all []map[string]any
	for _, f := range c.job.Family.Families() {
		version := map[string]any{}
		for key, value := range object {
			version[key] = value
		}
		metadata := map[string]any{}
		if given, ok := object["metadata"].(map[string]any); ok {
			for key, value := range given {
				metadata[key] = value
			}
		}
		version["addressType"] = f.String()
		metadata["name"] = fmt.Sprintf("%s-%s", metadata["name"], strings.ToLower(f.String()))
		version["metadata"] = metadata
		all = append(all, version)
	}
	return all
}

// fillObject writes one object with addresses in it. Those of an EndpointSlice are of its type.
func (c *caseRun) fillObject(object map[string]any) (string, error) {
	families := c.job.Family.Families()
	switch discoveryv1.AddressType(fmt.Sprint(object["addressType"])) {
	case discoveryv1.AddressTypeIPv4:
		families = []world.Family{world.IPv4}
	case discoveryv1.AddressTypeIPv6:
		families = []world.Family{world.IPv6}
	}
	full, err := c.fill(object, families)
	if err != nil {
		return "", err
	}
	text, err := yaml.Marshal(full)
	return string(text), err
}

// fill replaces targets, at any depth.
func (c *caseRun) fill(value any, families []world.Family) (any, error) {
	switch v := value.(type) {
	case string:
		addresses, is, err := c.addressesNamed(v, families)
		if !is || err != nil {
			return v, err
		}
		return addresses[0], nil
	case map[string]any:
		full := map[string]any{}
		for key, item := range v {
			var err error
			if full[key], err = c.fill(item, families); err != nil {
				return nil, err
			}
		}
		return full, nil
	case []any:
		full := []any{}
		for _, item := range v {
			if text, ok := item.(string); ok {
				if addresses, is, err := c.addressesNamed(text, families); err != nil {
					return nil, err
				} else if is {
					for _, a := range addresses {
						full = append(full, a)
					}
					continue
				}
			}
			one, err := c.fill(item, families)
			if err != nil {
				return nil, err
			}
			full = append(full, one)
		}
		return full, nil
	}
	return value, nil
}

// addressesNamed are the addresses of a target in some families; is tells whether the text is one.
func (c *caseRun) addressesNamed(text string, families []world.Family) (addresses []string, is bool, err error) {
	if !scenario.NamesAddresses(text) {
		return nil, false, nil
	}
	for _, f := range families {
		found, err := c.addressesOf([]string{text}, f)
		if err != nil {
			return nil, true, err
		}
		for _, a := range found {
			addresses = append(addresses, a.String())
		}
	}
	if len(addresses) == 0 {
		return nil, true, fmt.Errorf("%s has no address in the families %v", text, families)
	}
	return addresses, true, nil
}
