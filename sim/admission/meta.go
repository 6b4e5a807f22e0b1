package admission

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What the validations of several kinds have in common. Rules and messages are those of Kubernetes 1.36 with its default feature
// gates (pkg/apis/*/validation); clients and people know the messages.

// validateMeta checks name, namespace, labels and annotations.
func validateMeta(m *metav1.ObjectMeta, namespaced bool, name apivalidation.ValidateNameFunc) field.ErrorList {
	return apivalidation.ValidateObjectMeta(m, namespaced, name, field.NewPath("metadata"))
}

func validateNamespace(o *corev1.Namespace) field.ErrorList {
	return validateMeta(&o.ObjectMeta, false, apivalidation.ValidateNamespaceName)
}

// invalid makes an error of each message.
func invalid(at *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(at, value, message))
	}
	return errs
}

// oneOf checks that a value is one of a few words.
func oneOf[T ~string](at *field.Path, value T, known ...T) field.ErrorList {
	if slices.Contains(known, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(at, value, known)}
}

// validateIP checks an address. One that the object had before the write stays allowed.
func validateIP(at *field.Path, text string, before []string) field.ErrorList {
	return validation.IsValidIPForLegacyField(at, text, true, before)
}

// validateCIDR checks a range of addresses in the same way.
func validateCIDR(at *field.Path, text string, before []string) field.ErrorList {
	return validation.IsValidCIDRForLegacyField(at, text, true, before)
}

// validateReachable refuses addresses that mean something else on every host.
func validateReachable(at *field.Path, text string) field.ErrorList {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return nil // validateIP reports it
	}
	var errs field.ErrorList
	for _, special := range []struct {
		is      bool
		message string
	}{
		{ip.IsUnspecified(), fmt.Sprintf("may not be unspecified (%v)", text)},
		{ip.IsLoopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{ip.IsLinkLocalUnicast(), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{ip.IsLinkLocalMulticast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
	} {
		if special.is {
			errs = append(errs, field.Invalid(at, text, special.message))
		}
	}
	return errs
}

// validatePort checks a port that is a number or the name of a container's port.
func validatePort(at *field.Path, port intstr.IntOrString) field.ErrorList {
	if port.Type == intstr.Int {
		return invalid(at, port.IntVal, validation.IsValidPortNum(int(port.IntVal)))
	}
	return invalid(at, port.StrVal, validation.IsValidPortName(port.StrVal))
}

var protocols = []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}

// validateAppProtocol checks the name of an application protocol, if there is one.
func validateAppProtocol(at *field.Path, name *string) field.ErrorList {
	if name == nil {
		return nil
	}
	return invalid(at, *name, validation.IsQualifiedName(*name))
}

// validateHostname checks a DNS name, which may end in a dot.
func validateHostname(at *field.Path, name string) field.ErrorList {
	return invalid(at, name, validation.IsDNS1123Subdomain(strings.TrimSuffix(name, ".")))
}
