package world

import (
	"encoding/json"
	"fmt"
)

// Answer is what the servers in pods say: who they are and whom they saw.
//
// Over TCP and SCTP it is the first line, sent at once when a connection is accepted; every line that the client then sends comes back
// unchanged until it closes. Over UDP it answers each datagram, with the datagram's payload as Echo. Lines end in "\n" and are
// at most MaxAnswer bytes long.
type Answer struct {
	Server string `json:"server"`         // the name of the pod
	Saw    string `json:"saw"`            // address and port of the peer, as the server sees it
	To     string `json:"to"`             // address and port that the peer's packet reached, as the server sees it
	Echo   string `json:"echo,omitempty"` // UDP only
}

// NodePort is where every node itself has such a server, over TCP and UDP, on all its addresses: something on the node that is no
// Service's. It is the echo port, outside of what Services are given.
const NodePort uint16 = 7

// MaxAnswer is the longest line or datagram of a server, in bytes.
const MaxAnswer = 4096

// ParseAnswer reads what a server said.
func ParseAnswer(line []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil || a.Server == "" {
		return Answer{}, fmt.Errorf("not a server of this world: %.80q", line)
	}
	return a, nil
}
