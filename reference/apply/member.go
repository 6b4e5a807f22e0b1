package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"proxyproof/reference/plan"
)

// A netlink attribute, and so the members in one message, must fit into 64 KiB.
const membersPerMessage = 500

// AddMembers adds to a set; a member that is there already is no error.
func (k *Kernel) AddMembers(s Set, f plan.Family, members []Member) error {
	return k.changeMembers(nl.IPSET_CMD_ADD, s, f, members)
}

// DeleteMembers deletes from a set; a member that is not there is no error.
func (k *Kernel) DeleteMembers(s Set, f plan.Family, members []Member) error {
	return k.changeMembers(nl.IPSET_CMD_DEL, s, f, members)
}

// changeMembers sends many members in one message, as ipset restore does.
func (k *Kernel) changeMembers(command int, s Set, f plan.Family, members []Member) error {
	for chunk := range slices.Chunk(members, membersPerMessage) {
		request := nl.NewNetlinkRequest(command|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(command))
		request.Sockets = k.members
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_NETLINK, Version: nl.NFNETLINK_V0})
		request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
		request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(s.Name(f))))
		request.AddData(nl.NewRtAttr(nl.IPSET_ATTR_LINENO, nl.Uint32Attr(0))) // the kernel wants a place to put the number of what failed
		all := nl.NewRtAttr(nl.IPSET_ATTR_ADT|unix.NLA_F_NESTED, nil)
		for _, m := range chunk {
			all.AddChild(memberData(s, m))
		}
		request.AddData(all)
		k.writes.Add(1)
		if _, err := request.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
			return ipsetError(err)
		}
	}
	return nil
}

func memberData(s Set, m Member) *nl.RtAttr {
	kind := nl.IPSET_ATTR_IPADDR_IPV4
	if m.Address.Is6() {
		kind = nl.IPSET_ATTR_IPADDR_IPV6
	}
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	data.AddRtAttr(nl.IPSET_ATTR_IP|unix.NLA_F_NESTED, nil).AddRtAttr(kind|unix.NLA_F_NET_BYTEORDER, m.Address.AsSlice())
	if m.Port != 0 {
		data.AddRtAttr(nl.IPSET_ATTR_PROTO, nl.Uint8Attr(uint8(m.Protocol)))
		data.AddRtAttr(nl.IPSET_ATTR_PORT|unix.NLA_F_NET_BYTEORDER, binary.BigEndian.AppendUint16(nil, m.Port))
	}
	if s.isPairs() {
		data.AddRtAttr(nl.IPSET_ATTR_IP2|unix.NLA_F_NESTED, nil).AddRtAttr(kind|unix.NLA_F_NET_BYTEORDER, m.Address.AsSlice())
	}
	return data
}

// ipsetError names errors that are ipset's own and no system call's.
func ipsetError(err error) error {
	var number unix.Errno
	if errors.As(err, &number) && number >= nl.IPSET_ERR_PRIVATE {
		return fmt.Errorf("ipset: %w", nl.IPSetError(number))
	}
	return err
}
