package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	case isTLS(err):
		r.Outcome = TLSFailed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.Outcome = Closed
	case errors.As(err, &errno):
		r.Outcome = ofErrno(errno, connected)
	}
	return r
}

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
	switch {
	case errors.As(err, &syscallError):
		return syscallError.Err.Error()
	case errors.As(err, &pathError):
		return pathError.Err.Error()
	}
	return err.Error()
}

func isTLS(err error) bool {
	var (
		alert     tls.AlertError
		record    tls.RecordHeaderError
		unknown   x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verifying *tls.CertificateVerificationError
	)
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &unknown) || errors.As(err, &hostname) ||
		errors.As(err, &invalid) || errors.As(err, &verifying)
}

// sane is an address and port without the mapping of IPv4 into IPv6.
func sane(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
