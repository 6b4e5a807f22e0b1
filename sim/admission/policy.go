package admission

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validatePolicy checks a NetworkPolicy.
func validatePolicy(o *networkingv1.NetworkPolicy) field.ErrorList {
	at := field.NewPath("spec")
	errs := validateMeta(&o.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	errs = append(errs, validateSelector(&o.Spec.PodSelector, at.Child("podSelector"))...)
	for i, rule := range o.Spec.Ingress {
		where := at.Child("ingress").Index(i)
		errs = append(errs, validateRule(rule.Ports, where.Child("ports"), rule.From, where.Child("from"))...)
	}
	for i, rule := range o.Spec.Egress {
		where := at.Child("egress").Index(i)
		errs = append(errs, validateRule(rule.Ports, where.Child("ports"), rule.To, where.Child("to"))...)
	}
	types := at.Child("policyTypes")
	if len(o.Spec.PolicyTypes) > 2 {
		return append(errs, field.Invalid(types, o.Spec.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, kind := range o.Spec.PolicyTypes {
		errs = append(errs, oneOf(types.Index(i), kind, networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress)...)
	}
	return errs
}

func validateSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

func validateRule(ports []networkingv1.NetworkPolicyPort, portsAt *field.Path, peers []networkingv1.NetworkPolicyPeer, peersAt *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		errs = append(errs, validatePolicyPort(p, portsAt.Index(i))...)
	}
	for i, p := range peers {
		errs = append(errs, validatePeer(p, peersAt.Index(i))...)
	}
	return errs
}

func validatePolicyPort(p networkingv1.NetworkPolicyPort, at *field.Path) field.ErrorList {
	errs := oneOf(at.Child("protocol"), *p.Protocol, protocols...)
	if p.Port != nil {
		errs = append(errs, validatePort(at.Child("port"), *p.Port)...)
	}
	if p.EndPort == nil {
		return errs
	}
	end := at.Child("endPort")
	switch {
	case p.Port == nil:
		return append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
	case p.Port.Type == intstr.String:
		return append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
	case *p.EndPort < p.Port.IntVal:
		errs = append(errs, field.Invalid(end, *p.EndPort, "must be greater than or equal to `port`"))
	}
	return append(errs, invalid(end, *p.EndPort, validation.IsValidPortNum(int(*p.EndPort)))...)
}

func validatePeer(p networkingv1.NetworkPolicyPeer, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.PodSelector != nil {
		errs = append(errs, validateSelector(p.PodSelector, at.Child("podSelector"))...)
	}
	if p.NamespaceSelector != nil {
		errs = append(errs, validateSelector(p.NamespaceSelector, at.Child("namespaceSelector"))...)
	}
	selects := p.PodSelector != nil || p.NamespaceSelector != nil
	switch {
	case p.IPBlock == nil && !selects:
		errs = append(errs, field.Required(at, "must specify a peer"))
	case p.IPBlock != nil && selects:
		errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
	}
	if p.IPBlock != nil {
		errs = append(errs, validateIPBlock(p.IPBlock, at.Child("ipBlock"))...)
	}
	return errs
}

func validateIPBlock(b *networkingv1.IPBlock, at *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(at.Child("cidr"), "")}
	}
	errs := validateCIDR(at.Child("cidr"), b.CIDR, nil)
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return errs
	}
	for i, text := range b.Except {
		where := at.Child("except").Index(i)
		errs = append(errs, validateCIDR(where, text, nil)...)
		if part, err := netip.ParsePrefix(text); err == nil && (!whole.Contains(part.Addr()) || part.Bits() <= whole.Bits()) {
			errs = append(errs, field.Invalid(where, text, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}
