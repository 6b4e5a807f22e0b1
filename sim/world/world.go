// Package world names what a simulated cluster offers to those who test in it: nodes, pods, clients, their addresses, their
// sockets, what their kernel holds, and processes that run on them. It holds the vocabulary and the interface; package netns
// builds such a world from network namespaces.
package world

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"proxyproof/sim/netstate"
)

// Spec describes a world. It is written once for all families.
type Spec struct {
	// Families that every place gets addresses of; the first is the primary one.
	Families []Family
	// Seed decides every choice of an address, so that a case can be repeated.
	Seed    uint64
	Backend netstate.Backend
	Nodes   []NodeSpec
	Pods    []PodSpec
	Clients []ClientSpec
}

// NodeSpec is one node of the cluster.
type NodeSpec struct {
	Name string
	// Addresses is the number of global addresses per family, 1 or 2. Both are on the same link.
	Addresses int
}

// PodSpec is one pod: a namespace behind a node, with servers in it.
type PodSpec struct {
	Name   string
	Node   string
	Listen []Port
}

// ClientSpec is a host on the nodes' link that is not part of the cluster.
type ClientSpec struct {
	Name string
}

// World is a running simulation. Close is idempotent and leaves nothing behind.
type World interface {
	Spec() Spec
	// Place finds a node, pod or client by its name.
	Place(name string) (Place, bool)
	Node(name string) (Node, bool)
	Nodes() []Node
	Pods() []Place
	Clients() []Place
	// Replug pulls the cable of a node or client out of the switch and puts it in again.
	Replug(ctx context.Context, name string) error
	// Ranges are the address ranges that this world routes to a node when a client enters through it.
	Ranges() Ranges
	// Capable tells whether the world can do a thing; when it cannot, why is the reason for a skip.
	Capable(c Capability) (ok bool, why string)
	Close() error
}

// Kind tells what a place is.
type Kind string

// The kinds of places.
const (
	KindNode   Kind = "node"
	KindPod    Kind = "pod"
	KindClient Kind = "client"
)

// Place is somewhere that traffic can come from or go to.
type Place interface {
	Name() string
	Kind() Kind
	// NodeName is the node that a pod is behind; a node's own name; "" for a client.
	NodeName() string
	// Addrs are the place's global addresses of a family, primary first. A client's first one belongs to no node: it is for direct
	// traffic with nodes and pods. Those that follow are what Source returns, in the order of the nodes.
	Addrs(f Family) []netip.Addr
	// Source is the local address to bind so that traffic enters the cluster through the node via, and answers come back through it.
	// The zero Addr means: do not bind. It is so for "", and for nodes and pods, which enter where they are.
	Source(via string, f Family) netip.Addr
	// SourcePort is a port to bind a probe's socket to: below those that the kernel chooses and below node ports, and not given
	// again soon to any place of the world. IPVS rewrites the answers of a connection by their ports alone: when a node talks to
	// itself through a VIP and then directly, from the same port, the second connection's answers come back as the VIP's.
	SourcePort() uint16
	// Listen takes the networks of package net, and "sctp4" and "sctp6" where the kernel has SCTP.
	Listen(ctx context.Context, network string, local netip.AddrPort) (net.Listener, error)
	ListenPacket(ctx context.Context, network string, local netip.AddrPort) (net.PacketConn, error)
	// Do runs f on a thread of its own inside the place's namespaces: for sockets that the calls above do not cover, and on nodes for
	// commands. The context does not end f. Goroutines that f starts are elsewhere.
	Do(ctx context.Context, f func() error) error
}

// Node is a place that runs a service proxy.
type Node interface {
	Place
	// PodCIDR is the range of the node's own pods.
	PodCIDR(f Family) netip.Prefix
	// SetAddresses leaves the node with its first n global addresses per family, or gives it back those that it began with.
	SetAddresses(n int) error
	// State reads everything that matters of the node's kernel. It changes nothing.
	State(ctx context.Context) (*netstate.State, error)
	// Fingerprint is the cheap form of State: equal fingerprints mean equal states.
	Fingerprint(ctx context.Context) (netstate.Fingerprint, error)
	// Run runs one of the node's own tools on it, outside of any limit of a process, and returns what it printed.
	Run(ctx context.Context, name string, args ...string) ([]byte, error)
	// Still runs f while no process that was started on the node executes anything, where the host has a way to do that.
	Still(f func() error) error
	// Written are the files, sorted, that processes on the node made, changed or removed outside of the directories that belong to
	// the node alone. The machine's own files are as they were.
	Written() ([]string, error)
	// MissingModules are the kernel modules that processes on the node had modprobe load in vain, in the order in which they were first
	// asked for.
	MissingModules(ctx context.Context) ([]Module, error)
	// Start runs a process on the node: in its network, mount and UTS namespaces, in a session of its own. The context bounds the
	// start; the process lives until it ends, until Kill, or until the world or this program does.
	Start(ctx context.Context, c Command) (Process, error)
}

// Module is a kernel module that is not there.
type Module struct {
	Name string
	// Exists: it is one of this kernel's, and this machine does not have it. Else no such module is known.
	Exists bool
}

// Command is a process to be started on a node.
type Command struct {
	Path string // of the binary as the worker sees it, absolute; also the process's first argument
	Args []string
	Env  []string // NAME=value; nothing is inherited. The node's own tools come first in PATH.
	// Files appear in the node's private file system before the process starts: absolute path to content. They are to be below
	// directories that belong to the node alone, such as /etc, /run and /tmp: elsewhere is an error.
	Files map[string][]byte
	// Output receives each line of standard output and standard error, without the line end, in order, one at a time. A line of more
	// than 64 KiB is cut, and a line follows that says so. Nothing else is dropped: a slow receiver slows the process down.
	Output func(Line)
}

// Line is one line that a process printed.
type Line struct {
	Time   time.Time
	Stderr bool
	Text   string
}

// Process is a running command with its descendants.
type Process interface {
	Pid() int
	// Done is closed when the process has ended and its output was delivered.
	Done() <-chan struct{}
	// Exit is valid after Done: the exit code, or 128 plus the number of the signal that ended it.
	Exit() int
	Signal(s os.Signal) error
	// Activity tells what the process and its descendants did so far.
	Activity() (Activity, error)
	// Threads are those of the process and its living descendants.
	Threads() ([]Thread, error)
	// Kill ends the process and everything that it started, and waits for that.
	Kill() error
}

// Thread is one thread of a process.
type Thread struct {
	Pid, ID int
	Process string        // its program
	CPU     time.Duration // that it used so far
	// Busy is as in Activity.
	Busy bool
}

// Activity is the sum over a process and its living descendants, plus those it has waited for.
type Activity struct {
	CPU time.Duration
	// Busy is true if a thread was running, runnable or in uninterruptible sleep when it was looked at, or if it has printed what nobody has
	// read yet.
	Busy bool
	// RSS is resident memory in bytes.
	RSS int64
}
