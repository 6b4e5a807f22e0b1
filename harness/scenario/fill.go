package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"proxyproof/sim/world"
)

// Addresses finds the addresses of a target in a family.
type Addresses func(target string, f world.Family) ([]netip.Addr, error)

// Filled is an object of a manifest in which addresses stand in place of targets.
type Filled struct {
	// Text is the object as YAML.
	Text string
	// origins name, by the path of a list in Text, the element of the manifest that each of its elements was made of.
	origins map[string][]int
}

// Fill puts addresses in place of the targets of a manifest, which is written once for all families. In a list, a target becomes
// all its addresses; elsewhere, the first. Where the API wants ranges, it becomes ranges of one address each. An EndpointSlice of
// targets becomes one for each family.
func Fill(manifest string, families []world.Family, find Addresses) ([]Filled, error) {
	var all []Filled
	for _, doc := range documents(manifest) {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc.text), &object); err != nil {
			return nil, fmt.Errorf("read a manifest: %w", err)
		}
		if object == nil {
			continue
		}
		versions := []map[string]any{object}
		if object["kind"] == "EndpointSlice" && object["addressType"] == nil {
			versions = perFamilySlice(object, families)
		}
		for _, version := range versions {
			filled, err := fillObject(version, families, find)
			if err != nil {
				return nil, err
			}
			all = append(all, filled)
		}
	}
	return all, nil
}

// perFamilySlice are copies of an EndpointSlice without addressType, one for each family, with the family in its name.
func perFamilySlice(object map[string]any, families []world.Family) []map[string]any {
	var all []map[string]any
	for _, f := range families {
		version, metadata := map[string]any{}, map[string]any{}
		for key, value := range object {
			version[key] = value
		}
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

// fillObject fills one object. The addresses of an EndpointSlice are of its type.
func fillObject(object map[string]any, families []world.Family, find Addresses) (Filled, error) {
	switch discoveryv1.AddressType(fmt.Sprint(object["addressType"])) {
	case discoveryv1.AddressTypeIPv4:
		families = []world.Family{world.IPv4}
	case discoveryv1.AddressTypeIPv6:
		families = []world.Family{world.IPv6}
	}
	f := filler{families: families, find: find, origins: map[string][]int{}}
	full, err := f.value(object, "", "")
	if err != nil {
		return Filled{}, err
	}
	text, err := yaml.Marshal(full)
	return Filled{string(text), f.origins}, err
}

// filler fills one object.
type filler struct {
	families []world.Family
	find     Addresses
	origins  map[string][]int
}

// rangeFields are the fields of Kubernetes objects that hold ranges of addresses.
var rangeFields = []string{"loadBalancerSourceRanges", "cidr", "except"}

// value fills what is in a field, at any depth. path leads to it.
func (f filler) value(value any, path, field string) (any, error) {
	switch v := value.(type) {
	case string:
		addresses, is, err := f.addresses(v, field)
		if !is || err != nil {
			return v, err
		}
		return addresses[0], nil
	case map[string]any:
		full := map[string]any{}
		for key, item := range v {
			var err error
			if full[key], err = f.value(item, join(path, key), key); err != nil {
				return nil, err
			}
		}
		return full, nil
	case []any:
		return f.list(v, path, field)
	}
	return value, nil
}

// list fills the elements of a list. One that is a target, or a block of addresses that is one, becomes several.
func (f filler) list(list []any, path, field string) (any, error) {
	full, origin := []any{}, []int{}
	for i, item := range list {
		several, err := f.element(item, fmt.Sprintf("%s[%d]", path, i), field)
		if err != nil {
			return nil, err
		}
		for _, one := range several {
			full, origin = append(full, one), append(origin, i)
		}
	}
	f.origins[path] = origin
	return full, nil
}

func (f filler) element(item any, path, field string) ([]any, error) {
	if text, ok := item.(string); ok {
		addresses, is, err := f.addresses(text, field)
		if is || err != nil {
			return addresses, err
		}
	}
	if text, ok := blockOf(item); ok {
		blocks, err := f.element(text, path, "cidr")
		for i, cidr := range blocks {
			blocks[i] = map[string]any{"ipBlock": map[string]any{"cidr": cidr}}
		}
		return blocks, err
	}
	one, err := f.value(item, path, field)
	return []any{one}, err
}

// blockOf is the target of a NetworkPolicy's peer that is an ipBlock and nothing else.
func blockOf(item any) (target string, ok bool) {
	peer, _ := item.(map[string]any)
	block, _ := peer["ipBlock"].(map[string]any)
	target, _ = block["cidr"].(string)
	return target, len(peer) == 1 && len(block) == 1 && NamesAddresses(target)
}

// addresses are those of a target, or ranges that hold just them; is reports whether the text is a target.
func (f filler) addresses(text, field string) (all []any, is bool, err error) {
	if !NamesAddresses(text) {
		return nil, false, nil
	}
	for _, family := range f.families {
		found, err := f.find(text, family)
		if err != nil {
			return nil, true, err
		}
		for _, a := range found {
			if slices.Contains(rangeFields, field) {
				all = append(all, netip.PrefixFrom(a, a.BitLen()).String())
			} else {
				all = append(all, a.String())
			}
		}
	}
	if len(all) == 0 {
		return nil, true, fmt.Errorf("%s has no address in the families %v", text, f.families)
	}
	return all, true, nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
