package netns

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagRequestSize  = 56 // struct inet_diag_req_v2
	diagIDAt         = 8  // of struct inet_diag_sockid in it
	diagAnswerIDAt   = 4  // and in struct inet_diag_msg
	diagIDSize       = 48
)

// abortOrphans ends the TCP connections that are left in the namespace. A connection whose process is gone and whose peer can no
// longer be reached tries to deliver its last bytes for minutes, and keeps the namespace meanwhile. A kernel without the means is
// no error: the burial then takes longer.
func (s *space) abortOrphans() error {
	c, err := netlink.Dial(unix.NETLINK_INET_DIAG, &netlink.Config{NetNS: s.fd})
	if err != nil {
		return fmt.Errorf("open a socket to list connections: %w", err)
	}
	defer c.Close()
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := diagRequest(family)
		answers, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: request,
		})
		if err != nil {
			return nil
		}
		for _, m := range answers {
			if len(m.Data) < diagAnswerIDAt+diagIDSize {
				continue
			}
			copy(request[diagIDAt:], m.Data[diagAnswerIDAt:diagAnswerIDAt+diagIDSize])
			// One that has ended by itself meanwhile is not there any more.
			_, _ = c.Execute(netlink.Message{
				Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge}, Data: request,
			})
		}
	}
	return nil
}

// diagRequest asks for the TCP sockets of a family, in any state.
func diagRequest(family byte) []byte {
	request := make([]byte, diagRequestSize)
	request[0], request[1] = family, unix.IPPROTO_TCP
	for i := 4; i < diagIDAt; i++ {
		request[i] = 0xff // idiag_states
	}
	return request
}
