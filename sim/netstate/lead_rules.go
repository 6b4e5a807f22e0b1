package netstate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Running iptables-save costs a process for each family. Whether any rule has changed can be seen without it.

// rulesTag changes when a rule of the family does; it is "" if there is no table.
func (r *Reader) rulesTag(ipv6 bool) (string, error) {
	if r.config.Backend == NFT {
		return r.generation()
	}
	return r.legacyTag(ipv6)
}

// Of the nf_tables netlink protocol: NFT_MSG_GETGEN, NFTA_GEN_ID.
const (
	nftMsgGetGen = 16
	nftaGenID    = 1
)

// generation is the number of the namespace's nf_tables rule set, which every transaction increments.
func (r *Reader) generation() (string, error) {
	answers, err := r.filter.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | nftMsgGetGen, Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return "", doing("ask for the generation of the nf_tables rule set", err)
	}
	for _, m := range answers {
		for typ, v := range attrs(m.Data[4:]) {
			if typ == nftaGenID {
				return fmt.Sprintf("nft %d", be32(v)), nil
			}
		}
	}
	return "", errors.New("the kernel tells no generation of the nf_tables rule set")
}

// legacyTag hashes the tables as the kernel holds them, without counters. Only tables that exist are asked for: asking for
// another one would make it.
func (r *Reader) legacyTag(ipv6 bool) (string, error) {
	file := "/proc/thread-self/net/ip_tables_names"
	if ipv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	var list []byte
	err := r.thread.do(func() (err error) {
		list, err = readFile(file)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", doing("list the iptables tables", err)
	}
	names := strings.Fields(string(list))
	slices.Sort(names)
	if len(names) == 0 {
		return "", nil
	}
	sum := sha256.New()
	for _, name := range names {
		blob, err := legacyTable(r.raw[ipv6], name, ipv6)
		if err != nil {
			return "", fmt.Errorf("read %s table %s: %w", familyName(ipv6), name, err)
		}
		sum.Write([]byte(name))
		sum.Write(blob)
	}
	return "legacy " + hex.EncodeToString(sum.Sum(nil)[:12]), nil
}

// Of linux/netfilter_ipv4/ip_tables.h and ip6_tables.h, where the numbers are the same.
const (
	soGetInfo       = 64 // {IP,IP6}T_SO_GET_INFO
	soGetEntries    = 65 // {IP,IP6}T_SO_GET_ENTRIES
	tableNameSize   = 32
	getInfoSize     = 84 // name, valid_hooks, hook_entry[5], underflow[5], num_entries, size
	getInfoSizeAt   = 80
	getEntriesHead  = 40 // name, size, padding to 8
	entriesAttempts = 8
)

// layout is where an entry keeps what matters here.
type layout struct{ next, comefrom, counters, size int }

var (
	layoutIPv4 = layout{next: 90, comefrom: 92, counters: 96, size: 112}
	layoutIPv6 = layout{next: 142, comefrom: 144, counters: 152, size: 168}
)

// legacyTable is the table's entries with counters and the kernel's scratch field set to zero.
func legacyTable(sock int, name string, ipv6 bool) ([]byte, error) {
	level, l := unix.SOL_IP, layoutIPv4
	if ipv6 {
		level, l = unix.SOL_IPV6, layoutIPv6
	}
	for range entriesAttempts {
		request := make([]byte, getInfoSize)
		copy(request[:tableNameSize-1], name)
		info, err := getsockopt(sock, level, soGetInfo, request)
		if err != nil {
			return nil, err
		}
		size := binary.NativeEndian.Uint32(info[getInfoSizeAt:])
		request = make([]byte, getEntriesHead+int(size))
		copy(request[:tableNameSize-1], name)
		binary.NativeEndian.PutUint32(request[tableNameSize:], size)
		answer, err := getsockopt(sock, level, soGetEntries, request)
		if errors.Is(err, unix.EAGAIN) {
			continue // the table was replaced in between
		}
		if err != nil {
			return nil, err
		}
		return zeroed(answer[getEntriesHead:], l)
	}
	return nil, errInterrupted
}

func zeroed(entries []byte, l layout) ([]byte, error) {
	for b := entries; len(b) > 0; {
		if len(b) < l.size {
			return nil, errors.New("an entry is cut off")
		}
		next := int(binary.NativeEndian.Uint16(b[l.next:]))
		if next < l.size || next > len(b) {
			return nil, errors.New("an entry has no sensible size")
		}
		clear(b[l.comefrom : l.comefrom+4])
		clear(b[l.counters:l.size])
		b = b[next:]
	}
	return entries, nil
}

// getsockopt passes a buffer that the kernel reads and writes.
func getsockopt(sock, level, option int, buffer []byte) ([]byte, error) {
	size := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(sock), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, errno
	}
	return buffer[:size], nil
}
