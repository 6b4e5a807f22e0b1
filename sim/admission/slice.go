package admission

import (
	"fmt"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proxyproof/sim/world"
)

// The most that an EndpointSlice may hold.
const (
	maxEndpoints = 1000
	maxAddresses = 100 // of an endpoint
	maxPorts     = 100
)

// validateSlice checks an EndpointSlice; old is nil for a new one.
func validateSlice(o, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateMeta(&o.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	at := field.NewPath("addressType")
	if o.AddressType == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, oneOf(at, o.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)...)
	}
	if old != nil && o.AddressType != old.AddressType {
		errs = append(errs, field.Invalid(at, o.AddressType, "field is immutable"))
	}
	if n := len(o.Endpoints); n > maxEndpoints {
		errs = append(errs, field.TooMany(field.NewPath("endpoints"), n, maxEndpoints))
	}
	for i, e := range o.Endpoints {
		errs = append(errs, validateEndpoint(e, o.AddressType, field.NewPath("endpoints").Index(i))...)
	}
	return append(errs, validateSlicePorts(o.Ports)...)
}

func validateEndpoint(e discoveryv1.Endpoint, kind discoveryv1.AddressType, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	addresses := at.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(addresses, "must contain at least 1 address"))
	case n > maxAddresses:
		errs = append(errs, field.TooMany(addresses, n, maxAddresses))
	}
	for i, text := range e.Addresses {
		errs = append(errs, validateEndpointAddress(addresses.Index(i), text, kind)...)
	}
	if e.NodeName != nil {
		errs = append(errs, invalid(at.Child("nodeName"), *e.NodeName, apivalidation.NameIsDNSSubdomain(*e.NodeName, false))...)
	}
	if e.Hostname != nil {
		errs = append(errs, invalid(at.Child("hostname"), *e.Hostname, validation.IsDNS1123Label(*e.Hostname))...)
	}
	if e.Hints != nil {
		for i, zone := range e.Hints.ForZones {
			errs = append(errs, invalid(at.Child("hints", "forZones").Index(i).Child("name"), zone.Name, validation.IsValidLabelValue(zone.Name))...)
		}
	}
	return errs
}

func validateEndpointAddress(at *field.Path, text string, kind discoveryv1.AddressType) field.ErrorList {
	family := map[discoveryv1.AddressType]world.Family{discoveryv1.AddressTypeIPv4: world.IPv4, discoveryv1.AddressTypeIPv6: world.IPv6}[kind]
	if kind == discoveryv1.AddressTypeFQDN {
		return validation.IsFullyQualifiedDomainName(at, text)
	}
	if family == 0 {
		return nil // the type is refused already
	}
	if errs := validateIP(at, text, nil); len(errs) > 0 {
		return errs
	}
	errs := validateReachable(at, text)
	if ip, err := netip.ParseAddr(text); err == nil && world.FamilyOf(ip) != family {
		errs = append(errs, field.Invalid(at, text, fmt.Sprintf("must be an %s address", family)))
	}
	return errs
}

func validateSlicePorts(ports []discoveryv1.EndpointPort) field.ErrorList {
	at := field.NewPath("ports")
	var errs field.ErrorList
	if n := len(ports); n > maxPorts {
		errs = append(errs, field.TooMany(at, n, maxPorts))
	}
	names := map[string]bool{}
	for i, p := range ports {
		where, name := at.Index(i), *p.Name
		if name != "" {
			errs = append(errs, invalid(where.Child("name"), name, validation.IsDNS1123Label(name))...)
		}
		if names[name] {
			errs = append(errs, field.Duplicate(where.Child("name"), name))
		}
		names[name] = true
		errs = append(errs, oneOf(where.Child("protocol"), *p.Protocol, protocols...)...)
		errs = append(errs, validateAppProtocol(where.Child("appProtocol"), p.AppProtocol)...)
	}
	return errs
}
