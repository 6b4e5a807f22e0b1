package netstate

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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

// SysctlNames are those that are read, with "all" and "default" for those of each link.
func SysctlNames() []string {
	names := slices.Clone(globalSysctls)
	for _, s := range linkSysctls {
		names = append(names, s.prefix+"all."+s.name, s.prefix+"default."+s.name)
	}
	return names
}

// KnowsSysctl tells whether a setting is read, be it that of a link.
func KnowsSysctl(name string) bool {
	if slices.Contains(globalSysctls, name) {
		return true
	}
	return slices.ContainsFunc(linkSysctls, func(s struct{ prefix, name string }) bool {
		link, found := strings.CutPrefix(name, s.prefix)
		link, ends := strings.CutSuffix(link, "."+s.name)
		return found && ends && link != "" && !strings.Contains(link, ".")
	})
}

// sysctls keeps the files open: each belongs to the namespace in which it was opened, and reading it again is one system call.
type sysctls struct {
	files map[string]int
}

// read must run on a thread in the namespace.
func (c *sysctls) read(links []Link) (map[string]string, error) {
	files := map[string]int{} // those that are still there
	values := map[string]string{}
	defer func() {
		for name, fd := range c.files {
			if _, ok := files[name]; !ok {
				unix.Close(fd)
			}
		}
		c.files = files
	}()
	names := slices.Clone(globalSysctls)
	for _, s := range linkSysctls {
		for _, link := range append([]Link{{Name: "all"}, {Name: "default"}}, links...) {
			names = append(names, s.prefix+strings.ReplaceAll(link.Name, ".", "/")+"."+s.name)
		}
	}
	for _, name := range names {
		value, fd, err := c.one(name)
		if err != nil {
			return nil, doing("read sysctl "+name, err)
		}
		if fd >= 0 {
			values[name], files[name] = value, fd
		}
	}
	return values, nil
}

// one reads a sysctl; fd is negative if the kernel, or by now the namespace, does not have it.
func (c *sysctls) one(name string) (value string, fd int, err error) {
	if fd, ok := c.files[name]; ok {
		if value, err := readSysctl(fd); err == nil {
			return value, fd, nil
		}
	} // else it belonged to a link that is gone; there may be a new one of the name
	path := "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(name)
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		if value, err = readSysctl(fd); err == nil {
			return value, fd, nil
		}
		unix.Close(fd)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", -1, nil
	}
	return "", -1, err
}

func readSysctl(fd int) (string, error) {
	var buf [128]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

func (c *sysctls) close() {
	for _, fd := range c.files {
		unix.Close(fd)
	}
	c.files = nil
}
