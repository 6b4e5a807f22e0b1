package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// failed completes a result with an error. connected tells whether a connection existed.
func (r Result) failed(err error, connected bool) Result {
	r.Detail = reason(err)
	r.Outcome = Broken
	var icmp icmpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &icmp):
		r.ICMP = &icmp.ICMP
		r.Outcome = Rejected
		if icmp.unresolved(r.Local.Addr()) {
			r.Outcome = Unreachable
		}
	case errors.Is(err, errTimeout):
		r.Outcome = Silent
	case isCertificate(err):
		r.Outcome = WrongCertificate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.Outcome = Closed
	case errors.As(err, &errno):
		r.Outcome = ofErrno(errno, connected)
	case errors.As(err, new(notTLS)):
		r.Outcome = TLSFailed
	case errors.As(err, new(notHTTP)):
		r.Outcome = Unexpected
	}
	return r
}

// notTLS is why a connection that stands has no TLS session, and notHTTP why a session has no HTTP answer. Most errors of crypto/tls
// and net/http have no type of their own, so that it is the stage that says what they mean. What the network did goes before.
type (
	notTLS  struct{ error }
	notHTTP struct{ error }
)

func (e notTLS) Unwrap() error  { return e.error }
func (e notHTTP) Unwrap() error { return e.error }

// ofErrno is the outcome that an error of the kernel means.
func ofErrno(errno syscall.Errno, connected bool) Outcome {
	switch errno {
	case unix.ECONNREFUSED:
		if connected { // a connection is not refused any more: this was ICMP
			return Rejected
		}
		return Refused
	case unix.ECONNRESET, unix.EPIPE:
		return Reset
	case unix.ETIMEDOUT:
		return Silent
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EACCES, unix.EINVAL, unix.EPERM:
		if connected {
			return Rejected
		}
		return Unreachable
	}
	return Broken
}

// reason is the text of an error without the names of system calls.
func reason(err error) string {
	var syscallError *os.SyscallError
	var pathError *os.PathError
	var verifying *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verifying) && len(verifying.UnverifiedCertificates) > 0:
		return fmt.Sprintf("the certificate of %q: %v", verifying.UnverifiedCertificates[0].Subject.CommonName, verifying.Err)
	case errors.As(err, &syscallError):
		return syscallError.Err.Error()
	case errors.As(err, &pathError):
		return pathError.Err.Error()
	}
	return err.Error()
}

// isCertificate tells whether a TLS client ended a handshake because of the server's certificate.
func isCertificate(err error) bool {
	var verifying *tls.CertificateVerificationError
	return errors.As(err, &verifying)
}

// sane is an address and port without the mapping of IPv4 into IPv6.
func sane(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
