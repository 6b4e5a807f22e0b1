package image

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// modules are the kernel features that worlds and most subjects use. They are loaded at boot, so that nothing has to be found
// and loaded while the clock of a scenario runs. What else the kernel has of netfilter is in the image, too, and is loaded when somebody
// asks for it: see onDemand.
var modules = strings.Fields(`
	virtio_pci virtio_console inet_diag tcp_diag overlay
	dummy veth nlmon bridge vxlan ipip ip6_tunnel sit fou
	ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_dh ip_vs_sh ip_vs_mh ip_vs_sed ip_vs_nq
	ip_set ip_set_hash_ip ip_set_hash_ipport ip_set_hash_net ip_set_hash_netport ip_set_hash_ipportip ip_set_hash_ipportnet
	ip_set_list_set ip_set_bitmap_port
	ip_tables iptable_filter iptable_nat iptable_mangle iptable_raw
	ip6_tables ip6table_filter ip6table_nat ip6table_mangle ip6table_raw
	nf_tables nft_compat nft_chain_nat nft_ct nft_reject_inet nft_masq nft_nat nft_log nft_limit
	xt_set xt_comment xt_addrtype xt_conntrack xt_mark xt_connmark xt_MASQUERADE xt_nat xt_ipvs xt_tcpmss xt_TCPMSS
	xt_multiport xt_physdev xt_statistic xt_limit xt_recent xt_NFLOG xt_TRACE xt_tcpudp xt_sctp xt_CT xt_REDIRECT
	ipt_REJECT ip6t_REJECT nf_conntrack_netlink nfnetlink_log nf_log_syslog sctp
`)

// builtIn are those of the list that some kernels have built in, so that a missing file is no fault. Which kernel has which is
// read from modules.builtin.
type kernelModules struct {
	files   map[string]entry // by module name
	builtIn map[string]bool
}

// moduleName is the name under which the kernel knows a module file: dashes are underscores there.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// newKernelModules sorts the files of a kernel package.
func newKernelModules(entries []entry) kernelModules {
	m := kernelModules{files: map[string]entry{}, builtIn: map[string]bool{}}
	for _, e := range entries {
		switch {
		case strings.Contains(path.Base(e.path), ".ko"):
			m.files[moduleName(e.path)] = e
		case path.Base(e.path) == "modules.builtin":
			for line := range strings.Lines(string(e.data)) {
				m.builtIn[moduleName(strings.TrimSpace(line))] = true
			}
		}
	}
	return m
}

// onDemand are the names of the modules that the image has besides those that are loaded at boot: all of netfilter, for
// proxies whose rules need more than kube-router's. The kernel asks for an expression of nftables or a match of iptables by an alias.
func (m kernelModules) onDemand() []string {
	var names []string
	for name, file := range m.files {
		for _, dir := range []string{"/net/netfilter/", "/net/ipv4/netfilter/", "/net/ipv6/netfilter/"} {
			if strings.Contains(file.path, dir) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// kernelModule is a module with what its .modinfo section says.
type kernelModule struct {
	entry
	needs   []string // by name; only direct ones
	aliases []string
}

// ordered are the wanted modules with everything that they need, in an order in which they can be loaded. A feature that the
// kernel has neither built in nor as a module is left out and named: whoever needs it finds out by using it.
func (m kernelModules) ordered(ctx context.Context, wanted []string) (load []kernelModule, lacking []string, err error) {
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if done[name] || m.builtIn[name] {
			return nil
		}
		done[name] = true
		file, ok := m.files[name]
		if !ok {
			lacking = append(lacking, name)
			return nil
		}
		if file.data, err = unpack(ctx, file); err != nil {
			return err
		}
		module := kernelModule{entry: file}
		if module.needs, module.aliases, err = modinfo(file.data); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, need := range module.needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		load = append(load, module)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, nil, err
		}
	}
	return load, lacking, nil
}

// unpack decompresses a module on the host: in an emulated guest it takes four times as long.
func unpack(ctx context.Context, file entry) ([]byte, error) {
	var tool string
	switch path.Ext(file.path) {
	case ".ko":
		return file.data, nil
	case ".xz":
		tool = "xz"
	case ".zst":
		tool = "zstd"
	default:
		return nil, fmt.Errorf("module %s: unknown compression", file.path)
	}
	return decompress(ctx, tool, file)
}

func decompress(ctx context.Context, tool string, file entry) ([]byte, error) {
	cmd := exec.CommandContext(ctx, tool, "-dc")
	cmd.Stdin = bytes.NewReader(file.data)
	data, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("decompress module %s with %s: %w", file.path, tool, err)
	}
	return data, nil
}

// modinfo reads the .modinfo section of a module, NUL-separated "key=value" strings: the modules that it needs, and the names, with
// wildcards, by which it is asked for.
func modinfo(module []byte) (needs, aliases []string, err error) {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, nil, fmt.Errorf("read its headers: %w", err)
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, nil, fmt.Errorf("it has no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, fmt.Errorf("read its .modinfo: %w", err)
	}
	needs, aliases = parseModinfo(info)
	return needs, aliases, nil
}

func parseModinfo(info []byte) (needs, aliases []string) {
	for _, field := range bytes.Split(info, []byte{0}) {
		switch key, value, _ := strings.Cut(string(field), "="); {
		case key == "depends" && value != "":
			needs = strings.Split(strings.ReplaceAll(value, "-", "_"), ",")
		case key == "alias":
			aliases = append(aliases, value)
		}
	}
	return needs, aliases
}
