package netstate

import (
	"errors"
	"io/fs"
	"strings"
)

// globalSysctls are those of a namespace as a whole. Each is read if the kernel has it.
var globalSysctls = []string{
	"net.ipv4.ip_forward",
	"net.ipv4.ip_nonlocal_bind",
	"net.ipv4.vs.conn_reuse_mode",
	"net.ipv4.vs.conntrack",
	"net.ipv4.vs.expire_nodest_conn",
	"net.ipv4.vs.expire_quiescent_template",
	"net.ipv4.vs.sloppy_sctp",
	"net.ipv4.vs.sloppy_tcp",
	"net.ipv4.vs.snat_reroute",
	"net.ipv6.ip_nonlocal_bind",
	"net.bridge.bridge-nf-call-ip6tables",
	"net.bridge.bridge-nf-call-iptables",
	"net.netfilter.nf_conntrack_tcp_be_liberal",
}

// linkSysctls are those of each link, and of "all" and "default".
var linkSysctls = []struct{ prefix, name string }{
	{"net.ipv4.conf.", "arp_announce"},
	{"net.ipv4.conf.", "arp_ignore"},
	{"net.ipv4.conf.", "forwarding"},
	{"net.ipv4.conf.", "route_localnet"},
	{"net.ipv4.conf.", "rp_filter"},
	{"net.ipv6.conf.", "accept_ra"},
	{"net.ipv6.conf.", "disable_ipv6"},
	{"net.ipv6.conf.", "forwarding"},
}

// readSysctls must run on a thread in the namespace.
func readSysctls(links []Link) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range globalSysctls {
		if err := readSysctl(values, name); err != nil {
			return nil, err
		}
	}
	for _, s := range linkSysctls {
		for _, link := range append([]Link{{Name: "all"}, {Name: "default"}}, links...) {
			name := s.prefix + strings.ReplaceAll(link.Name, ".", "/") + "." + s.name
			if err := readSysctl(values, name); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

// readSysctl leaves out what the kernel, or by now the namespace, does not have.
func readSysctl(values map[string]string, name string) error {
	content, err := readFile("/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return doing("read sysctl "+name, err)
	}
	values[name] = strings.TrimSpace(string(content))
	return nil
}
