package netstate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Exec runs a command inside the namespaces of a node and returns its standard output.
type Exec func(ctx context.Context, name string, args ...string) ([]byte, error)

// Config tells a Reader where to read.
type Config struct {
	// NS is a descriptor of the network namespace. It stays the caller's, who may close it once the reader is made.
	NS      int
	Backend Backend
	// Exec runs {ip,ip6}tables-{legacy,nft}-save and ipset, which are needed only for rules and sets of kinds that no service
	// proxy uses: see Read.
	Exec Exec
	// Still runs a read while those who write to the namespace stand still; nil if there is no way. The kernel holds a set while
	// it lists it, and a program that swaps or destroys the set at that moment gets EBUSY, from which kube-router recovers at its
	// next full sync only.
	Still func(read func() error) error
}

// Reader reads the state of a namespace. It is safe for concurrent use; reads take turns. While it is open, the namespace lives.
type Reader struct {
	exec    Exec
	still   func(func() error) error
	backend Backend

	lock    sync.Mutex
	thread  *thread // nil once closed
	route   *socket
	filter  *socket
	generic *socket
	raw     [2]int // sockets for getsockopt: IPv4, IPv6
	ipvs    uint16 // netlink family; 0 until the kernel has one
	legacy  legacyTables
	nft     nftTables
	sysctls sysctls
	saved   [2]savedTables
}

// savedTables are the tables of a family with all rules spelled, and what they were made from.
type savedTables struct{ read, spelled []Table }

// NewReader opens the kernel's interfaces in a namespace. It changes nothing there, nor the thread it is called on.
func NewReader(c Config) (*Reader, error) {
	if c.Backend != Legacy && c.Backend != NFT {
		return nil, fmt.Errorf("open a reader of kernel state: unknown iptables back end %q", c.Backend)
	}
	r := &Reader{exec: c.Exec, still: c.Still, backend: c.Backend, raw: [2]int{-1, -1}}
	if r.still == nil {
		r.still = func(read func() error) error { return read() }
	}
	if err := r.open(c.NS); err != nil {
		r.Close()
		return nil, fmt.Errorf("open a reader of kernel state: %w", err)
	}
	return r, nil
}

func (r *Reader) open(ns int) (err error) {
	if r.thread, err = startThread(ns); err != nil {
		return err
	}
	return r.thread.do(func() error {
		for protocol, s := range map[int]**socket{unix.NETLINK_ROUTE: &r.route, unix.NETLINK_NETFILTER: &r.filter, unix.NETLINK_GENERIC: &r.generic} {
			if *s, err = openSocket(protocol); err != nil {
				return doing("open a netlink socket", err)
			}
		}
		r.nft.sock = r.filter
		for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
			fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err != nil {
				return doing("open a raw socket", err)
			}
			r.raw[i] = fd
		}
		return nil
	})
}

// Close ends the reader's thread and closes its sockets. It may be called more than once.
func (r *Reader) Close() {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.thread != nil {
		r.thread.stop()
		r.thread = nil
	}
	for _, c := range []**socket{&r.route, &r.filter, &r.generic} {
		if *c != nil {
			(*c).close()
			*c = nil
		}
	}
	r.sysctls.close()
	for i, fd := range r.raw {
		if fd >= 0 {
			unix.Close(fd)
			r.raw[i] = -1
		}
	}
}

// Read takes a snapshot. All of it is read in process, except for rules and sets of kinds that are not known here: those are
// printed by the node's own tools, rules only when one in the same family has changed.
func (r *Reader) Read(ctx context.Context) (*State, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.retry(ctx, func() (*State, error) {
		s, err := r.snapshot(ctx)
		if err == nil {
			err = r.spellSets(ctx, s)
		}
		if err == nil {
			err = r.spellTables(ctx, s)
		}
		return s, err
	})
}

// Fingerprint stands for what Read would return, without traffic. It never runs a process.
func (r *Reader) Fingerprint(ctx context.Context) (Fingerprint, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	s, err := r.retry(ctx, func() (*State, error) { return r.snapshot(ctx) })
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(Print(s)))
	return Fingerprint(hex.EncodeToString(sum[:16])), nil
}

// retry repeats a read in which one part did not fit the other, because something was written in between.
func (r *Reader) retry(ctx context.Context, read func() (*State, error)) (s *State, err error) {
	if r.thread == nil {
		return nil, errClosed
	}
	for range attempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s, err = read(); err == nil {
			return s, nil
		}
		if !errors.Is(err, errInterrupted) {
			break
		}
	}
	return nil, err
}

// snapshot reads the state in process. Rules and sets of unknown kinds are undecoded.
func (r *Reader) snapshot(ctx context.Context) (*State, error) {
	s := &State{}
	return s, r.thread.do(func() error { return r.fill(ctx, s) })
}

func (r *Reader) fill(ctx context.Context, s *State) error {
	var names map[int]string
	for _, read := range []func() error{
		func() (err error) { s.Links, names, err = readLinks(r.route); return err },
		func() (err error) { s.Addrs, err = readAddrs(r.route, names); return err },
		func() (err error) { s.Routes, err = readRoutes(r.route, names); return err },
		func() (err error) { s.Rules, err = readRules(r.route); return err },
		func() (err error) { s.IPVS, err = r.services(); return err },
		func() (err error) { s.Sets, err = r.sets(); return err },
		func() (err error) { s.Tables, err = r.tables(); return err },
		func() (err error) { s.Sysctls, err = r.sysctls.read(s.Links); return err },
	} {
		if err := cmp.Or(ctx.Err(), read()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) setName(index uint16) (string, error) { return setName(r.raw[0], index) }

func (r *Reader) tables() ([]Table, error) {
	if r.backend == NFT {
		return r.nft.all(r.setName)
	}
	v4, err := r.legacy.family(r.raw[0], false, r.setName)
	if err != nil {
		return nil, err
	}
	v6, err := r.legacy.family(r.raw[1], true, r.setName)
	return append(v4, v6...), err
}

// services asks for IPVS only where the kernel has it: to ask for the netlink family would load the module.
func (r *Reader) services() ([]IPVSService, error) {
	if r.ipvs == 0 {
		present, err := exists("/proc/thread-self/net/ip_vs")
		if err != nil || !present {
			return nil, err
		}
		if r.ipvs, err = ipvsFamily(r.generic); r.ipvs == 0 {
			return nil, err
		}
	}
	return readIPVS(r.generic, r.ipvs)
}

func (r *Reader) sets() ([]Set, error) {
	present, err := ipsetPresent(r.raw[0])
	if err != nil || !present {
		return nil, err
	}
	var sets []Set
	err = r.still(func() (err error) {
		sets, err = readSets(r.filter)
		return err
	})
	return sets, err
}

func exists(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, doing("open "+path, err)
	}
	return true, unix.Close(fd)
}

// spellSets replaces undecoded sets by what ipset prints.
func (r *Reader) spellSets(ctx context.Context, s *State) error {
	for i, set := range s.Sets {
		if !set.undecoded() {
			continue
		}
		err := r.still(func() (err error) {
			s.Sets[i], err = savedSet(ctx, r.exec, set)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// spellTables replaces undecoded rules by what iptables-save prints.
func (r *Reader) spellTables(ctx context.Context, s *State) error {
	var all []Table
	for family, ipv6 := range []bool{false, true} {
		var tables []Table
		for _, t := range s.Tables {
			if t.IPv6 == ipv6 {
				tables = append(tables, t)
			}
		}
		if hasUndecoded(tables) {
			cache := &r.saved[family]
			if !reflect.DeepEqual(cache.read, tables) {
				spelled, err := r.save(ctx, ipv6, tables)
				if err != nil {
					return err
				}
				*cache = savedTables{tables, spelled}
			}
			tables = cache.spelled
		}
		all = append(all, tables...)
	}
	s.Tables = cloneTables(all) // what was read last is kept
	return nil
}

// save runs the node's iptables-save for a family and takes from it what is undecoded.
func (r *Reader) save(ctx context.Context, ipv6 bool, tables []Table) ([]Table, error) {
	name := fmt.Sprintf("iptables-%s-save", r.backend)
	if ipv6 {
		name = "ip6" + name[len("ip"):]
	}
	if r.exec == nil {
		return nil, fmt.Errorf("read rules of %s: there is no way to run it", name)
	}
	out, err := r.exec(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	saved, err := ParseSave(string(out), ipv6)
	if err != nil {
		return nil, fmt.Errorf("read rules: output of %s: %w", name, err)
	}
	spelled, err := graft(tables, saved)
	if err != nil {
		return nil, fmt.Errorf("read rules: compare with the output of %s: %w", name, err)
	}
	return spelled, nil
}

// cloneTables copies down to the rules, which nobody changes.
func cloneTables(tables []Table) []Table {
	tables = slices.Clone(tables)
	for i := range tables {
		tables[i].Chains = slices.Clone(tables[i].Chains)
		for j := range tables[i].Chains {
			tables[i].Chains[j].Rules = slices.Clone(tables[i].Chains[j].Rules)
		}
	}
	return tables
}
