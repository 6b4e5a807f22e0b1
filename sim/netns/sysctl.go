package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type sysctl struct{ name, value string }

// everywhere is set in each namespace before it has a link but lo. New links take what "default" says; for switches with an
// "all", the kernel looks at both.
var everywhere = []sysctl{
	// No duplicate address detection: an address is usable when it is there. Nothing but netlink configures a link.
	{"net/ipv6/conf/all/accept_dad", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
	{"net/ipv6/conf/all/accept_ra", "0"},
	{"net/ipv6/conf/default/accept_ra", "0"},
	// Paths are asymmetric on purpose, and a node that sends a packet back over the link it came from is no mistake here.
	{"net/ipv4/conf/all/rp_filter", "0"},
	{"net/ipv4/conf/default/rp_filter", "0"},
	{"net/ipv4/conf/all/send_redirects", "0"},
	{"net/ipv4/conf/default/send_redirects", "0"},
	{"net/ipv4/conf/all/accept_redirects", "0"},
	{"net/ipv4/conf/default/accept_redirects", "0"},
	{"net/ipv6/conf/all/accept_redirects", "0"},
	{"net/ipv6/conf/default/accept_redirects", "0"},
	// An ICMP error is the proof of a rejection. The mask names the types that are limited, which includes the limit of the
	// whole machine; type 0 is no error in either family.
	{"net/ipv4/icmp_ratelimit", "0"},
	{"net/ipv4/icmp_ratemask", "0"},
	{"net/ipv6/icmp/ratelimit", "0"},
	{"net/ipv6/icmp/ratemask", "0"},
	// Ping sockets for everyone, in both families.
	{"net/ipv4/ping_group_range", "0 2147483647"},
}

// forwarding is set on nodes: a service proxy does not do it.
var forwarding = []sysctl{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
}

// setSysctls writes to the network namespace of the calling thread, which is what /proc/sys/net shows it.
func setSysctls(values []sysctl) error {
	for _, s := range values {
		if err := writeFile("/proc/sys/"+s.name, s.value); err != nil {
			return fmt.Errorf("set sysctl %s to %q: %w", s.name, s.value, err)
		}
	}
	return nil
}

// writeFile writes to a file of the kernel's, without the detour through the runtime's poller.
func writeFile(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
