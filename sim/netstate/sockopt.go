package netstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of SO_IP_SET, whose requests begin with operation and protocol version, both unsigned.
const (
	soIPSet            = 83
	ipsetOpVersion     = 0x100
	ipsetOpNameByIndex = 7
	ipsetSockVersion   = 6
	ipsetMaxName       = 32
)

// ipsetPresent tells whether the kernel has ipsets. Asking over netlink would load the module.
func ipsetPresent(sock int) (bool, error) {
	request := append(put32(ipsetOpVersion), put32(0)...)
	_, err := getsockopt(sock, unix.SOL_IP, soIPSet, request)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return false, nil
	}
	if err != nil {
		return false, doing("ask for the version of ipset", err)
	}
	return true, nil
}

// setName finds a set by the index that rules refer to it with: the kernel does not rename a set that has references, and a
// swap exchanges what is behind two names, not the names.
func setName(sock int, index uint16) (string, error) {
	request := append(put32(ipsetOpNameByIndex), put32(ipsetSockVersion)...)
	request = append(request, make([]byte, ipsetMaxName)...)
	binary.NativeEndian.PutUint16(request[8:], index)
	answer, err := getsockopt(sock, unix.SOL_IP, soIPSet, request)
	if err != nil {
		return "", fmt.Errorf("look up the name of the ipset with index %d: %w", index, err)
	}
	name := text(answer[8:])
	if name == "" { // removed together with the rule, after the rule was read
		return "", fmt.Errorf("look up the name of the ipset with index %d: %w", index, errInterrupted)
	}
	return name, nil
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
