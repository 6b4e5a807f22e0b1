package netstate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Exec runs a command inside the namespaces of a node and returns its standard output.
type Exec func(ctx context.Context, name string, args ...string) ([]byte, error)

// Config tells a Reader where to read.
type Config struct {
	// NS is a descriptor of the network namespace. It stays the caller's.
	NS      int
	Backend Backend
	// Exec runs iptables-save, and ipset for set types that cannot be spelled otherwise.
	Exec Exec
}

// Reader reads the state of a namespace. It is safe for concurrent use; reads take turns.
type Reader struct {
	config Config

	lock    sync.Mutex
	thread  *thread
	route   *netlink.Conn
	filter  *netlink.Conn
	generic *netlink.Conn
	ipvs    uint16 // netlink family; 0 if the kernel has none
	raw     map[bool]int
	// What iptables-save printed last, by IPv6, and the tag of the rules that it printed.
	saved map[bool]savedTables
}

type savedTables struct {
	tag    string
	tables []Table
}

// NewReader opens the kernel's interfaces in a namespace.
func NewReader(c Config) (*Reader, error) {
	r := &Reader{config: c, raw: map[bool]int{}, saved: map[bool]savedTables{}}
	if err := r.open(); err != nil {
		r.Close()
		return nil, fmt.Errorf("open a reader of kernel state: %w", err)
	}
	return r, nil
}

func (r *Reader) open() (err error) {
	if r.thread, err = startThread(r.config.NS); err != nil {
		return err
	}
	if r.route, err = dial(unix.NETLINK_ROUTE, r.config.NS); err != nil {
		return doing("open a route socket", err)
	}
	if r.filter, err = dial(unix.NETLINK_NETFILTER, r.config.NS); err != nil {
		return doing("open a netfilter socket", err)
	}
	if r.generic, err = dial(unix.NETLINK_GENERIC, r.config.NS); err != nil {
		return doing("open a generic netlink socket", err)
	}
	if r.ipvs, err = ipvsFamily(r.generic); errors.Is(err, unix.ENOENT) {
		r.ipvs, err = 0, nil
	}
	if err != nil {
		return err
	}
	return r.thread.do(func() error {
		for ipv6, family := range map[bool]int{false: unix.AF_INET, true: unix.AF_INET6} {
			fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err != nil {
				return doing("open a raw socket", err)
			}
			r.raw[ipv6] = fd
		}
		return nil
	})
}

// Close gives everything back.
func (r *Reader) Close() {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.thread != nil {
		r.thread.stop()
		r.thread = nil
	}
	for _, c := range []*netlink.Conn{r.route, r.filter, r.generic} {
		if c != nil {
			c.Close()
		}
	}
	r.route, r.filter, r.generic = nil, nil, nil
	for _, fd := range r.raw {
		unix.Close(fd)
	}
	r.raw = nil
}

// Read takes a snapshot.
func (r *Reader) Read(ctx context.Context) (*State, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.thread == nil {
		return nil, errClosed
	}
	s, err := r.inProcess(ctx)
	if err != nil {
		return nil, err
	}
	for _, ipv6 := range []bool{false, true} {
		tables, err := r.tables(ctx, ipv6)
		if err != nil {
			return nil, err
		}
		s.Tables = append(s.Tables, tables...)
	}
	return s, nil
}

// Fingerprint stands for everything that Read would return; it costs no process.
func (r *Reader) Fingerprint(ctx context.Context) (Fingerprint, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.thread == nil {
		return "", errClosed
	}
	s, err := r.inProcess(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, line := range Lines(s) {
		sum.Write([]byte(line))
		sum.Write([]byte{'\n'})
	}
	for _, ipv6 := range []bool{false, true} {
		tag, err := r.rulesTag(ipv6)
		if err != nil {
			return "", err
		}
		sum.Write([]byte(tag))
	}
	return Fingerprint(hex.EncodeToString(sum.Sum(nil)[:16])), nil
}

// inProcess reads everything but the rules.
func (r *Reader) inProcess(ctx context.Context) (*State, error) {
	s := &State{}
	links, names, err := readLinks(r.route)
	if err != nil {
		return nil, err
	}
	s.Links = links
	if s.Addrs, err = readAddrs(r.route, names); err != nil {
		return nil, err
	}
	if s.Routes, err = readRoutes(r.route, names); err != nil {
		return nil, err
	}
	if s.Rules, err = readRules(r.route); err != nil {
		return nil, err
	}
	if r.ipvs != 0 {
		if s.IPVS, err = readIPVS(r.generic, r.ipvs); err != nil {
			return nil, err
		}
	}
	if s.Sets, err = r.sets(ctx); err != nil {
		return nil, err
	}
	err = r.thread.do(func() error {
		s.Sysctls, err = readSysctls(links)
		return err
	})
	return s, err
}

func (r *Reader) sets(ctx context.Context) ([]Set, error) {
	present, err := ipsetPresent(r.raw[false])
	if err != nil || !present {
		return nil, err
	}
	dumps, err := readSets(r.filter)
	if err != nil {
		return nil, err
	}
	var sets []Set
	for _, d := range dumps {
		set := d.Set
		if d.undecoded {
			if set, err = savedSet(ctx, r.config.Exec, set); err != nil {
				return nil, err
			}
		}
		sets = append(sets, set)
	}
	slices.SortFunc(sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return sets, nil
}

// tables are the rules of a family: printed by iptables-save when they have changed since they were printed last.
func (r *Reader) tables(ctx context.Context, ipv6 bool) ([]Table, error) {
	tag, err := r.rulesTag(ipv6)
	if err != nil {
		return nil, err
	}
	if tag == "" {
		return nil, nil
	}
	if last, ok := r.saved[ipv6]; ok && last.tag == tag {
		return slices.Clone(last.tables), nil
	}
	name := saveCommand(r.config.Backend, ipv6)
	out, err := r.config.Exec(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	tables, err := ParseSave(string(out), ipv6)
	if err != nil {
		return nil, fmt.Errorf("read the rules: output of %s: %w", name, err)
	}
	r.saved[ipv6] = savedTables{tag, tables}
	return slices.Clone(tables), nil
}

func saveCommand(b Backend, ipv6 bool) string {
	family := "iptables"
	if ipv6 {
		family = "ip6tables"
	}
	return fmt.Sprintf("%s-%s-save", family, b)
}
